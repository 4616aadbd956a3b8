//! Arguments, environment, `check`.

use std::process::Output;

use crate::fixture::{Client, Setup, closed_port};

const UPSTREAM: &str = "[[upstream]]\nname='x.test'\nurls=['https://x.test']\n";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one line with which a wrong configuration is refused. Below it may stand where in the file it is wrong.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
    let text = stderr(output);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    assert!(lines.all(|line| line.starts_with(' ')), "{text}");
    assert_eq!(stdout(output), "");
    line
}

#[tokio::test]
async fn a_wrong_line_of_the_file_is_shown_with_a_caret_and_the_key_that_was_meant() {
    let setup = Setup::new();
    let config = setup.file("proxy.toml", "[clients]\nauht = 'open'\n");
    let output = setup.run(&["--config", &config, "check"]).await;
    let text = stderr(&output);
    assert!(text.lines().next().unwrap().ends_with("did you mean `auth`?"), "{text}");
    assert!(text.ends_with(&format!("  --> {config}:2:1\n   |\n 2 | auht\n   | ^^^^\n")), "{text}");
    // In colours where they are wanted.
    let coloured = Setup::new().variable("CLICOLOR_FORCE", "1");
    let config = coloured.file("proxy.toml", "[clients]\nauht = 'open'\n");
    let output = coloured.run(&["--config", &config, "check"]).await;
    let text = stderr(&output);
    let expected = "\u{1b}[1;34m2 |\u{1b}[0m auht\n \u{1b}[1;34m  |\u{1b}[0m \u{1b}[1;31m^^^^\u{1b}[0m\n";
    assert!(text.ends_with(expected), "{text:?}");
    // Nothing of a line that may hold a secret.
    let config = setup.file("proxy.toml", "[[upstream]]\nname = 'x'\npassword = 8675309867530986\n");
    let output = setup.run(&["--config", &config, "check"]).await;
    let text = stderr(&output);
    assert!(text.contains(&format!("--> {config}:3:")) && !text.contains("8675309867530986"), "{text}");
}

#[tokio::test]
async fn a_command_that_is_mistyped_is_named() {
    let output = Setup::new().run(&["chekc"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'check'"), "{}", stderr(&output));
}

#[tokio::test]
async fn check_prints_what_is_in_force_masks_secrets_and_warns() {
    let setup = Setup::new();
    let password = setup.file("password", "file-password-42\n");
    let text = format!(
        "listen = '0.0.0.0:3000'\n{UPSTREAM}username='robot'\npassword='plain-password-41'\n\
         [[upstream]]\nname='y.test'\nurls=['http://y.test']\ninsecure=true\nusername='u'\npassword_file='{password}'\n"
    );
    let config = setup.file("proxy.toml", &text);
    let output = setup.run(&["--config", &config, "check"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (toml, warnings) = (stdout(&output), stderr(&output));
    assert!(toml.contains("listen = \"0.0.0.0:3000\"") && toml.contains("name = \"x.test\""), "{toml}");
    assert!(toml.contains("first_byte = \"10s\""), "defaults are shown: {toml}");
    for secret in ["plain-password-41", "file-password-42"] {
        assert!(!toml.contains(secret) && !warnings.contains(secret), "{toml}{warnings}");
    }
    for key in ["clients.auth", "upstream[0].username", "upstream[1].insecure"] {
        assert!(warnings.lines().any(|line| line.contains("warning") && line.contains(key)), "{key}: {warnings}");
    }
}

#[cfg(not(feature = "logins"))]
#[tokio::test]
async fn a_build_that_logs_in_to_no_cloud_says_so() {
    let setup = Setup::new();
    let config = setup.file("proxy.toml", &format!("{UPSTREAM}login='gar'\n"));
    let line = refusal(&setup.run(&["--config", &config, "check"]).await);
    assert!(line.contains("upstream[0].login: this build logs in to no cloud"), "{line}");
}

#[cfg(not(feature = "logins"))]
#[tokio::test]
async fn a_build_without_logins_says_so() {
    for words in [&["credential-provider"][..], &["login", "proxy.test"], &["logout", "proxy.test"]] {
        let output = Setup::new().run(words).await;
        assert!(refusal(&output).contains("this build has no logins"), "{}", stderr(&output));
    }
}

#[cfg(not(feature = "issuers"))]
#[tokio::test]
async fn a_build_that_verifies_no_tokens_of_issuers_says_so() {
    let setup = Setup::new();
    let issuer = "[clients]\nauth='users'\n[[clients.issuer]]\nurl='https://i.test'\naudience='a'\nmatch={sub='x'}\nallow=['**']\n";
    let config = setup.file("proxy.toml", &format!("{issuer}{UPSTREAM}"));
    let line = refusal(&setup.run(&["--config", &config, "check"]).await);
    assert!(line.contains("clients.issuer: this build verifies no tokens of issuers"), "{line}");
}

#[tokio::test]
async fn check_as_json_says_what_differs_and_what_became_of_auto() {
    let setup = Setup::new();
    let text = format!("{UPSTREAM}username='robot'\npassword='plain-password-41'\n[timeouts]\nconnect='4s'\n");
    let config = setup.file("proxy.toml", &text);
    let cache = setup.path().join("cache").display().to_string();
    let setup = setup.variable("CACHE_DIRECTORY", &cache);
    let read = |output: Output| -> serde_json::Value {
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        assert!(!stdout(&output).contains("plain-password-41"));
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let found = read(setup.run(&["--config", &config, "check", "--json"]).await);
    let upstream = &found["configuration"]["upstream"][0];
    assert_eq!((&upstream["name"], &upstream["username"]), (&"x.test".into(), &"robot".into()));
    assert!(upstream["insecure"].is_null() && found["configuration"]["limits"].is_null(), "{found:#}");
    assert_eq!(found["configuration"]["timeouts"], serde_json::json!({ "connect": "4s" }));
    assert_eq!(found["auto"]["cache.store"], format!("file://{cache}"));
    assert!(!std::path::Path::new(&cache).exists(), "check creates nothing");
    let warnings = found["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|text| text.as_str().unwrap().contains("upstream[0].username")), "{warnings:?}");
    let all = read(setup.run(&["--config", &config, "check", "--json", "--all"]).await);
    assert_eq!(all["configuration"]["timeouts"]["first_byte"], "10s");
    // It would mean nothing there.
    let output = setup.run(&["--config", &config, "check", "--all"]).await;
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--json"), "{}", stderr(&output));
}

#[tokio::test]
async fn check_without_anything_is_quiet_and_names_the_catalogue() {
    let output = Setup::new().run(&["check"]).await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(stdout(&output).contains("name = \"docker.io\""));
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_one_line_that_names_the_key() {
    for (text, key) in [
        ("[timeouts]\nidle = 'soon'", "timeouts.idle"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ("[clients]\nauth = 'nobody'", "clients.auth"),
        ("[client]\nauth = 'open'", "client"),
        ("listen = 'here'", "listen"),
        ("[[upstream]]\nname='x.test'", "upstream[0].urls"),
        ("[tls]\ncert_file='/nowhere/c'\nkey_file='/nowhere/k'", "tls.cert_file"),
        ("[clients]\nauth='users'\nusers_file='/nowhere/u'", "clients.users_file"),
        ("this is no TOML", "line 1"),
    ] {
        let setup = Setup::new();
        let config = setup.file("proxy.toml", text);
        for command in ["check", "serve"] {
            let line = refusal(&setup.run(&["--config", &config, "--listen", "127.0.0.1:0", command]).await);
            assert!(line.contains(key), "{command}: {text:?}: {line}");
        }
    }
    let line = refusal(&Setup::new().run(&["--config", "/nowhere/proxy.toml"]).await);
    assert!(line.contains("--config /nowhere/proxy.toml"), "{line}");
}

/// `check` would be of little use if serving could still stumble.
#[tokio::test]
async fn check_finds_what_serving_would_stumble_over() {
    for (text, key) in [
        ("docker_config='/nowhere/config.json'", " docker_config: "),
        (
            "[[upstream]]\nname='ghcr.io'\n[[upstream]]\nname='quay.io'\nca_file='/nowhere/ca'",
            "upstream[1].ca_file",
        ),
        (
            "[[upstream]]\nname='ghcr.io'\nclient_cert_file='/nowhere/c'\nclient_key_file='/nowhere/k'",
            "upstream[0].client_cert_file",
        ),
        (
            "[[upstream]]\nname='ghcr.io'\n[[upstream]]\nname='quay.io'\ndocker_config='/nowhere/config.json'",
            "upstream[1].docker_config",
        ),
        ("[log]\nlevel='info,=,'", "log.level"),
        ("[metrics]\nlisten='nowhere'", "metrics.listen"),
    ] {
        let setup = Setup::new();
        let config = setup.file("proxy.toml", text);
        for command in ["serve", "check"] {
            let line = refusal(&setup.run(&["--config", &config, "--listen", "127.0.0.1:0", command]).await);
            assert!(line.contains(key), "{command}: {text:?}: {line}");
        }
    }
}

/// What a rule of `[[warm]]` with these lines is refused for, by `serve` and `check`, on a machine without time zones.
async fn warm_refusal(lines: &str) -> String {
    let setup = Setup::new().variable("TZDIR", "/nowhere/zoneinfo");
    let config = setup.file("proxy.toml", &format!("[[warm]]\nimages=['alpine:3.20']\n{lines}"));
    let run =
        async |command| refusal(&setup.run(&["--config", &config, "--listen", "127.0.0.1:0", command]).await);
    let (served, checked) = (run("serve").await, run("check").await);
    assert_eq!(served, checked);
    served
}

#[cfg(feature = "cron")]
#[tokio::test]
async fn a_timetable_that_cannot_be_kept_is_refused_at_the_start_and_by_check() {
    for (lines, expected) in [
        (
            "at='0 7 * * 1-5'\ntime_zone='Asia/Shanghai'",
            "warm[0].time_zone: this machine has no time zone database at /nowhere/zoneinfo, so Asia/Shanghai is not known",
        ),
        ("at='0 7 * * 8'", "warm[0].at: "),
        ("at='0 0 30 2 *'\ntime_zone='+08:00'", "warm[0].at: 0 0 30 2 * never comes"),
        ("at='0 7 * * *'\nevery='6h'", "warm[0].at: "),
    ] {
        let line = warm_refusal(lines).await;
        assert!(line.contains(expected), "{lines}: {line}");
    }
    let setup = Setup::new().variable("TZDIR", "/nowhere/zoneinfo");
    let config =
        setup.file("proxy.toml", "[[warm]]\nimages=['alpine:3.20']\nat='0 7 * * 1-5'\ntime_zone='+08:00'");
    let checked = setup.run(&["--config", &config, "check"]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[cfg(not(feature = "cron"))]
#[tokio::test]
async fn a_build_without_a_calendar_refuses_a_rule_that_needs_it() {
    let line = warm_refusal("at='0 7 * * 1-5'").await;
    assert!(line.contains("warm[0].at: this build has no calendar"), "{line}");
}

#[tokio::test]
async fn a_wrong_variable_ends_with_2_and_one_line_that_names_it_its_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("PORT", "abc", "1 to 65535"),
        ("PROXY_REDIRECT", "maybe", "true or false"),
        ("REGISTRY_BACKEND", "ftp://x", "https://"),
        ("REGISTRY_PROXY_CLIENTS__AUTH", "nobody", "`open`, `users`, `upstream`"),
        ("REGISTRY_PROXY_TIMEOUTS__IDLE", "soon", "3s"),
    ] {
        let line = refusal(&Setup::new().variable(name, value).run(&[]).await);
        assert!(line.contains(&format!("{name}={value}")) && line.contains(allowed), "{line}");
    }
}

#[tokio::test]
async fn a_secret_in_a_wrong_variable_is_not_repeated_and_the_file_is_not_blamed() {
    for (name, value) in [
        ("REGISTRY_PROXY_UPSTREAM", "[{name='x.test',username='u',password='hunter2'}"),
        ("REGISTRY_PROXY_CLIENTS__PATHSECRET", "hunter2"),
    ] {
        let setup = Setup::new().variable(name, value);
        let config = setup.file("proxy.toml", "");
        let line = refusal(&setup.run(&["--config", &config]).await);
        assert!(line.contains(&format!(" {name}: ")) && !line.contains(&config), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_wrong_listen_argument_ends_with_2() {
    for listen in ["nowhere", "127.0.0.1", ":3000", "127.0.0.1:70000"] {
        let line = refusal(&Setup::new().run(&["--listen", listen]).await);
        assert!(line.contains(&format!("--listen {listen}")), "{line}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_ends_with_1_and_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Setup::new().run(&["--listen", &address]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on {address}")), "{}", stderr(&output));
}

#[tokio::test]
async fn help_shows_how_to_begin() {
    let output = Setup::new().run(&["--help"]).await;
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for part in
        ["docker pull 127.0.0.1:3000/alpine", "REGISTRY_BACKEND=", "check", "--config", "--listen", "SIGHUP"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let output = Setup::new().run(&["--version"]).await;
    let version = stdout(&output);
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    assert!(version.starts_with(concat!("registry-proxy ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    assert!(version.contains(&target), "{version}");
    assert_eq!(Setup::new().run(&["--nonsense"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn the_argument_beats_the_variable_and_the_variable_the_file() {
    let listen = |output: &Output| {
        let text = stdout(output);
        text.lines().find(|line| line.starts_with("listen")).unwrap_or_default().to_owned()
    };
    let setup = Setup::new().variable("PORT", "3001");
    let config = setup.file("proxy.toml", &format!("listen = '127.0.0.1:3002'\n{UPSTREAM}"));
    let output = setup.run(&["--config", &config, "--listen", "127.0.0.1:3003", "check"]).await;
    assert_eq!(listen(&output), "listen = \"127.0.0.1:3003\"");
    let output = setup.run(&["--config", &config, "check"]).await;
    assert_eq!(listen(&output), "listen = \"0.0.0.0:3001\"");
    let without = Setup::new();
    let config = without.file("proxy.toml", &format!("listen = '127.0.0.1:3002'\n{UPSTREAM}"));
    let output = without.run(&["--config", &config, "check"]).await;
    assert_eq!(listen(&output), "listen = \"127.0.0.1:3002\"");
    let output = without.variable("REGISTRY_PROXY_CONFIG", &config).run(&["check"]).await;
    assert_eq!(listen(&output), "listen = \"127.0.0.1:3002\"");
}

#[tokio::test]
async fn the_argument_is_where_it_listens() {
    let port = closed_port().port().to_string();
    let product = Setup::new().variable("PORT", &port).start(UPSTREAM).await;
    assert_ne!(product.address.port().to_string(), port);
    assert_eq!(Client::connect(product.address).await.get("/healthz").await.0.status, 200);
}
