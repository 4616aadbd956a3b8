//! Builds the proxy from a configuration: the only file that names a trait together with its implementation.

use std::sync::Arc;

use registry_proxy_core::config::{Auth, ConfigError, PageAuth};
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::platform::{Capabilities, CredentialStore, Invoke, Passwords, Profile, Store};
use registry_proxy_core::{Config, Platform, Proxy};

use crate::cloud_logins;
use crate::credentials::DockerCredentials;
use crate::passwords::{Htpasswd, Users};
use crate::runtime::{SystemClock, SystemEntropy, TokioTasks};
use crate::self_invoke::SelfInvoker;
use crate::transport::HyperTransport;
use crate::{issuers, signature_keys, traces, verdict_services};

/// Builds a proxy that answers no client and fetches images for a timer of the platform: nothing that it does goes through an
/// answer, whose limits do not count. The disk is the platform's.
pub(crate) fn warmer(
    config: &Config,
    store: Option<Arc<dyn Store>>,
    notifications: Notifications,
) -> Result<Proxy, ConfigError> {
    let mut platform = platform(config, store, notifications)?;
    let max_scratch = platform.capabilities.max_scratch;
    platform.capabilities = Capabilities { max_scratch, ..Profile::Server.capabilities() };
    Ok(Proxy::new(config, &platform))
}

/// Builds the proxy. Only files that the configuration names can make it fail.
pub(crate) fn proxy(
    config: &Config,
    store: Option<Arc<dyn Store>>,
    notifications: Notifications,
) -> Result<Proxy, ConfigError> {
    Ok(Proxy::new(config, &platform(config, store, notifications)?))
}

fn platform(
    config: &Config,
    store: Option<Arc<dyn Store>>,
    notifications: Notifications,
) -> Result<Platform, ConfigError> {
    let has_users = config.clients.auth == Auth::Users || config.page.auth == PageAuth::Users;
    let passwords = match &config.clients.users_file {
        Some(path) if has_users => {
            let wrong = |what: String| ConfigError {
                place: "clients.users_file".to_owned(),
                what: format!("{path}: {what}"),
            };
            let text = crate::files::read(path).map_err(|error| wrong(error.to_string()))?;
            Some(Arc::new(Users::new(Htpasswd::parse(&text).map_err(wrong)?)) as Arc<dyn Passwords>)
        }
        Some(_) | None => None,
    };
    let credentials = DockerCredentials::load(config)?.map(|store| Arc::new(store) as Arc<dyn CredentialStore>);
    let invoker = match config.platform {
        Profile::AwsLambda => SelfInvoker::from_environment()?.map(|invoker| Arc::new(invoker) as Arc<dyn Invoke>),
        _ => None,
    };
    Ok(Platform {
        transport: traces::transport(Arc::new(HyperTransport::new(config)?), config),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        passwords,
        signers: signature_keys::load(config)?,
        verdict_services: verdict_services::transport(config)?,
        token_issuers: issuers::load(config)?,
        credentials,
        login_issuer: cloud_logins::load(config)?,
        store: store.map(traces::store),
        invoker,
        notifications,
        tasks: traces::tasks(Arc::new(TokioTasks)),
        capabilities: config.platform.capabilities(),
    })
}
