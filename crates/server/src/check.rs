//! `registry-proxy check`: prints the effective configuration and warns of what is wrong with it.

use std::process::ExitCode;

use clap::Args;
use registry_proxy_core::Config;
use registry_proxy_core::config::{Sources, StoreAddress, UpstreamConfig};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::credentials::DockerCredentials;
use crate::terminal::{WRONG_USAGE, complain, print};
use crate::{cloud_logins, issuers, signature_keys, store, timetables};

/// Arguments of `registry-proxy check`.
#[derive(Args)]
pub(crate) struct CheckArguments {
    /// Print JSON: what differs from the defaults, what `auto` became, and the warnings.
    #[arg(long)]
    json: bool,

    /// With --json: every key, defaults included.
    #[arg(long, requires = "json")]
    all: bool,
}

/// Warnings go to standard error, the configuration to standard output; as JSON both to standard output.
pub(crate) fn run(arguments: &CheckArguments, config: &Config) -> ExitCode {
    let loaded = signature_keys::load(config).map(|_| ());
    let loaded = loaded.and_then(|()| cloud_logins::load(config).map(|_| ()));
    let loaded = loaded.and_then(|()| issuers::load(config).map(|_| ()));
    if let Err(error) = loaded.and_then(|()| timetables::load(config).map(|_| ())) {
        complain(&error);
        return ExitCode::from(WRONG_USAGE);
    }
    let warnings = warnings(config);
    if arguments.json {
        return print(&format!("{:#}\n", as_json(config, &warnings, arguments.all)));
    }
    for warning in &warnings {
        complain(&format_args!("warning: {warning}"));
    }
    // What stands there was read when the configuration was: this says what of it counts.
    if let Ok(Some(credentials)) = DockerCredentials::load(config) {
        for line in credentials.found(config) {
            complain(&line);
        }
    }
    print(&config.to_toml())
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    warnings.extend(store::automatic_error(&config.cache).map(|error| error.to_string()));
    warnings.extend(store::warnings(&config.cache).map(|what| format!("cache.store: {what}")));
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        warnings.extend(runtime.block_on(store::check(config)).map(|what| format!("cache.store: {what}")));
        // Do not wait for name lookups that still run.
        runtime.shutdown_background();
    }
    warnings
}

/// The report for scripts.
fn as_json(config: &Config, warnings: &[String], is_all: bool) -> Value {
    let effective = table(config);
    let configuration = if is_all { effective } else { changed(effective, &usual()) };
    let mut auto = Map::new();
    if config.cache.store == StoreAddress::Auto {
        let place = store::automatic_place()
            .map_or_else(|| "none".to_owned(), |place| format!("file://{}", place.display()));
        auto.insert("cache.store".to_owned(), place.into());
    }
    for (key, is_unset, value) in [
        ("cache.max_size", config.cache.max_size.is_none(), table(&config.cache.max_size())),
        ("cache.min_free", config.cache.min_free.is_none(), table(&config.cache.min_free())),
    ] {
        if is_unset {
            auto.insert(key.to_owned(), value);
        }
    }
    json!({ "configuration": configuration, "auto": auto, "warnings": warnings })
}

/// As it is without anything being set.
fn usual() -> Value {
    let read = |_: &str| -> std::io::Result<String> { Err(std::io::ErrorKind::NotFound.into()) };
    let nothing = Sources { text: None, variables: Vec::new(), read: &read };
    table(&Config::load(&nothing).unwrap_or_default())
}

/// Secrets are masked where the configuration is serialised.
fn table(what: &impl Serialize) -> Value {
    serde_json::to_value(what).unwrap_or_default()
}

/// What of a value differs from the usual one, key by key. An upstream that differs keeps its name.
fn changed(value: Value, usual: &Value) -> Value {
    let (Value::Object(fields), Value::Object(usual)) = (value, usual) else { return Value::Null };
    let mut different = Map::new();
    for (key, value) in fields {
        let before = usual.get(&key).unwrap_or(&Value::Null);
        if value == *before {
            continue;
        }
        let value = match value {
            Value::Object(_) if before.is_object() => changed(value, before),
            Value::Array(upstreams) if key == "upstream" => upstreams.into_iter().map(upstream).collect(),
            other => other,
        };
        different.insert(key, value);
    }
    Value::Object(different)
}

fn upstream(upstream: Value) -> Value {
    let name = upstream["name"].clone();
    let mut different = changed(upstream, &table(&UpstreamConfig::default()));
    different["name"] = name;
    different
}
