//! SIGHUP.

use std::path::Path;
use std::sync::Arc;

use registry_proxy_core::digest::Digest;
use rustix::process::Signal;

use crate::disks::until;
use crate::fixture::{
    Client, Exchange, Gate, Head, Product, Request, Setup, Upstream, basic, blob_path, content, one_upstream, soon,
};

fn users(name: &str, password: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
}

async fn ping_as(product: &Product, name: &str, password: &str) -> u16 {
    let header = format!("Authorization: {}\r\n", basic(name, password));
    Client::connect(product.address).await.get_with("/v2/", &header).await.0.status
}

#[tokio::test]
async fn sighup_reads_the_password_file_again() {
    let upstream = Upstream::of_blob(content(10)).await;
    let setup = Setup::new();
    let file = setup.file("users", &users("alice", "first-password"));
    let keys = format!("[clients]\nauth = 'users'\nusers_file = '{file}'");
    let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
    assert_eq!(ping_as(&product, "alice", "first-password").await, 200);
    assert_eq!(ping_as(&product, "alice", "second-password").await, 401);
    product.setup.file("users", &users("alice", "second-password"));
    product.reload().await;
    assert_eq!(ping_as(&product, "alice", "second-password").await, 200);
    assert_eq!(ping_as(&product, "alice", "first-password").await, 401, "remembered from before");
}

/// The status of a ping with this token.
async fn ping_with(product: &Product, token: &str) -> u16 {
    let header = format!("Authorization: Bearer {token}\r\n");
    Client::connect(product.address).await.get_with("/v2/", &header).await.0.status
}

#[tokio::test]
async fn the_token_of_a_user_who_is_gone_or_has_another_password_ends_at_sighup() {
    let upstream = Upstream::of_blob(content(10)).await;
    let setup = Setup::new();
    let (alice, bob) = (users("alice", "first-password"), users("bob", "his-password"));
    let file = setup.file("users", &format!("{alice}{bob}"));
    let keys = format!("[clients]\nauth = 'users'\nusers_file = '{file}'");
    let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
    let token = |name: &'static str, password: &'static str| async move {
        let header = format!("Authorization: {}\r\n", basic(name, password));
        let (head, body) = Client::connect(product.address).await.get_with("/token", &header).await;
        assert_eq!(head.status, 200);
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    };
    let (alices, bobs) = (token("alice", "first-password").await, token("bob", "his-password").await);
    for change in [users("alice", "second-password"), String::new()] {
        assert_eq!((ping_with(&product, &alices).await, ping_with(&product, &bobs).await), (200, 200));
        product.setup.file("users", &format!("{change}{bob}"));
        product.reload().await;
        assert_eq!((ping_with(&product, &alices).await, ping_with(&product, &bobs).await), (401, 200));
        product.setup.file("users", &format!("{alice}{bob}"));
        product.reload().await;
    }
}

#[tokio::test]
async fn sighup_forgives_nobody_what_they_have_used() {
    let upstream = Upstream::of_blob(content(10)).await;
    let limit =
        |count: u32| one_upstream(&format!("[quota.client]\nrequests_per_day={count}"), upstream.address, "");
    let product = Product::start(&limit(2)).await;
    let mut client = Client::connect(product.address).await;
    for expected in [200, 200, 429] {
        assert_eq!(client.get(&blob_path()).await.0.status, expected);
    }
    product.setup.file("proxy.toml", &limit(3));
    product.reload().await;
    for expected in [200, 429] {
        assert_eq!(client.get(&blob_path()).await.0.status, expected, "two were counted before");
    }
    assert_eq!(client.get("/healthz").await.0.status, 200);
    let metrics = String::from_utf8(client.get("/metrics").await.1).unwrap();
    let line = "registry_proxy_quota_refused_total{limit=\"quota.client.requests_per_day\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    let old_name = "registry_proxy_guard_refused_total{limit=\"guard.client.requests_per_day\"} 2";
    assert!(metrics.contains(old_name), "{metrics}");
}

#[tokio::test]
async fn sighup_with_a_configuration_that_cannot_be_used_keeps_the_old_one_and_says_so() {
    let upstream = Upstream::of_blob(content(10)).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    product.setup.file("proxy.toml", "[limits]\nconnections = 'many'");
    product.signal(Signal::HUP);
    let line = product.wait_for_line("cannot be used").await;
    assert!(line.contains("ERROR") && line.contains("limits.connections"), "{line}");
    let mut client = Client::connect(product.address).await;
    assert_eq!(client.get(&blob_path()).await.0.status, 200);
    product.setup.file("proxy.toml", &one_upstream("", crate::fixture::closed_port(), ""));
    product.reload().await;
    assert_eq!(client.get(&blob_path()).await.0.status, 504, "the next one counts, on old connections too");
}

/// Begins a download, takes the upstream out of the configuration, opens the gate: all bytes must come.
async fn survives(upstream: &Upstream, gate: &Gate, bytes: &[u8]) {
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    client.ask("GET", &blob_path(), "").await;
    assert_eq!(client.head().await.status, 200);
    product.setup.file("proxy.toml", &one_upstream("", crate::fixture::closed_port(), ""));
    product.reload().await;
    gate.open();
    assert!(client.take(bytes.len()).await == bytes, "other bytes");
}

#[tokio::test]
async fn downloads_under_way_survive_sighup() {
    let (gate, bytes) = (Gate::default(), Arc::new(content(1 << 20)));
    let (held, served) = (gate.clone(), Arc::clone(&bytes));
    let upstream = Upstream::start(move |_: Request, mut exchange: Exchange| {
        let (gate, bytes) = (held.clone(), Arc::clone(&served));
        async move {
            exchange.begin(bytes.len(), &bytes[..1000]).await;
            gate.pass().await;
            exchange.write(&bytes[1000..]).await;
            Some(exchange)
        }
    })
    .await;
    survives(&upstream, &gate, &bytes).await;
}

#[tokio::test]
async fn a_download_under_way_is_resumed_after_sighup_with_what_it_began_with() {
    let (gate, bytes) = (Gate::default(), Arc::new(content(1 << 20)));
    let (held, served) = (gate.clone(), Arc::clone(&bytes));
    let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
        let (gate, bytes) = (held.clone(), Arc::clone(&served));
        async move {
            if request.get("range").is_some() {
                return exchange.blob(&request, &bytes).await;
            }
            exchange.begin(bytes.len(), &bytes[..1000]).await;
            gate.pass().await;
            None
        }
    })
    .await;
    survives(&upstream, &gate, &bytes).await;
}

#[tokio::test]
async fn a_reload_does_not_part_those_who_share_a_fill() {
    for more in ["[timeouts]\nidle = '31s'", "[cache.fill]\nparts = 7"] {
        let (gate, bytes) = (Gate::default(), Arc::new(content(1 << 20)));
        let (held, served) = (gate.clone(), Arc::clone(&bytes));
        let upstream = Upstream::start(move |_: Request, mut exchange: Exchange| {
            let (gate, bytes) = (held.clone(), Arc::clone(&served));
            async move {
                exchange.begin(bytes.len(), &bytes[..100_000]).await;
                gate.pass().await;
                exchange.write(&bytes[100_000..]).await.then_some(exchange)
            }
        })
        .await;
        let setup = Setup::new();
        let store = setup.path().join("store").display().to_string();
        let config = |more: &str| {
            let keys = format!("[cache]\nstore = 'file://{store}'\nmin_free = 0\n{more}");
            one_upstream(&keys, upstream.address, "")
        };
        let product = setup.start(&config("")).await;
        let digest = Digest::sha256(&bytes);
        let path = format!("/v2/acme/app/blobs/{digest}");
        let link = Path::new(&store).join("v1/links/up.test/acme/app/_/sha256").join(digest.encoded());
        let mut clients = Vec::new();
        for expected in ["filled", "joined"] {
            let mut client = Client::connect(product.address).await;
            client.ask("GET", &path, "").await;
            let answer = client.head().await;
            let done = answer.get("x-registry-proxy").unwrap_or_default();
            assert!(answer.status == 200 && done.starts_with(expected), "{more}: {}", answer.text);
            clients.push(client);
            // What is known of the repository is in the store before other rules for the cache make memory forget it.
            until("the link", || link.exists()).await;
            product.setup.file("proxy.toml", &config(more));
            product.reload().await;
        }
        gate.open();
        for mut client in clients {
            assert!(client.take(bytes.len()).await == *bytes, "{more}: other bytes");
        }
        let mut client = Client::connect(product.address).await;
        let is_hit = |head: &Head| head.get("x-registry-proxy").is_some_and(|done| done.starts_with("hit"));
        soon("a hit", async { while !is_hit(&client.get(&path).await.0) {} }).await;
        assert_eq!(upstream.seen().len(), 1, "{more}");
    }
}

#[tokio::test]
async fn sighup_names_each_change_that_takes_a_restart_and_no_other() {
    let upstream = Upstream::of_blob(content(10)).await;
    let product = Product::start(&one_upstream("", upstream.address, "")).await;
    let keys = "[metrics]\nlisten='127.0.0.1:1'\n[log]\nlevel='info,hyper=warn'\nformat='json'\n\
                [limits]\nconnections=7\nwaiting=9\n[timeouts]\ndrain='9s'\nidle='9s'";
    product.setup.file("proxy.toml", &one_upstream(keys, upstream.address, ""));
    product.reload().await;
    let mut named: Vec<String> = product
        .wait_for_lines("takes a restart", 5)
        .await
        .iter()
        .map(|line| line.split("key=").nth(1).unwrap().trim().to_owned())
        .collect();
    named.sort_unstable();
    assert_eq!(named, ["limits.connections", "log.format", "log.level", "metrics.listen", "timeouts.drain"]);
    // The same again is no change, and yet not in force: it is said again.
    product.reload().await;
    product.wait_for_lines("takes a restart", 10).await;
}
