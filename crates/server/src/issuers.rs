//! The issuers of `[[clients.issuer]]`: connections to them, their key files, and what verifies their signatures.
//!
//! - `signatures`: verifies them, by `jsonwebtoken`

#[cfg(feature = "issuers")]
mod signatures;

use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::TokenIssuers;

/// What the issuers need; `None`: there are none. Asks nobody.
#[cfg(feature = "issuers")]
pub(crate) fn load(config: &Config) -> Result<Option<TokenIssuers>, ConfigError> {
    use std::sync::Arc;

    if config.clients.issuer.is_empty() {
        return Ok(None);
    }
    let files = config
        .clients
        .issuer
        .iter()
        .enumerate()
        .map(|(i, issuer)| issuer.jwks_file.as_deref().map(|path| key_file(i, path)).transpose());
    Ok(Some(TokenIssuers {
        key_files: files.collect::<Result<_, _>>()?,
        transport: Arc::new(crate::transport::HyperTransport::new(&as_upstreams(config))?),
        signatures: Arc::new(signatures::Signatures),
    }))
}

#[cfg(feature = "issuers")]
fn key_file(i: usize, path: &str) -> Result<registry_proxy_core::jwks::KeySet, ConfigError> {
    let wrong = |what: String| ConfigError { place: format!("clients.issuer[{i}].jwks_file"), what };
    let text = crate::files::read(path).map_err(|error| wrong(format!("cannot read {path}: {error}")))?;
    registry_proxy_core::jwks::KeySet::parse(text.as_bytes()).map_err(|error| wrong(format!("{path}: {error}")))
}

/// As the transport takes where it sends to: with the same deadline for connecting, the same rules of the way out and the same
/// checks of certificates as a registry that the configuration names.
#[cfg(feature = "issuers")]
fn as_upstreams(config: &Config) -> Config {
    use registry_proxy_core::config::UpstreamConfig;

    let issuers = config.clients.issuer.iter().enumerate().map(|(i, issuer)| UpstreamConfig {
        name: format!("clients.issuer[{i}]"),
        urls: issuer.url.parse().into_iter().collect(),
        ..UpstreamConfig::default()
    });
    Config { upstream: issuers.collect(), timeouts: config.timeouts.clone(), ..Config::default() }
}

/// This build verifies no tokens of issuers, so nobody could log in by one.
#[cfg(not(feature = "issuers"))]
pub(crate) fn load(config: &Config) -> Result<Option<TokenIssuers>, ConfigError> {
    if config.clients.issuer.is_empty() {
        return Ok(None);
    }
    let what = "this build verifies no tokens of issuers: use a packaged one, or build with --features issuers";
    Err(ConfigError { place: "clients.issuer".to_owned(), what: what.to_owned() })
}
