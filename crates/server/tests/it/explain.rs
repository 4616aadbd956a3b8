//! `registry-proxy explain`, beside a server on the same directory.

use std::process::Output;
use std::time::Duration;

use crate::fixture::{Client, Product, Setup, Upstream, closed_port, one_upstream, soon};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn what_a_server_has_cached_is_explained_by_another_process_and_without_the_upstream() {
    let mut upstream = Upstream::start(|request, exchange| async move {
        let body = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        match request.path.as_str() {
            "/v2/acme/app/manifests/v1" => exchange.answer("200 OK", "", body.as_bytes()).await,
            _ => exchange.answer("404 Not Found", "", b"").await,
        }
    })
    .await;
    let store = tempfile::tempdir().unwrap();
    let keys = format!("[cache]\nstore = 'file://{}'\n", store.path().display());
    let more = "username = 'robot'\npassword = 'hunter2'";
    let mut product = Product::start(&one_upstream(&keys, upstream.address, more)).await;
    assert_eq!(Client::connect(product.address).await.get("/v2/acme/app/manifests/v1").await.0.status, 200);
    // It is written soon, not before the answer; the tag last.
    let tag = store.path().join("v1/tags/up.test/acme/app/_/v1");
    soon("the tag in the store", async {
        while !tag.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    product.signal(rustix::process::Signal::TERM);
    product.wait().await;
    let asked = upstream.seen().len();
    upstream.close().await;

    let config = product.setup.path().join("proxy.toml");
    let config = config.to_str().unwrap();
    let output = product.setup.run(&["--config", config, "explain", "acme/app:v1"]).await;
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "pull         hit: tag is fresh\n",
        "upstream     up.test (the name has no registry: default upstream)\n",
        "repository   acme/app, v1\n",
        "account      robot (username)\n",
        "clients      open to everybody, repository allowed, redirects followed, push off\n",
        "tag rule     1m (cache.tag_ttl)\n",
        " ago; fresh for ",
        "\nmanifest sha256:",
        " 43 B  cached\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let output = product.setup.run(&["--config", config, "explain", "--json", "acme/app:v1"]).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["pull"]["does"], &json["manifest"]["state"]), (&"hit".into(), &"here".into()), "{json}");
    assert!(!text.contains("hunter2") && !json.to_string().contains("hunter2"));
    assert_eq!(upstream.seen().len(), asked, "nobody was asked");
}

#[tokio::test]
async fn what_is_not_served_ends_with_1_and_says_how_to_add_it() {
    let setup = Setup::new();
    let config = setup.file("proxy.toml", &one_upstream("[cache]\nstore = 'none'", closed_port(), ""));
    let output = setup.run(&["--config", &config, "explain", "other.test/o/i"]).await;
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("pull         refuse: this proxy does not serve that registry (404)\n"), "{text}");
    assert!(text.contains("name = \"other.test\"\n"), "{text}");
    let output = setup.run(&["--config", &config, "explain", "127.0.0.1:3000/o/i"]).await;
    assert!(stdout(&output).contains("pull         relay: nothing is cached"), "{}", stdout(&output));
    assert_eq!(setup.run(&["--config", &config, "explain"]).await.status.code(), Some(2));
}
