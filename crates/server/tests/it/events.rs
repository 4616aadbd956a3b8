//! Events: what a receiver gets, signed, and what the log says of administrative actions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::digest::Digest;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use crate::fixture::{Client, Exchange, Request, Setup, Upstream, basic, one_upstream, soon};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Takes events, after it has answered the first with 503 so many times.
struct Receiver {
    upstream: Upstream,
    bodies: watch::Sender<Vec<(Request, Vec<u8>)>>,
}

impl Receiver {
    async fn start(failures: usize) -> Self {
        let bodies = watch::Sender::new(Vec::new());
        let taken = bodies.clone();
        let upstream = Upstream::start(move |request: Request, mut exchange: Exchange| {
            let taken = taken.clone();
            async move {
                let mut body = std::mem::take(&mut exchange.buffer);
                while body.len() < request.length() {
                    if exchange.wire.read_buf(&mut body).await.ok()? == 0 {
                        return None;
                    }
                }
                taken.send_modify(|all: &mut Vec<(Request, Vec<u8>)>| all.push((request, body)));
                let count = taken.borrow().len();
                let status = if count <= failures { "503 Service Unavailable" } else { "204 No Content" };
                exchange.answer(status, "", b"").await
            }
        })
        .await;
        Self { upstream, bodies }
    }

    /// The first so many requests.
    async fn wait_for(&self, count: usize) -> Vec<(Request, Vec<u8>)> {
        let mut bodies = self.bodies.subscribe();
        soon("events", bodies.wait_for(|all| all.len() >= count)).await.unwrap().clone()
    }

    fn section(&self, key_file: &str, more: &str) -> String {
        let url = format!("http://{}/hooks/receivers-token-4e1a?sig=receivers-query-77", self.upstream.address);
        format!("[[events]]\nurl = '{url}'\nkey_file = '{key_file}'\ninsecure = true\n{more}\n")
    }
}

/// A registry whose `acme/app:v1` is another manifest each time it is asked for.
async fn restless() -> Upstream {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |request: Request, exchange: Exchange| {
        let number = asked.fetch_add(usize::from(request.method == "GET"), std::sync::atomic::Ordering::Relaxed);
        async move {
            if request.method == "HEAD" {
                return exchange.answer("405 Method Not Allowed", "", b"").await;
            }
            let body =
                format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[],"annotations":{{"n":"{number}"}}}}"#);
            let digest = Digest::sha256(body.as_bytes());
            let head = format!("Content-Type: {MANIFEST}\r\nDocker-Content-Digest: {digest}\r\n");
            exchange.answer("200 OK", &head, body.as_bytes()).await
        }
    })
    .await
}

const CACHE: &str = "[cache]\nstore = 'memory:'\ntag_ttl = '0s'\n";

#[tokio::test]
async fn a_moved_tag_reaches_the_receiver_as_a_signed_cloud_event_also_after_a_failure() {
    let (registry, receiver) = (restless().await, Receiver::start(1).await);
    let setup = Setup::new();
    let key = setup.file("events.key", &format!("{KEY}\n"));
    let keys = format!(
        "public_url = 'https://proxy.example.com'\n{CACHE}{}",
        receiver.section(&key, "on = ['tag moved']")
    );
    let product = setup.start(&one_upstream(&keys, registry.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let mut digests = Vec::new();
    for _ in 0..2 {
        let (head, _) = client.get("/v2/acme/app/manifests/v1").await;
        digests.push(head.get("docker-content-digest").unwrap().to_owned());
    }
    let seen = receiver.wait_for(2).await;
    let [(first, _), (request, body)] = &seen[..] else { panic!("{} requests", seen.len()) };
    assert_eq!((request.method.as_str(), first.get("webhook-id")), ("POST", request.get("webhook-id")));
    assert_eq!(request.get("content-type"), Some("application/cloudevents+json; charset=utf-8"));

    // As a receiver checks it, with another implementation.
    let secret = BASE64_STANDARD.decode(KEY.trim_start_matches("whsec_")).unwrap();
    let (id, timestamp) = (request.get("webhook-id").unwrap(), request.get("webhook-timestamp").unwrap());
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let signature = request.get("webhook-signature").unwrap().strip_prefix("v1,").unwrap();
    let tag = BASE64_STANDARD.decode(signature).unwrap();
    ring::hmac::verify(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), &signed, &tag).unwrap();

    let event: Value = serde_json::from_slice(body).unwrap();
    for (name, expected) in [
        ("specversion", "1.0"),
        ("id", id),
        ("source", "https://proxy.example.com/"),
        ("type", "io.github.registry-proxy.tag.moved"),
        ("subject", "up.test/acme/app:v1"),
        ("datacontenttype", "application/json"),
    ] {
        assert_eq!(event[name], expected, "{event}");
    }
    assert_eq!(event["data"]["from"], digests[0].as_str());
    assert_eq!(event["data"]["to"], digests[1].as_str());
    soon("the count", async {
        while product.metric("registry_proxy_events_total", "result=\"sent\"").await != 1 {}
    })
    .await;
    product.wait_for_line("an event is sent").await;
}

#[tokio::test]
async fn a_receiver_that_takes_no_events_is_logged_once_and_costs_clients_nothing() {
    let registry = restless().await;
    let refusing = |_: Request, exchange: Exchange| exchange.answer("404 Not Found", "Connection: close\r\n", b"");
    let receiver = Upstream::start(refusing).await;
    let setup = Setup::new();
    let key = setup.file("events.key", KEY);
    let events = format!("[[events]]\nurl = 'http://{}/'\nkey_file = '{key}'\ninsecure = true", receiver.address);
    let product = setup.start(&one_upstream(&format!("{CACHE}{events}"), registry.address, "")).await;
    let mut client = Client::connect(product.address).await;
    for number in 0..4 {
        // Each time another tag, so that each is an event of its own.
        for _ in 0..2 {
            assert_eq!(client.get(&format!("/v2/acme/app/manifests/v{number}")).await.0.status, 200);
        }
    }
    soon("the count", async {
        while product.metric("registry_proxy_events_total", "result=\"dropped\"").await != 4 {}
    })
    .await;
    let log = product.log();
    assert_eq!(log.matches("an event was dropped").count(), 1, "{log}");
    assert!(log.contains("the receiver answered 404"), "{log}");
}

#[tokio::test]
async fn no_secret_is_in_an_event_and_none_of_the_receivers_is_in_the_log() {
    let (registry, receiver) = (restless().await, Receiver::start(0).await);
    let setup = Setup::new();
    let hash = bcrypt::hash("client-password-93c2", 4).unwrap();
    let users = setup.file("users", &format!("alice:{hash}\n"));
    let path = setup.file("path", "path-secret-0b7e44\n");
    let password = setup.file("password", "upstream-password-c0de\n");
    let key = setup.file("events.key", KEY);
    let keys = format!(
        "[log]\nformat = 'json'\nlevel = 'debug'\n[limits]\nwrong_logins = 1\n{CACHE}{}\n[clients]\nauth = 'users'\nusers_file = '{users}'\npath_secret_file = '{path}'",
        receiver.section(&key, "")
    );
    let more =
        format!("username = 'robot'\npassword_file = '{password}'\nrepositories = {{ deny = ['acme/denied'] }}");
    let product = setup.start(&one_upstream(&keys, registry.address, &more)).await;
    let mut client = Client::connect(product.address).await;
    let path = |rest: &str| format!("/v2/path-secret-0b7e44/acme/{rest}");
    let right = format!("Authorization: {}\r\n", basic("alice", "client-password-93c2"));
    for _ in 0..2 {
        assert_eq!(client.get_with(&path("app/manifests/v1"), &right).await.0.status, 200, "{}", product.log());
    }
    client.get_with(&path("denied/manifests/v1"), &right).await;
    for word in ["wrong-password-1", "wrong-password-2", "wrong-password-3"] {
        let wrong = format!("Authorization: {}\r\n", basic("alice", word));
        client.get_with(&path("app/manifests/v1"), &wrong).await;
    }
    // The tag, the repository and the logins.
    let events = receiver.wait_for(3).await;
    for (_, body) in &events {
        let text = String::from_utf8(body.clone()).unwrap();
        for secret in ["client-password", "path-secret", "upstream-password", "wrong-password", "receivers-", KEY]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let address = registry.address.to_string();
        assert!(!text.contains(&address), "{address} in {text}");
    }
    let log = product.log();
    for secret in ["receivers-token-4e1a", "receivers-query-77", KEY, &KEY[6..]] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_an_administrator_does_is_in_the_audit_log_whatever_the_level_is() {
    let registry = restless().await;
    let setup = Setup::new();
    // The line with the address is wanted, too.
    let keys = format!(
        "[log]\nformat = 'json'\nlevel = 'error,registry_proxy::http=info'\n[cache]\nstore = 'file://{}/cache'\nmin_free = 0",
        setup.path().display()
    );
    let text = one_upstream(&keys, registry.address, "");
    let product = setup.start(&text).await;
    product.signal(Signal::HUP);
    product.wait_for_line("action:reload").await;
    let config = product.setup.path().join("proxy.toml");
    let run = async |arguments: &[&str]| {
        let all = [&["--config", config.to_str().unwrap(), "cache"], arguments].concat();
        assert!(product.setup.run(&all).await.status.success());
    };
    run(&["stat"]).await;
    run(&["purge", "docker.io/library/*", "--dry-run"]).await;
    run(&["purge", "docker.io/library/*"]).await;
    product.wait_for_lines("action:purge", 2).await;
    let lines: Vec<Value> = product.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str, &str)> = lines
        .iter()
        .filter(|line| line["target"] == "registry_proxy::audit")
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default();
            (text("action"), text("result"), text("actor"))
        })
        .collect();
    let uid = rustix::process::geteuid().as_raw();
    let [reload, begun, done] = told[..] else { panic!("{told:?}") };
    assert_eq!(reload, ("reload", "done", "SIGHUP"));
    assert_eq!((begun.0, begun.1, done.0, done.1), ("purge", "", "purge", "done"));
    assert!(
        begun.2.starts_with(&format!("uid {uid}, pid ")) && begun.2.ends_with(", by admin_socket"),
        "{told:?}"
    );
    assert!(
        lines.iter().any(|line| line["detail"].as_str().is_some_and(|text| text.contains("docker.io/library/*")))
    );
}
