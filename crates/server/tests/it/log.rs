//! One line a request, for machines, without secrets.

use serde_json::Value;

use crate::fixture::{
    BLOB, Client, Exchange, Product, Request, Setup, Upstream, basic, blob_path, content, one_upstream,
};

fn lines(product: &Product) -> Vec<Value> {
    product
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[tokio::test]
async fn each_line_is_json_and_each_request_has_one() {
    let bytes = content(5000);
    let upstream = Upstream::of_blob(bytes).await;
    let product = Product::start(&one_upstream("[log]\nformat = 'json'", upstream.address, "")).await;
    let mut client = Client::connect(product.address).await;
    let (head, _) = client.get_with(&blob_path(), "User-Agent: docker/29.0.1\r\n").await;
    assert_eq!(head.status, 200);
    assert_eq!(client.get("/v2/").await.0.status, 200);
    assert_eq!(client.get("/v2/nowhere.test/a/b/manifests/x").await.0.status, 404);
    product.wait_for_lines("duration_ms", 3).await;
    let requests: Vec<Value> =
        lines(&product).into_iter().filter(|line| line.get("duration_ms").is_some()).collect();
    assert_eq!(requests.len(), 3);
    let blob = &requests[0];
    for (field, value) in [
        ("method", Value::from("GET")),
        ("status", 200.into()),
        ("outcome", "relayed".into()),
        ("why", "no store".into()),
        ("end", "complete".into()),
        ("upstream", "up.test".into()),
        ("endpoint", "blob".into()),
        ("repository", "acme/app".into()),
        ("reference", BLOB.into()),
        ("size_bytes", 5000.into()),
        ("client", "127.0.0.1".into()),
        ("agent", "docker/29.0.1".into()),
        ("request.id", head.get("x-request-id").unwrap().into()),
    ] {
        assert_eq!(blob[field], value, "{field} in {blob}");
    }
    assert!(blob["duration_ms"].is_u64(), "{blob}");
    assert_eq!((&requests[1]["endpoint"], &requests[1]["outcome"]), (&"ping".into(), &"answered".into()));
    assert_eq!((&requests[2]["status"], &requests[2]["why"]), (&404.into(), &"registry not served".into()));
}

#[tokio::test]
async fn no_secret_is_ever_logged() {
    let upstream = Upstream::start(|request: Request, exchange: Exchange| async move {
        if request.path.starts_with("/tokens") {
            return exchange.answer("200 OK", "", b"{\"token\":\"upstream-token-5d1f\",\"expires_in\":300}").await;
        }
        if request.get("authorization") != Some("Bearer upstream-token-5d1f") {
            let host = request.get("host").unwrap_or_default();
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/tokens\",service=\"x\"\r\n");
            return exchange.answer("401 Unauthorized", &challenge, b"").await;
        }
        if request.path.contains("/manifests/") {
            let host = request.get("host").unwrap_or_default();
            let location = format!("Location: http://{host}/nowhere?X-Signature=signature-77aa\r\n");
            return exchange.answer("307 Temporary Redirect", &location, b"").await;
        }
        if request.path.contains("signature") {
            return None;
        }
        exchange.blob(&request, &content(5000)).await
    })
    .await;
    let setup = Setup::new();
    let hash = bcrypt::hash("client-password-93c2", 4).unwrap();
    let users = setup.file("users", &format!("alice:{hash}\n"));
    let secret = setup.file("path", "path-secret-0b7e44\n");
    let password = setup.file("password", "upstream-password-c0de\n");
    let keys = format!(
        "[log]\nformat='json'\nlevel='debug'\n[clients]\nauth='users'\nusers_file='{users}'\npath_secret_file='{secret}'"
    );
    let more = format!("username = 'robot'\npassword_file = '{password}'");
    let product = setup.start(&one_upstream(&keys, upstream.address, &more)).await;
    let mut client = Client::connect(product.address).await;
    let login = basic("alice", "client-password-93c2");
    let path = |rest: &str| format!("/v2/path-secret-0b7e44/acme/app/{rest}");

    // As any client does it: the challenge says where and for what.
    let (head, _) = client.get(&path(&format!("blobs/{BLOB}"))).await;
    let challenge = head.get("www-authenticate").unwrap();
    let part = |name: &str| challenge.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap();
    let (_, endpoint) = part("realm").split_once("proxy.test").unwrap();
    let endpoint = format!("{endpoint}?scope={}", part("scope"));
    let (head, body) = client.get_with(&endpoint, &format!("Authorization: {login}\r\n")).await;
    assert_eq!(head.status, 200, "{}", product.log());
    let token = serde_json::from_slice::<Value>(&body).unwrap()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (head, _) = client.get_with(&path(&format!("blobs/{BLOB}")), &bearer).await;
    assert_eq!(head.status, 200, "{}", product.log());
    assert_eq!(client.get_with(&path("manifests/latest"), &bearer).await.0.status, 504);
    let wrong = format!("Authorization: {}\r\n", basic("alice", "wrong-password-11ff"));
    assert_eq!(client.get_with(&path("manifests/latest"), &wrong).await.0.status, 401);
    assert_eq!(client.get_with("/v2/path-secret-0b7e44/UPPER/manifests/x", &bearer).await.0.status, 400);
    product.wait_for_lines("duration_ms", 6).await;

    let log = product.log();
    for secret in [
        "client-password-93c2",
        "path-secret-0b7e44",
        "upstream-password-c0de",
        "upstream-token-5d1f",
        "signature-77aa",
        "wrong-password-11ff",
        hash.as_str(),
        token.as_str(),
        login.trim_start_matches("Basic "),
    ] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
    lines(&product);
}

#[tokio::test]
async fn whatever_clients_send_is_one_short_line() {
    for format in ["text", "json"] {
        let keys = format!("[log]\nformat = '{format}'\nlevel = 'debug'");
        let product = Product::start(&one_upstream(&keys, crate::fixture::closed_port(), "")).await;
        let mut client = Client::connect(product.address).await;
        // A terminal takes the second for the beginning of a command.
        let agent = format!("User-Agent: a\tb \u{9b}31m \u{e9}{}\r\n", "y".repeat(30_000));
        // A longer method is refused before anybody answers.
        client.ask(&"M".repeat(32), "/v2/acme/app/manifests/x", &agent).await;
        let head = client.head().await;
        let line = product.wait_for_line("MMMM").await;
        assert!(line.len() < 1000, "{} bytes", line.len());
        assert!(
            line.contains(r"agent=a\\tb \\u{9b}31m \\u{e9}yy")
                || line.contains(r"agent:a\\tb \\u{9b}31m \\u{e9}yy"),
            "{line}"
        );
        assert!(line.contains(head.get("x-request-id").unwrap()), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
    }
}
