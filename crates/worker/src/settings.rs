//! Builds the configuration from the Worker's variables, secrets and bindings, with the same keys as everywhere.

use std::io;

use registry_proxy_core::Config;
use registry_proxy_core::config::{Auth, ConfigError, Sources, StoreAddress};
use registry_proxy_core::platform::Profile;
use tracing::Level;
use wasm_bindgen::JsValue;

use crate::native;

/// Variable with the configuration's text, in place of a file.
const TEXT: &str = "REGISTRY_PROXY_CONFIG";
/// Variable with the platform's name. Nothing in Cloudflare's environment identifies it.
const PLATFORM: &str = "REGISTRY_PROXY_PLATFORM";

/// Loads and checks the configuration.
pub(crate) fn load(env: &JsValue) -> Result<Config, ConfigError> {
    let mut variables = native::pairs(&native::variables(env));
    if variables.iter().all(|(key, value)| key != PLATFORM || value.is_empty()) {
        variables.push((PLATFORM.to_owned(), Profile::CloudflareWorkers.name().to_owned()));
    }
    let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let text = find(TEXT);
    // There are no files: `signing_key_file = "SIGNING_KEY"` names a secret of the Worker.
    let read = |name: &str| find(name).ok_or_else(|| io::Error::other("no secret or variable has this name"));
    let config = Config::load(&Sources { text: text.as_deref(), variables: variables.clone(), read: &read })?;
    let wrong = |place: &str, what: &str| Err(ConfigError { place: place.to_owned(), what: what.to_owned() });
    if config.clients.auth == Auth::Users {
        return wrong(
            "clients.auth",
            "\"users\" does not work on Workers, whose CPU time is too short to check passwords; use \"open\" or \"upstream\"",
        );
    }
    if config.docker_config.is_some() {
        return wrong("docker_config", "there are no files on Workers; name a secret by upstream.password_file");
    }
    if let Some(index) = config.upstream.iter().position(|upstream| upstream.login.is_some()) {
        return wrong(
            &format!("upstream[{index}].login"),
            "Workers have no identity at these clouds; name a secret by upstream.password_file",
        );
    }
    match config.cache.store {
        StoreAddress::Auto | StoreAddress::None => {}
        StoreAddress::Memory | StoreAddress::File(_) | StoreAddress::Objects(_) => {
            return wrong("cache.store", "on Workers it is the R2 bucket bound as BLOBS, or \"none\"");
        }
    }
    Ok(config)
}

/// The log level.
pub(crate) fn level(config: &Config) -> Result<Level, ConfigError> {
    config.log.level.parse().map_err(|_| ConfigError {
        place: "log.level".to_owned(),
        what: "expected error, warn, info or debug".to_owned(),
    })
}
