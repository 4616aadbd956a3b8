//! `registry-proxy login`, and what clients then get from `docker-credential-registry-proxy`: the real binary, an issuer on this
//! machine.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Exchange, Request, Setup, Upstream, soon};

const SERVER: &str = "proxy.example.com";

/// A token for the client that ends so many seconds from now.
fn token(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let payload = BASE64_URL_SAFE_NO_PAD.encode(json!({ "aud": "cli", "exp": now + seconds }).to_string());
    format!("eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl")
}

/// What an issuer gives, and what it was asked.
#[derive(Clone)]
struct Script {
    first: String,
    renewed: String,
    polled: Arc<AtomicUsize>,
    forms: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(first: String, renewed: String) -> Self {
        Self { first, renewed, polled: Arc::default(), forms: Arc::default() }
    }

    /// Confirms a login at the second question.
    async fn start(&self) -> Upstream {
        let script = self.clone();
        Upstream::start(move |request: Request, mut exchange: Exchange| {
            let script = script.clone();
            async move {
                let length = request.length();
                while exchange.buffer.len() < length {
                    assert_ne!(exchange.wire.read_buf(&mut exchange.buffer).await.unwrap(), 0);
                }
                let form = String::from_utf8(exchange.buffer.drain(..length).collect()).unwrap();
                let (status, answer) = script.answer(&request, &form);
                exchange.answer(status, "Content-Type: application/json\r\n", answer.to_string().as_bytes()).await
            }
        })
        .await
    }

    fn answer(&self, request: &Request, form: &str) -> (&'static str, Value) {
        let own = format!("http://{}", request.get("host").unwrap_or_default());
        if !form.is_empty() {
            self.forms.lock().unwrap().push(form.to_owned());
        }
        match request.path.as_str() {
            "/.well-known/openid-configuration" => {
                let device = format!("{own}/device");
                let answer = json!({ "issuer": own, "token_endpoint": format!("{own}/token"), "device_authorization_endpoint": device });
                ("200 OK", answer)
            }
            "/device" => {
                let page = format!("{own}/confirm");
                let answer = json!({ "device_code": "d3v1c3", "user_code": "ABCD-EFGH", "verification_uri": page, "expires_in": 60, "interval": 1 });
                ("200 OK", answer)
            }
            "/token" if form.contains("refresh_token=first-refresh") => {
                ("200 OK", json!({ "id_token": self.renewed, "refresh_token": "second-refresh" }))
            }
            "/token" if form.contains("device_code=d3v1c3") => match self.polled.fetch_add(1, Ordering::Relaxed) {
                0 => ("400 Bad Request", json!({ "error": "authorization_pending" })),
                _ => ("200 OK", json!({ "id_token": self.first, "refresh_token": "first-refresh" })),
            },
            _ => ("400 Bad Request", json!({ "error": "invalid_grant" })),
        }
    }
}

async fn log_in(setup: &Setup, issuer: &Upstream) -> String {
    let issuer = format!("http://{}", issuer.address);
    let words = ["login", "--issuer", &issuer, "--client-id", "cli", "--configure-docker", SERVER];
    let output = setup.run(&words).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The binary under the helper's name.
async fn helper(setup: &Setup, word: &str, input: &str) -> Output {
    let link = setup.path().join("docker-credential-registry-proxy");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_registry-proxy"), &link).unwrap();
    }
    let mut command = tokio::process::Command::new(link);
    command.env_clear().env("HOME", setup.path()).arg(word).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    soon("the helper's end", child.wait_with_output()).await.unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_person_logs_in_once_and_clients_get_a_login_that_is_renewed() {
    let (first, renewed) = (token(30), token(3600));
    let script = Script::new(first.clone(), renewed.clone());
    let (issuer, setup) = (script.start().await, Setup::new());
    let text = log_in(&setup, &issuer).await;
    let page = format!("  http://{}/confirm\n\nEnter the code ABCD-EFGH there.\n", issuer.address);
    assert!(text.starts_with("To log in at proxy.example.com, open this page") && text.contains(&page), "{text}");
    assert!(text.contains("Logged in at proxy.example.com") && !text.contains(&first), "{text}");
    assert!(text.contains("/usr/local/bin/docker-credential-registry-proxy\n"), "the helper is missing: {text}");
    let docker = std::fs::read_to_string(setup.path().join(".docker/config.json")).unwrap();
    assert_eq!(docker, "{\n  \"credHelpers\": { \"proxy.example.com\": \"registry-proxy\" }\n}\n");
    // In its last minute it is renewed, and then it is not.
    for _ in 0..2 {
        let (status, text, error) = said(&helper(&setup, "get", SERVER).await);
        assert_eq!((status, error.as_str()), (Some(0), ""));
        let login: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(login, json!({ "ServerURL": SERVER, "Username": "oidc", "Secret": renewed }));
    }
    let device =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d3v1c3&client_id=cli";
    let expected = [
        "client_id=cli&scope=openid+offline_access",
        device,
        device,
        "grant_type=refresh_token&refresh_token=first-refresh&client_id=cli",
    ];
    assert_eq!(*script.forms.lock().unwrap(), expected);
    let (_, list, _) = said(&helper(&setup, "list", "unused").await);
    assert_eq!(list, "{\"proxy.example.com\":\"oidc\"}\n");
    let output = setup.run(&["logout", SERVER]).await;
    assert!(output.status.success());
    let (status, text, _) = said(&helper(&setup, "get", SERVER).await);
    assert_eq!((status, text.as_str()), (Some(1), "credentials not found in native keychain\n"));
}

#[tokio::test]
async fn a_login_that_cannot_be_renewed_is_used_to_its_end_and_then_says_what_to_do() {
    let setup = Setup::new();
    for (seconds, status) in [(30, 0), (0, 1)] {
        let first = token(seconds);
        let script = Script::new(first.clone(), token(3600));
        let issuer = script.start().await;
        log_in(&setup, &issuer).await;
        drop(issuer);
        let (ended, text, error) = said(&helper(&setup, "get", SERVER).await);
        assert_eq!(ended, Some(status), "{text}{error}");
        assert!(error.contains("registry-proxy login proxy.example.com"), "{error}");
        assert_eq!(text.contains(&first), status == 0, "{text}");
        assert_eq!(
            text == "the login at proxy.example.com is over: registry-proxy login proxy.example.com\n",
            status == 1
        );
    }
}

#[tokio::test]
async fn a_login_without_an_issuer_says_what_is_missing() {
    let setup = Setup::new();
    for (words, says) in [
        (&["login", SERVER][..], "--issuer"),
        (&["login", "--issuer", "https://id.example.com", SERVER], "--client-id"),
        (&["login", "--issuer", "http://id.example.com", "--client-id", "cli", SERVER], "expected https"),
        (
            &["login", "--issuer", "https://id.example.com", "--client-id", "cli", "proxy.example.com/path"],
            "expected a host",
        ),
    ] {
        let output = setup.run(words).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(says), "{words:?}: {error}");
    }
}
