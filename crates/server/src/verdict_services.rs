//! The services of `[[policy]]` (`verdict_url`), as the transport takes where it sends to.

use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::platform::Transport;

use crate::transport::HyperTransport;

/// Connections to the services, in the order of the rules that have one; `None`: none has.
pub(crate) fn transport(config: &Config) -> Result<Option<Arc<dyn Transport>>, ConfigError> {
    let services = as_upstreams(config);
    if services.upstream.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(HyperTransport::new(&services)?)))
}

/// With the same deadline for connecting, the same rules of the way out and the same checks of certificates as a registry that the
/// configuration names.
fn as_upstreams(config: &Config) -> Config {
    let service = config.policy.iter().enumerate().filter_map(|(i, rule)| {
        let url = rule.verdict_url.as_ref()?.expose().clone();
        let name = format!("policy[{i}].verdict_url");
        Some(UpstreamConfig {
            name,
            urls: vec![url],
            insecure: rule.verdict_insecure,
            ..UpstreamConfig::default()
        })
    });
    Config { upstream: service.collect(), timeouts: config.timeouts.clone(), ..Config::default() }
}
