//! The keys and trust roots of `[[policy]]`, read from their files.
//!
//! - `public_key`: a key; `trusted_root`: what verifies bundles of Sigstore; `ring_provider`: the crypto of that

#[cfg(feature = "policy")]
mod public_key;
#[cfg(feature = "policy")]
mod ring_provider;
#[cfg(feature = "policy")]
mod trusted_root;

#[cfg(feature = "policy")]
use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
#[cfg(feature = "policy")]
use registry_proxy_core::config::{PolicyRule, SignerSource};
use registry_proxy_core::platform::Signer;

/// Reads them, in the order of the rules.
#[cfg(feature = "policy")]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Signer>>, ConfigError> {
    config.policy.iter().enumerate().map(|(i, rule)| read(i, rule)).collect()
}

#[cfg(feature = "policy")]
fn read(i: usize, rule: &PolicyRule) -> Result<Option<Signer>, ConfigError> {
    let Some(require) = &rule.require else { return Ok(None) };
    let wrong = |key: &str, what: String| ConfigError { place: format!("policy[{i}].{key}"), what };
    let source = require.source().map_err(|(key, what)| wrong(key, what.to_owned()))?;
    let (key, path) = match source {
        SignerSource::Key { file } => ("require.key_file", file),
        SignerSource::Identity { trusted_root_file, .. } => ("require.trusted_root_file", trusted_root_file),
    };
    let text = crate::files::read(path).map_err(|error| wrong(key, format!("cannot read {path}: {error}")))?;
    let signer = match source {
        SignerSource::Key { .. } => public_key::PublicKey::parse(&text)
            .map(|key| Signer::Key(Arc::new(key)))
            .map_err(|error| error.to_string()),
        SignerSource::Identity { .. } => {
            trusted_root::TrustedBundles::parse(&text).map(|root| Signer::Identity(Arc::new(root)))
        }
    };
    signer.map(Some).map_err(|error| wrong(key, format!("{path}: {error}")))
}

/// This build verifies no signatures and asks no services, so a policy would promise what nobody does.
#[cfg(not(feature = "policy"))]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Signer>>, ConfigError> {
    if config.policy.is_empty() {
        return Ok(Vec::new());
    }
    let what = "this build has no policies: use a packaged one, or build with --features policy";
    Err(ConfigError { place: "policy".to_owned(), what: what.to_owned() })
}
