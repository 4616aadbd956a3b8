//! The keys of `[[policy]]`, read from their files.

#[cfg(feature = "policy")]
mod public_key;

use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::SignatureKey;

/// Reads the keys, in the order of the rules.
#[cfg(feature = "policy")]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Arc<dyn SignatureKey>>>, ConfigError> {
    let read = |(i, rule): (usize, &registry_proxy_core::config::PolicyRule)| {
        let Some(require) = &rule.require else { return Ok(None) };
        let path = &require.key_file;
        let wrong = |what: String| ConfigError { place: format!("policy[{i}].require.key_file"), what };
        let text = crate::files::read(path).map_err(|error| wrong(format!("cannot read {path}: {error}")))?;
        let key = public_key::PublicKey::parse(&text).map_err(|error| wrong(format!("{path}: {error}")))?;
        Ok(Some(Arc::new(key) as Arc<dyn SignatureKey>))
    };
    config.policy.iter().enumerate().map(read).collect()
}

/// This build verifies no signatures and asks no services, so a policy would promise what nobody does.
#[cfg(not(feature = "policy"))]
pub(crate) fn load(config: &Config) -> Result<Vec<Option<Arc<dyn SignatureKey>>>, ConfigError> {
    if config.policy.is_empty() {
        return Ok(Vec::new());
    }
    let what = "this build has no policies: use a packaged one, or build with --features policy";
    Err(ConfigError { place: "policy".to_owned(), what: what.to_owned() })
}
