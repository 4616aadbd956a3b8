//! `docker_config`: what Docker has stored, and what its helpers know.

use std::os::unix::fs::PermissionsExt as _;

use crate::fixture::{Client, Exchange, Request, Setup, Upstream, basic, blob_path, content, one_upstream};

const LENGTH: usize = 5000;

/// Behind HTTP Basic.
async fn protected(username: &str, password: &str) -> Upstream {
    let login = basic(username, password);
    Upstream::start(move |request: Request, exchange: Exchange| {
        let login = login.clone();
        async move {
            if request.get("authorization") == Some(login.as_str()) {
                return exchange.blob(&request, &content(LENGTH)).await;
            }
            exchange.answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"inside\"\r\n", b"{}").await
        }
    })
    .await
}

/// `docker-credential-test`, which knows one server and notes that it was asked.
fn helper(setup: &Setup, server: &str, username: &str, secret: &str) {
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server\" >> {}/asked\n\
         if [ \"$1 $server\" != 'get {server}' ]; then echo 'credentials not found in native keychain'; exit 1; fi\n\
         echo '{{\"ServerURL\":\"{server}\",\"Username\":\"{username}\",\"Secret\":\"{secret}\"}}'\n",
        setup.path().display()
    );
    let path = setup.file("docker-credential-test", &script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn blob_status(setup: Setup, toml: &str) -> u16 {
    let product = setup.start(toml).await;
    let mut client = Client::connect(product.address).await;
    client.get(&blob_path()).await.0.status
}

#[tokio::test]
async fn a_stored_login_reaches_the_upstream() {
    let upstream = protected("alice", "stored-password").await;
    let setup = Setup::new();
    let stored = basic("alice", "stored-password").replace("Basic ", "");
    let file = setup.file("config.json", &format!(r#"{{"auths":{{"up.test":{{"auth":"{stored}"}}}}}}"#));
    let toml = one_upstream(&format!("docker_config = '{file}'"), upstream.address, "");
    assert_eq!(blob_status(setup, &toml).await, 200);
}

/// `docker login registry.corp:5000` stores that host, whatever the upstream is called here.
#[tokio::test]
async fn a_login_stored_for_an_upstreams_address_reaches_it_whatever_its_name() {
    let upstream = protected("alice", "stored-password").await;
    let setup = Setup::new();
    let stored = basic("alice", "stored-password").replace("Basic ", "");
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"{stored}"}}}}}}"#, upstream.address);
    let file = setup.file("config.json", &config);
    let toml = one_upstream(&format!("docker_config = '{file}'"), upstream.address, "");
    assert_eq!(blob_status(setup, &toml).await, 200);
}

#[tokio::test]
async fn check_names_what_a_docker_configuration_has_for_an_upstream() {
    let setup = Setup::new();
    let stored = basic("alice", "stored-password").replace("Basic ", "");
    let config = format!(
        r#"{{"auths":{{"https://up.test/v1/":{{"auth":"{stored}"}},"else.test/r":{{"auth":"{stored}"}}}}}}"#
    );
    let file = setup.file("config.json", &config);
    for (name, expected) in [
        ("up.test", "up.test: docker_config has a login of alice under https://up.test/v1/"),
        ("nobody.test", "nobody.test: docker_config has no login for nobody.test or registry.test:5000"),
    ] {
        let toml = format!(
            "[[upstream]]\nname='{name}'\nurls=['https://registry.test:5000']\ndefault=true\ndocker_config='{file}'"
        );
        let path = setup.file("proxy.toml", &toml);
        let output = setup.run(&["--config", &path, "check"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(expected) && !said.contains("stored-password"), "{said}");
    }
}

#[tokio::test]
async fn a_login_stored_for_a_path_of_the_host_reaches_the_repositories_below_it() {
    let upstream = protected("alice", "stored-password").await;
    let setup = Setup::new();
    let login = |name: &str, password: &str| basic(name, password).replace("Basic ", "");
    let (right, wrong) = (login("alice", "stored-password"), login("bob", "another"));
    let config = format!(
        r#"{{"auths":{{"http://{0}/":{{"auth":"{wrong}"}},"{0}/ac":{{"auth":"{wrong}"}},"{0}/acme":{{"auth":"{right}"}}}}}}"#,
        upstream.address
    );
    let file = setup.file("config.json", &config);
    let toml = one_upstream(&format!("docker_config = '{file}'"), upstream.address, "");
    assert_eq!(blob_status(setup, &toml).await, 200);
}

#[tokio::test]
async fn without_the_login_the_upstream_refuses() {
    let upstream = protected("alice", "stored-password").await;
    let toml = one_upstream("", upstream.address, "");
    assert_eq!(blob_status(Setup::new(), &toml).await, 403);
}

#[tokio::test]
async fn a_credential_helper_is_asked_once_and_its_login_reaches_the_upstream() {
    let upstream = protected("bob", "helped-password").await;
    let setup = Setup::new();
    helper(&setup, "up.test", "bob", "helped-password");
    let file = setup.file("config.json", r#"{"credHelpers":{"up.test":"test"}}"#);
    let toml = one_upstream("", upstream.address, &format!("docker_config = '{file}'"));
    let product = setup.start(&toml).await;
    let mut client = Client::connect(product.address).await;
    for _ in 0..3 {
        assert_eq!(client.get(&blob_path()).await.0.status, 200, "{}", product.log());
    }
    let asked = std::fs::read_to_string(product.setup.path().join("asked")).unwrap();
    assert_eq!(asked, "get up.test\n");
    assert!(!product.log().contains("helped-password"));
}

#[tokio::test]
async fn fifty_who_ask_at_once_run_one_helper() {
    let upstream = protected("bob", "helped-password").await;
    let setup = Setup::new();
    helper(&setup, "up.test", "bob", "helped-password");
    let file = setup.file("config.json", r#"{"credHelpers":{"up.test":"test"}}"#);
    let toml = one_upstream("", upstream.address, &format!("docker_config = '{file}'"));
    let product = setup.start(&toml).await;
    let asking = (0..50).map(|_| async {
        let mut client = Client::connect(product.address).await;
        client.get(&blob_path()).await.0.status
    });
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}: {}", product.log());
    let asked = std::fs::read_to_string(product.setup.path().join("asked")).unwrap();
    assert_eq!(asked, "get up.test\n");
}

#[tokio::test]
async fn a_credential_store_is_asked_for_what_has_no_helper_of_its_own() {
    let upstream = protected("bob", "helped-password").await;
    let setup = Setup::new();
    helper(&setup, "up.test", "bob", "helped-password");
    let file = setup.file("config.json", r#"{"auths":{},"credsStore":"test"}"#);
    let toml = one_upstream(&format!("docker_config = '{file}'"), upstream.address, "");
    assert_eq!(blob_status(setup, &toml).await, 200);
}

#[tokio::test]
async fn a_helper_that_knows_nothing_or_is_not_there_leaves_the_upstream_anonymous() {
    let upstream = Upstream::of_blob(content(LENGTH)).await;
    for name in ["test", "missing"] {
        let setup = Setup::new();
        helper(&setup, "elsewhere.test", "bob", "helped-password");
        let file = setup.file("config.json", &format!(r#"{{"credsStore":"{name}"}}"#));
        let toml = one_upstream(&format!("docker_config = '{file}'"), upstream.address, "");
        assert_eq!(blob_status(setup, &toml).await, 200, "{name}");
    }
}

#[tokio::test]
async fn a_login_stored_for_one_address_of_an_upstream_goes_to_no_other() {
    // The first is in trouble, so both are asked.
    let first = Upstream::start(|request: Request, exchange: Exchange| async move {
        if request.get("authorization").is_some() {
            return exchange.answer("500 Internal Server Error", "", b"{}").await;
        }
        exchange.answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"inside\"\r\n", b"{}").await
    })
    .await;
    let second = protected("bob", "second-password").await;
    let setup = Setup::new();
    let stored = |username: &str, password: &str| basic(username, password).replace("Basic ", "");
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"{}"}},"{}":{{"auth":"{}"}}}}}}"#,
        first.address,
        stored("alice", "first-password"),
        second.address,
        stored("bob", "second-password"),
    );
    let file = setup.file("config.json", &config);
    let toml = format!(
        "docker_config='{file}'\n[[upstream]]\nname='up.test'\nurls=['http://{}','http://{}']\ninsecure=true\n\
         default=true",
        first.address, second.address
    );
    assert_eq!(blob_status(setup, &toml).await, 200);
    let logins = |of: &Upstream| -> Vec<String> {
        of.seen().iter().filter_map(|request| request.get("authorization").map(str::to_owned)).collect()
    };
    assert_eq!(logins(&first), [basic("alice", "first-password")]);
    assert_eq!(logins(&second), [basic("bob", "second-password")]);
}
