//! What stands around the server: the address that clients are told, buckets, budgets, and who owns the cache.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Report, good};
use crate::fixture::{Client, Exchange, Product, Request, Setup, Upstream, closed_port, one_upstream};

#[tokio::test]
async fn what_answers_at_public_url_is_compared_with_the_server_that_runs_here() {
    let upstream = good().await;
    // Ours: its public_url is its own address.
    let listen = closed_port().to_string();
    let ours = one_upstream(&format!("public_url = 'http://{listen}'"), upstream.address, "")
        + "[cache]\nstore = 'none'\n";
    let product = Setup::new().start_at(&listen, &ours).await;
    let doctor = |config: String| {
        let setup = &product.setup;
        let listen = &listen;
        async move {
            let config = setup.file("doctor.toml", &config);
            let output = setup.run(&["--config", &config, "--listen", listen, "doctor"]).await;
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        }
    };
    let (status, text) = doctor(ours.clone()).await;
    assert!(status == Some(0) && text.contains("it is this server that answers"), "{text}");
    // Another instance, as behind a load balancer.
    let other = Product::start(&one_upstream("", upstream.address, "")).await;
    let (status, text) =
        doctor(ours.replace(&format!("http://{listen}"), &format!("http://{}", other.address))).await;
    assert!(status == Some(0) && text.contains("another registry-proxy answers"), "{text}");
    // A name that leads to some other server.
    let (status, text) =
        doctor(ours.replace(&format!("http://{listen}"), &format!("http://{}", upstream.address))).await;
    let line = text.lines().find(|line| line.starts_with("ERROR")).unwrap_or_default();
    assert!(status == Some(1) && line.contains("public_url") && line.contains("is no registry-proxy"), "{text}");
    assert!(text.contains("next: check the name, and that the reverse proxy"), "{text}");
}

#[tokio::test]
async fn pulls_that_a_registry_leaves_are_told_as_the_server_knows_them() {
    let upstream = Upstream::start(|request: Request, exchange: Exchange| async move {
        let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let manifest =
            format!("{{\"schemaVersion\":2,\"config\":{{\"digest\":\"{config}\",\"size\":2}},\"layers\":[]}}");
        let headers = "ratelimit-limit: 100;w=21600\r\nratelimit-remaining: 7;w=21600\r\n\
                       Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        let headers = if request.path.contains("/manifests/") { headers } else { "" };
        exchange.answer("200 OK", headers, manifest.as_bytes()).await
    })
    .await;
    let listen = closed_port().to_string();
    let toml = one_upstream("", upstream.address, "") + "[cache]\nstore = 'none'\n";
    let product = Setup::new().start_at(&listen, &toml).await;
    let (head, _) = Client::connect(product.address).await.get("/v2/a/b/manifests/v1").await;
    assert_eq!(head.status, 200, "{}", head.text);
    let config = product.setup.file("doctor.toml", &toml);
    let output = product.setup.run(&["--config", &config, "--listen", &listen, "doctor"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("7 pulls left")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with("warning") && line.contains("upstream up.test"), "{text}");
    assert!(text.contains("docs/how-to/docker-hub-limits.md"), "{text}");
}

#[tokio::test]
async fn a_bucket_that_gives_no_access_is_named_with_its_cure() {
    let upstream = good().await;
    let denied = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let bucket = Upstream::start(move |_, exchange: Exchange| async move {
        exchange.answer("403 Forbidden", "Content-Type: application/xml\r\n", denied.as_bytes()).await
    })
    .await;
    let setup = Setup::new()
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret")
        .variable("CACHE_DIRECTORY", std::env::temp_dir().to_str().unwrap());
    let store = format!("[cache]\nstore = 's3://b/p?region=r&endpoint=http://{}'\n", bucket.address);
    let report = Report::of(&setup, &one_upstream(&store, upstream.address, ""), &[]).await;
    report.is_one_error("cache.store", "AccessDenied", "their policy allows");
    // One whose clock is another: it refuses what is signed by ours.
    let skewed = "<?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>";
    let bucket = Upstream::start(move |_, exchange: Exchange| async move {
        let headers = "Content-Type: application/xml\r\nDate: Fri, 01 Jan 2021 00:00:00 GMT\r\n";
        exchange.answer("403 Forbidden", headers, skewed.as_bytes()).await
    })
    .await;
    let store = format!("[cache]\nstore = 's3://b/p?region=r&endpoint=http://{}'\n", bucket.address);
    let report = Report::of(&setup, &one_upstream(&store, upstream.address, ""), &[]).await;
    for part in ["RequestTimeTooSkewed", "ahead of that of the bucket"] {
        let line = report.text.lines().find(|line| line.starts_with("ERROR") && line.contains(part));
        assert!(line.is_some_and(|line| line.contains("cache.store")), "{part}: {}", report.text);
    }
    assert_eq!(report.text.matches("next: set the clock").count(), 2, "{}", report.text);
}

#[tokio::test]
async fn what_root_runs_leaves_nothing_in_the_cache_that_its_server_cannot_use() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let upstream = good().await;
    let setup = Setup::new();
    let missing = setup.path().join("not-yet");
    let toml = |place: &Path| {
        let cache = format!("[cache]\nstore = 'file://{}'\nmin_free = '1KiB'\n", place.display());
        one_upstream(&cache, upstream.address, "")
    };
    let report = Report::of(&setup, &toml(&missing), &[]).await;
    assert!(report.status == Some(0) && report.text.contains("root would make it for itself"), "{}", report.text);
    assert!(!missing.exists());
    // That of a service's user: what is made in it is that user's.
    let theirs = setup.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(4242), Some(4343)).unwrap();
    let report = Report::of(&setup, &toml(&theirs), &[]).await;
    assert!(report.text.contains("written and synced in "), "{}", report.text);
    let mut open = vec![theirs];
    while let Some(place) = open.pop() {
        let found = fs::symlink_metadata(&place).unwrap();
        assert_eq!((found.uid(), found.gid()), (4242, 4343), "{}", place.display());
        if found.is_dir() {
            open.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}
