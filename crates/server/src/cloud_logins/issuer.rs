//! The logins of all upstreams with `login`, each by its cloud.

use async_trait::async_trait;
use registry_proxy_core::Config;
use registry_proxy_core::config::{CloudLogin, ConfigError, UpstreamConfig};
use registry_proxy_core::platform::{IssuedLogin, LoginIssuer, NotIssued};
use reqsign_core::Env as _;

use super::acr::AcrLogin;
use super::client::CloudClient;
use super::ecr::EcrLogin;
use super::ecr_host::{EcrHost, is_region};
use super::gar::GarLogin;
use crate::environment::Environment;

/// Issues logins; one entry for each upstream.
pub(crate) struct CloudLogins(Vec<Option<CloudRegistry>>);

/// How an upstream is logged in to.
enum CloudRegistry {
    Ecr(EcrLogin),
    Gar(GarLogin),
    Acr(AcrLogin),
}

impl CloudLogins {
    /// The logins that the configuration asks for; `None`: it asks for none.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        if config.upstream.iter().all(|upstream| upstream.login.is_none()) {
            return Ok(None);
        }
        let clients = CloudClient::for_each_upstream(config)?;
        let clouds = config.upstream.iter().zip(clients).enumerate().map(|(index, (upstream, client))| {
            let wrong = |what: String| ConfigError { place: format!("upstream[{index}].login"), what };
            upstream.login.map(|login| CloudRegistry::new(login, upstream, client).map_err(wrong)).transpose()
        });
        Ok(Some(Self(clouds.collect::<Result<_, _>>()?)))
    }

    /// As whom the proxy logs in to the upstream at this place, as the cloud says; `None`: it has no `login`.
    pub(crate) async fn name(&self, upstream: usize) -> Option<Result<String, NotIssued>> {
        Some(match self.cloud(upstream)? {
            CloudRegistry::Ecr(login) => login.name().await,
            CloudRegistry::Gar(login) => login.name().await,
            CloudRegistry::Acr(login) => login.name().await,
        })
    }

    fn cloud(&self, upstream: usize) -> Option<&CloudRegistry> {
        self.0.get(upstream)?.as_ref()
    }
}

#[async_trait]
impl LoginIssuer for CloudLogins {
    async fn issue(&self, upstream: usize) -> Result<IssuedLogin, NotIssued> {
        match self.cloud(upstream).ok_or_else(|| NotIssued("no login is configured".to_owned()))? {
            CloudRegistry::Ecr(login) => login.issue().await,
            CloudRegistry::Gar(login) => login.issue().await,
            CloudRegistry::Acr(login) => login.issue().await,
        }
    }
}

impl CloudRegistry {
    fn new(login: CloudLogin, upstream: &UpstreamConfig, client: CloudClient) -> Result<Self, String> {
        match login {
            CloudLogin::Ecr => {
                let host = ecr_host(upstream, |name| Environment.var(name))?;
                Ok(Self::Ecr(EcrLogin::new(host, client, upstream.role_arn.clone())))
            }
            CloudLogin::Gar => Ok(Self::Gar(GarLogin::new(client, upstream.audience.clone()))),
            CloudLogin::Acr => {
                let registry = upstream.urls.first().ok_or("it has no address")?.clone();
                let (audience, tenant) = (upstream.audience.clone(), upstream.tenant.clone());
                Ok(Self::Acr(AcrLogin::new(registry, client, audience, tenant)))
            }
        }
    }
}

/// Which registry of ECR an upstream is: by its name or an address, or by the region in the environment.
fn ecr_host(upstream: &UpstreamConfig, variable: impl Fn(&str) -> Option<String>) -> Result<EcrHost, String> {
    let hosts = upstream.urls.iter().filter_map(|url| url.host_str());
    let named = std::iter::once(upstream.name.as_str()).chain(hosts).find_map(EcrHost::parse);
    let region =
        variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).filter(|region| is_region(region));
    named.or_else(|| Some(EcrHost { region: region?, is_public: false })).ok_or_else(|| {
        "the region is in neither the name nor the address, expected 123456789012.dkr.ecr.REGION.amazonaws.com or AWS_REGION"
            .to_owned()
    })
}
