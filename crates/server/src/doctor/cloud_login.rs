//! As whom the proxy logs in at a cloud's registry (`upstream.login`).

use registry_proxy_core::Config;

use super::finding::Finding;
use crate::cloud_logins::CloudLogins;

/// What the cloud says of the proxy's identity; `None` for an upstream without `login`.
pub(super) async fn finding(config: &Config, index: usize) -> Option<Finding> {
    let upstream = config.upstream.get(index).filter(|upstream| upstream.login.is_some())?;
    let subject = format!("upstream {}", upstream.name);
    let next =
        "docs/how-to/cloud-registries.md names the sources of an identity, and what its account must be allowed";
    let logins = match CloudLogins::new(config) {
        Ok(logins) => logins?,
        Err(error) => return Some(Finding::error(&subject, error.to_string(), next)),
    };
    Some(match logins.name(index).await? {
        Ok(name) => Finding::ok(&subject, format!("logs in as {name}")),
        Err(error) => Finding::error(&subject, format!("has no login: {error}"), next),
    })
}
