//! `registry-proxy doctor`: broken set-ups, each named in one line with its cure.

mod surroundings;

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{
    Authority, Exchange, Identity, Product, Request, Setup, Upstream, closed_port, one_upstream, refusing_proxy,
    server_config,
};

/// What was found.
struct Report {
    status: Option<i32>,
    text: String,
}

impl Report {
    /// Of the set-up that this configuration describes.
    async fn of(setup: &Setup, toml: &str, more: &[&str]) -> Self {
        let toml =
            if toml.contains("[cache]") { toml.to_owned() } else { format!("{toml}\n[cache]\nstore = 'none'\n") };
        let config = setup.file("doctor.toml", &toml);
        let listen = closed_port().to_string();
        let arguments = [&["--config", &config, "--listen", &listen, "doctor"], more].concat();
        let output = setup.run(&arguments).await;
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        Self { status: output.status.code(), text }
    }

    /// That there is exactly one error, of this subject, with these words and this cure.
    fn is_one_error(&self, subject: &str, what: &str, next: &str) {
        let errors: Vec<&str> = self.text.lines().filter(|line| line.starts_with("ERROR")).collect();
        assert_eq!((errors.len(), self.status), (1, Some(1)), "{subject} {what}: {}", self.text);
        assert!(errors[0].contains(subject) && errors[0].contains(what), "{subject} {what}: {}", errors[0]);
        let cure = self.text.lines().skip_while(|line| !line.starts_with("ERROR")).nth(1).unwrap();
        assert!(cure.contains("next: ") && cure.contains(next), "{next}: {cure}");
    }
}

/// Answers everything with this.
async fn answering(status: &'static str, headers: String) -> Upstream {
    Upstream::start(move |_, exchange: Exchange| {
        let headers = headers.clone();
        async move { exchange.answer(status, &headers, b"{}").await }
    })
    .await
}

async fn good() -> Upstream {
    answering("200 OK", String::new()).await
}

/// Answers 401 and names this token server.
async fn with_tokens_at(realm: &str) -> Upstream {
    answering("401 Unauthorized", format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\n")).await
}

async fn with_certificate(identity: &Identity) -> Upstream {
    let script = |_: Request, exchange: Exchange| async move { exchange.answer("200 OK", "", b"{}").await };
    Upstream::start_tls(server_config(identity), script).await
}

fn over_tls(address: SocketAddr, more: &str) -> String {
    format!("[[upstream]]\nname = 'up.test'\nurls = ['https://{address}']\ndefault = true\n{more}\n")
}

#[tokio::test]
async fn nothing_is_wrong_where_nothing_is_and_each_step_has_its_milliseconds() {
    let tokens = good().await;
    let upstream = with_tokens_at(&format!("http://{}/token", tokens.address)).await;
    let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &[]).await;
    assert_eq!(report.status, Some(0), "{}", report.text);
    let line = report.text.lines().find(|line| line.contains("upstream up.test")).unwrap();
    for part in ["ok ", "directly", "DNS ", "TCP ", "/v2/ ", "(401)", "token server", " ms"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(tokens.seen()[0].path.starts_with("/token?service=s"), "{}", tokens.seen()[0].path);
}

#[tokio::test]
async fn a_registry_that_is_not_reached_is_named_with_the_reason_and_the_cure() {
    let authority = Authority::new();
    let subject = "upstream up.test";
    // A port where nobody listens.
    let report = Report::of(&Setup::new(), &one_upstream("", closed_port(), ""), &[]).await;
    report.is_one_error(subject, "the connection is refused", "check the port");
    // A name that nobody resolves.
    let toml = "[[upstream]]\nname = 'up.test'\nurls = ['https://registry.invalid']\n";
    Report::of(&Setup::new(), toml, &[]).await.is_one_error(subject, "not resolved", "/etc/resolv.conf");
    // Something that accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = "[timeouts]\nconnect = '300ms'\n";
    let toml = format!("{}{keys}", over_tls(silent.local_addr().unwrap(), ""));
    Report::of(&Setup::new(), &toml, &[]).await.is_one_error(
        subject,
        "no answer in time",
        "a firewall may drop it",
    );
    // Plain http where TLS is expected.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let mut greeting = [0; 4096];
        let _ = stream.read(&mut greeting).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let report = Report::of(&Setup::new(), &over_tls(address, ""), &[]).await;
    answering.await.unwrap();
    report.is_one_error(subject, "does not speak TLS", "insecure = true");
    // Certificates.
    let setup = Setup::new();
    let ca = format!("ca_file = '{}'", setup.file("ca.pem", &authority.pem()));
    for (identity, more, what, next) in [
        (authority.issue_until(2021), ca.as_str(), "has expired", "must be renewed"),
        (authority.issue(), "", "authority that is not trusted", "upstream.ca_file"),
        (authority.issue_for("other.test"), ca.as_str(), "is for another name", "use the name"),
    ] {
        let server = with_certificate(&identity).await;
        Report::of(&setup, &over_tls(server.address, more), &[]).await.is_one_error(subject, what, next);
    }
    let server = with_certificate(&authority.issue()).await;
    let report = Report::of(&setup, &over_tls(server.address, &ca), &[]).await;
    assert_eq!(report.status, Some(0), "{}", report.text);
    assert!(report.text.contains("TLS "), "{}", report.text);
    // The proxy on the way out.
    let (refusing, _) = refusing_proxy("403 Forbidden").await;
    let more = format!("proxy = 'http://{refusing}'");
    let report = Report::of(&setup, &over_tls(server.address, &format!("{ca}\n{more}")), &[]).await;
    report.is_one_error(subject, "the proxy on the way out", "HTTPS_PROXY");
}

#[tokio::test]
async fn what_answers_and_is_no_working_registry_is_named() {
    let subject = "upstream up.test";
    for (status, headers, what, next) in [
        ("404 Not Found", "", "this is no registry", "check the address"),
        ("401 Unauthorized", "", "does not say which", "that of a registry"),
        ("403 Forbidden", "", "may not use it", "upstream.proxy"),
        ("503 Service Unavailable", "", "has trouble", "status page"),
        ("200 OK", "Date: Fri, 01 Jan 2021 00:00:00 GMT\r\n", "ahead of that of up.test", "timedatectl"),
    ] {
        let upstream = answering(status, headers.to_owned()).await;
        let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &[]).await;
        let subject = if headers.starts_with("Date") { "clock" } else { subject };
        report.is_one_error(subject, what, next);
    }
    // Its limit is over soon: no error.
    let limited = answering("429 Too Many Requests", String::new()).await;
    let report = Report::of(&Setup::new(), &one_upstream("", limited.address, ""), &[]).await;
    assert_eq!(report.status, Some(0), "{}", report.text);
    assert!(
        report.text.contains("rate limit is reached") && report.text.contains("password_file"),
        "{}",
        report.text
    );
}

#[tokio::test]
async fn a_token_server_or_storage_that_is_not_reached_is_named_by_its_host() {
    let subject = "upstream up.test";
    let blocked = closed_port();
    let upstream = with_tokens_at(&format!("http://{blocked}/token")).await;
    let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &[]).await;
    report.is_one_error(
        subject,
        &format!("its token server http://{blocked}: the connection is refused"),
        "firewall",
    );
    let upstream = with_tokens_at("https://tokens.invalid/token").await;
    let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &[]).await;
    report.is_one_error(
        subject,
        "its token server https://tokens.invalid: its name is not resolved",
        "resolv.conf",
    );
    let failing = answering("500 Internal Server Error", String::new()).await;
    let upstream = with_tokens_at(&format!("http://{}/token", failing.address)).await;
    let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &[]).await;
    report.is_one_error(subject, "answers 500", "nothing can be pulled");

    // Where the blobs lie.
    let upstream = Upstream::start(move |request: Request, exchange: Exchange| async move {
        let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let manifest =
            format!("{{\"schemaVersion\":2,\"config\":{{\"digest\":\"{config}\",\"size\":2}},\"layers\":[]}}");
        match request.path.as_str() {
            "/v2/acme/app/manifests/v1" => exchange.answer("200 OK", "", manifest.as_bytes()).await,
            path if path.contains("/blobs/") => {
                let location = format!("Location: http://{blocked}/blob\r\n");
                exchange.answer("307 Temporary Redirect", &location, b"").await
            }
            _ => exchange.answer("200 OK", "", b"{}").await,
        }
    })
    .await;
    let arguments = ["--image", "acme/app:v1"];
    // Wherever clients are sent, it is from here that the storage is looked for.
    for redirects in ["", "redirects = 'pass'", "redirects = 'rewrite'"] {
        let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, redirects), &arguments).await;
        let what = format!("its config, from http://{blocked}: 504");
        report.is_one_error("image acme/app:v1", &what, "allow the host");
    }
    let arguments = ["--image", "acme/app:v2"];
    let report = Report::of(&Setup::new(), &one_upstream("", upstream.address, ""), &arguments).await;
    assert_eq!(report.status, Some(1), "{}", report.text);
}

/// A registry with `library/hello-world:latest`, whose blobs are at this address.
async fn docker_hub(storage: SocketAddr) -> Upstream {
    Upstream::start(move |request: Request, exchange: Exchange| async move {
        let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let manifest =
            format!("{{\"schemaVersion\":2,\"config\":{{\"digest\":\"{config}\",\"size\":2}},\"layers\":[]}}");
        match request.path.as_str() {
            "/v2/library/hello-world/manifests/latest" => exchange.answer("200 OK", "", manifest.as_bytes()).await,
            path if path.contains("/blobs/") => {
                let location = format!("Location: http://{storage}/blob?signature=s3cret\r\n");
                exchange.answer("307 Temporary Redirect", &location, b"").await
            }
            path if path.contains("/manifests/") => exchange.answer("404 Not Found", "", b"{}").await,
            _ => exchange.answer("200 OK", "", b"{}").await,
        }
    })
    .await
}

#[tokio::test]
async fn where_the_blobs_are_is_looked_at_by_a_small_image_that_everybody_may_pull() {
    let named = |name: &str, address: SocketAddr| {
        format!("[[upstream]]\nname = '{name}'\nurls = ['http://{address}']\ninsecure = true\ndefault = true\n")
    };
    let (setup, storage, blocked) = (Setup::new(), good().await, closed_port());
    let upstream = docker_hub(storage.address).await;
    let report = Report::of(&setup, &named("docker.io", upstream.address), &[]).await;
    assert_eq!(report.status, Some(0), "{}", report.text);
    let seen = format!("its blobs (library/hello-world:latest) come from http://{} in ", storage.address);
    assert!(report.text.contains(&seen) && !report.text.contains("s3cret"), "{}", report.text);

    let unreached = docker_hub(blocked).await;
    let report = Report::of(&setup, &named("docker.io", unreached.address), &[]).await;
    report.is_one_error(
        "upstream docker.io",
        &format!("from http://{blocked}: 504"),
        "allow the host of the blobs",
    );
    assert!(!report.text.contains("s3cret"), "{}", report.text);

    // Nothing is wrong with a registry that does not have the image, or where none is known.
    for (name, what) in [
        ("quay.io", "prometheus/busybox:latest: its manifest: 404"),
        ("up.test", "no small public image is known"),
    ] {
        let report = Report::of(&setup, &named(name, upstream.address), &[]).await;
        assert_eq!(report.status, Some(0), "{}", report.text);
        let next = format!("registry-proxy doctor --image {name}/IMAGE");
        assert!(report.text.contains(what) && report.text.contains(&next), "{}", report.text);
    }
}

#[tokio::test]
async fn a_store_that_keeps_nothing_is_named_with_its_directory() {
    let upstream = good().await;
    let setup = Setup::new();
    let file = setup.file("a-file", "");
    let toml = |store: &str, more: &str| {
        one_upstream(&format!("[cache]\nstore = 'file://{store}'\n{more}"), upstream.address, "")
    };
    let report = Report::of(&setup, &toml(&format!("{file}/cache"), ""), &[]).await;
    report.is_one_error("cache.store", "a-file/cache cannot be written", "make it writable");
    let place = setup.path().join("cache").display().to_string();
    fs::create_dir(&place).unwrap();
    let report = Report::of(&setup, &toml(&place, "min_free = '9000TiB'"), &[]).await;
    report.is_one_error("cache.store", "no room", "cache.min_free");
    let report = Report::of(&setup, &toml(&place, "min_free = '1KiB'"), &[]).await;
    assert_eq!(report.status, Some(0), "{}", report.text);
    assert!(report.text.contains("written and synced in "), "{}", report.text);
    assert!(fs::symlink_metadata(setup.path().join("cache/.registry-proxy-doctor")).is_err());
}

#[tokio::test]
async fn a_link_in_the_cache_leads_doctor_to_no_other_file() {
    let upstream = good().await;
    let setup = Setup::new();
    let theirs = setup.file("theirs", "theirs");
    let cache = setup.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let probe = cache.join(".registry-proxy-doctor");
    std::os::unix::fs::symlink(&theirs, &probe).unwrap();
    let toml = one_upstream(
        &format!("[cache]\nstore = 'file://{}'\nmin_free = '1KiB'", cache.display()),
        upstream.address,
        "",
    );
    let report = Report::of(&setup, &toml, &[]).await;
    assert!(report.text.contains("written and synced in "), "{}", report.text);
    assert_eq!(fs::read_to_string(theirs).unwrap(), "theirs");
    assert!(fs::symlink_metadata(probe).is_err());
}

#[tokio::test]
async fn what_clients_see_is_looked_at_too() {
    let upstream = good().await;
    let setup = Setup::new();
    // The address that clients are told.
    let toml = one_upstream(&format!("public_url = 'http://{}'", closed_port()), upstream.address, "");
    Report::of(&setup, &toml, &[]).await.is_one_error("public_url", "the connection is refused", "check the port");
    // Our own certificate.
    let old = Authority::new().issue_until(2021);
    let (cert, key) = (setup.file("cert.pem", &old.certificate), setup.file("key.pem", &old.key));
    let toml =
        one_upstream("", upstream.address, "") + &format!("[tls]\ncert_file = '{cert}'\nkey_file = '{key}'\n");
    Report::of(&setup, &toml, &[]).await.is_one_error("tls.cert_file", "expired ", "renew it");
    // The server itself: it may not have been started yet.
    let report = Report::of(&setup, &one_upstream("", upstream.address, ""), &[]).await;
    assert_eq!(report.status, Some(0));
    assert!(report.text.contains("cannot connect") && report.text.contains("start it"), "{}", report.text);
}

#[tokio::test]
async fn a_client_that_goes_around_the_proxy_is_found() {
    let upstream = good().await;
    let setup = Setup::new();
    // A docker that pulls from somewhere else.
    let docker = setup.file("docker", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let product = setup.start(&one_upstream("", upstream.address, "")).await;
    let config = product.setup.path().join("proxy.toml").display().to_string();
    let listen = product.address.to_string();
    let arguments = ["--config", &config, "--listen", &listen, "doctor", "--client", "docker"];
    let around = product.setup.run(&arguments).await;
    let text = String::from_utf8(around.stdout).unwrap();
    assert_eq!(around.status.code(), Some(1), "{text}");
    assert!(
        text.contains("but not through this proxy") && text.contains("registry-proxy client docker --write"),
        "{text}"
    );
    // One that asks the proxy, and does not get it.
    let curl = format!("#!/bin/sh\nexec 3<>/dev/tcp/127.0.0.1/{}\n", product.address.port())
        .replace("/bin/sh", "/bin/bash");
    let ask = "printf 'GET /v2/library/hello-world/manifests/latest HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3\ncat <&3 >/dev/null\n";
    product.setup.file("docker", &format!("{curl}{ask}echo 'manifest unknown' >&2\nexit 1\n"));
    let asked = product.setup.run(&arguments).await;
    let text = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(1), "{text}");
    assert!(text.contains("asked this proxy for") && text.contains("manifest unknown"), "{text}");
    product.signal(Signal::TERM);
}

#[tokio::test]
async fn json_is_for_scripts_and_a_wrong_command_line_is_2() {
    let upstream = good().await;
    let setup = Setup::new();
    let report = Report::of(&setup, &one_upstream("", upstream.address, ""), &["--json"]).await;
    let findings: serde_json::Value = serde_json::from_str(&report.text).unwrap();
    let upstream_finding =
        findings.as_array().unwrap().iter().find(|one| one["subject"] == "upstream up.test").unwrap();
    assert_eq!(upstream_finding["severity"], "ok");
    let wrong = Report::of(&setup, &one_upstream("", upstream.address, ""), &["--upstream", "nowhere"]).await;
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.text.contains("expected one of up.test"), "{}", wrong.text);
    assert_eq!(
        Product::start(&one_upstream("", upstream.address, ""))
            .await
            .setup
            .run(&["--config", "/nowhere", "doctor"])
            .await
            .status
            .code(),
        Some(2)
    );
}
