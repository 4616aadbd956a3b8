//! Logins that the cloud of an upstream issues (`upstream.login`), to what this process is there. When they are renewed is
//! decided by the core.

#[cfg(feature = "logins")]
mod acr;
#[cfg(feature = "logins")]
mod aws;
#[cfg(feature = "logins")]
mod client;
#[cfg(feature = "logins")]
mod destination;
#[cfg(feature = "logins")]
mod ecr;
#[cfg(feature = "logins")]
mod ecr_host;
#[cfg(feature = "logins")]
mod gar;
#[cfg(feature = "logins")]
mod issuer;
#[cfg(feature = "logins")]
mod oauth;

use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::LoginIssuer;

#[cfg(feature = "logins")]
pub(crate) use self::issuer::CloudLogins;

/// What issues the logins; `None` where no upstream needs it. Asks nobody.
#[cfg(feature = "logins")]
pub(crate) fn load(config: &Config) -> Result<Option<Arc<dyn LoginIssuer>>, ConfigError> {
    Ok(CloudLogins::new(config)?.map(|logins| Arc::new(logins) as Arc<dyn LoginIssuer>))
}

/// This build logs in to no cloud, so it could only be anonymous there.
#[cfg(not(feature = "logins"))]
pub(crate) fn load(config: &Config) -> Result<Option<Arc<dyn LoginIssuer>>, ConfigError> {
    match config.upstream.iter().position(|upstream| upstream.login.is_some()) {
        None => Ok(None),
        Some(index) => Err(ConfigError {
            place: format!("upstream[{index}].login"),
            what: "this build logs in to no cloud: use a packaged one, or build with --features logins".to_owned(),
        }),
    }
}
