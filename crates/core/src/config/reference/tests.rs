//! The reference against the structures, and the pages that are made from it.

use super::*;
use crate::config::{Bytes, Credential, EventsConfig, Sources, UpstreamConfig};

fn paths(prefix: &str, value: &toml::Value, into: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) if prefix != "upstream[].credentials" && prefix != "clients.issuer[].match" => {
            for (name, value) in table {
                paths(&if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") }, value, into);
            }
        }
        toml::Value::Array(entries) if DESCRIBED_LISTS.contains(&prefix) => {
            for entry in entries {
                paths(&format!("{prefix}[]"), entry, into);
            }
        }
        _ => into.push(prefix.to_owned()),
    }
}

#[test]
fn the_page_is_what_the_code_says() {
    let page = include_str!("../../../../../docs/reference/configuration.md");
    assert_eq!(page, markdown(), "write it anew with: cargo xtask docs");
}

#[test]
fn the_schema_is_what_the_code_says() {
    let schema = include_str!("../../../../../docs/reference/registry-proxy.schema.json");
    assert_eq!(schema, json_schema(), "write it anew with: cargo xtask docs");
}

#[test]
fn keys_come_in_the_order_of_their_fields_with_their_defaults() {
    let keys = keys();
    let first: Vec<_> = keys.iter().take(3).map(|key| (key.path.as_str(), key.default.as_str())).collect();
    assert_eq!(first, [("platform", "detected"), ("listen", "127.0.0.1:3000"), ("public_url", "from `Host`")]);
    for (path, default) in [
        ("trusted_proxies", "none"),
        ("proxy_protocol", "false"),
        ("cache.tag_ttl", "1m"),
        ("cache.fill.part_size", "4MiB"),
        ("limits.connections", "4096"),
        ("limits.connections_per_address", "a quarter of limits.connections, at least 64"),
        ("upstream[].name", "required"),
        ("upstream[].password", "none"),
        ("upstream[].redirects", "follow"),
    ] {
        let key = keys.iter().find(|key| key.path == path);
        assert_eq!(key.map(|key| key.default.as_str()), Some(default), "{path}");
    }
}

#[test]
fn every_key_is_described_and_every_description_has_its_key() {
    let text = Some("x".to_owned());
    let mut config = Config {
        signing_key_file: text.clone(),
        signing_key: Some(crate::secret::Secret::new("x")),
        docker_config: text.clone(),
        admin_socket: text.clone(),
        ..Config::default()
    };
    config.public_url = "https://p.example".parse().ok();
    config.clients.users_file = text.clone();
    config.clients.groups_file = text.clone();
    config.clients.path_secret_file = text.clone();
    config.clients.path_secret = Some(crate::secret::Secret::new("x"));
    (config.tls.cert_file, config.tls.key_file) = (text.clone(), text.clone());
    (config.metrics.listen, config.metrics.public) = (text.clone(), Some(true));
    config.page.listen.clone_from(&text);
    config.cache.max_unused = Some(crate::config::Span::seconds(1));
    (config.cache.max_size, config.cache.min_free) = (Some(Bytes(1)), Some(Bytes(1)));
    let quota = crate::config::Quota {
        requests_per_hour: Some(1),
        requests_per_day: Some(1),
        bytes_per_hour: Some(Bytes(1)),
        bytes_per_day: Some(Bytes(1)),
    };
    (config.quota.client, config.quota.total) = (quota, quota);
    let texts = vec!["a.test/**".to_owned()];
    config.access =
        vec![crate::config::AccessRule { who: "*".to_owned(), allow: texts.clone(), deny: texts, push: true }];
    config.events = vec![EventsConfig {
        url: toml::Value::from("https://h.example/x").try_into().ok(),
        key_file: text.clone(),
        key: Some(crate::secret::Secret::new("x")),
        ..EventsConfig::default()
    }];
    let issuer = r#"
        url = "https://a.test"
        audience = "b"
        match = { sub = "c" }
        name = "{sub}"
        allow = ["**"]
        jwks_file = "x"
    "#;
    config.clients.issuer = vec![toml::from_str(issuer).unwrap()];
    config.warm = vec![crate::config::WarmRule {
        images: vec!["a:1".to_owned()],
        every: Some(crate::config::Span::seconds(60)),
        at: text.clone(),
        time_zone: text.clone(),
        platforms: vec!["linux/amd64".to_owned()],
        newest: 1,
        keep: true,
    }];
    config.timer.token_file = text.clone();
    config.timer.token = Some(crate::secret::Secret::new("x"));
    config.upstream = vec![UpstreamConfig {
        username: text.clone(),
        password: Some(crate::secret::Secret::new("x")),
        password_file: text.clone(),
        credentials: vec![Credential {
            prefix: "a".into(),
            username: "u".into(),
            password: None,
            password_file: None,
        }],
        login: Some(crate::config::CloudLogin::Ecr),
        role_arn: text.clone(),
        audience: text.clone(),
        tenant: text.clone(),
        ca_file: text.clone(),
        client_cert_file: text.clone(),
        client_key_file: text.clone(),
        proxy: crate::config::Egress::parse("http://p"),
        docker_config: text,
        ..UpstreamConfig::default()
    }];
    let mut found = Vec::new();
    paths("", &toml::Value::try_from(&config).unwrap(), &mut found);
    found.sort();
    let keys = keys();
    let mut described: Vec<&str> = keys.iter().map(|key| key.path.as_str()).collect();
    described.sort_unstable();
    assert_eq!(found, described);
    let without_text: Vec<_> =
        keys.iter().filter(|key| key.meaning.is_empty() || key.default.is_empty()).collect();
    assert!(without_text.is_empty(), "say in the comment of the field what it does: {without_text:?}");
}

#[test]
fn the_annotated_file_can_be_read_and_has_every_key() {
    let text = include_str!("../../../../../docs/reference/every-key.toml");
    let read = |path: &str| {
        let is_key_of_events = path.ends_with("events.key");
        let text = if is_key_of_events {
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        } else if path.ends_with("/groups") {
            "ops: alice"
        } else {
            "what-every-secret-file-holds"
        };
        Ok(text.to_owned())
    };
    let loaded = Config::load(&Sources { text: Some(text), variables: vec![], read: &read });
    assert!(loaded.is_ok(), "{loaded:?}");

    let mut set = Vec::new();
    paths("", &toml::Value::Table(text.parse().unwrap()), &mut set);
    for key in keys() {
        // A secret beside the file that holds it would be refused.
        let name = key.path.rsplit('.').next().unwrap_or_default();
        let is_commented = text.lines().any(|line| line.starts_with(&format!("#{name} = ")));
        assert!(set.contains(&key.path) || is_commented, "{} is missing", key.path);
    }
}
