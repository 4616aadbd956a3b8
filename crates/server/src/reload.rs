//! What SIGHUP replaces: the proxy and our certificate. What is under way goes on with what it began with. Certificates and
//! keys that change are read again without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::config::{ConfigError, StoreAddress};
use registry_proxy_core::platform::{Entropy as _, Store};
use registry_proxy_core::secret::Secret;
use registry_proxy_core::{Config, Proxy};
use rustls::ServerConfig;

use crate::config_source::ConfigSource;
use crate::runtime::SystemEntropy;
use crate::watched_files::WatchedFiles;
use crate::{assemble, store, tls};

/// Everything that a new configuration changes without a restart.
pub(crate) struct Current {
    pub(crate) proxy: Proxy,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) config: Config,
}

/// The current one, and how to get the next.
pub(crate) struct Reloadable {
    source: ConfigSource,
    /// Signs where no key is configured, over reloads too, so that nobody is logged out by one.
    process_key: Secret,
    /// What the process began with and keeps to its end.
    fixed: RestartOnly,
    store: Option<Arc<dyn Store>>,
    /// The one in which it was found.
    directory: Option<PathBuf>,
    store_health: Arc<store::StoreHealth>,
    current: ArcSwap<Current>,
}

impl Reloadable {
    pub(crate) fn new(source: ConfigSource, config: Config) -> Result<Self, ConfigError> {
        let process_key = random_key();
        let fixed = fixed(&config);
        let opened = store::open(&config.cache)?;
        if let Some(what) = store::warnings(&config.cache) {
            tracing::warn!(key = "cache.store", "{what}");
        }
        let (store, directory) = opened.map(|opened| (opened.store, opened.directory)).unzip();
        let store_health = Arc::<store::StoreHealth>::default();
        // What functions are lent comes with requests.
        if let Some(store) =
            store.clone().filter(|_| store::is_checked(&config.cache) && !config.platform.is_ephemeral())
        {
            tokio::spawn(Arc::clone(&store_health).watch(store));
        }
        let current = build(config, &process_key, store.clone(), None)?;
        look_after(&current, None);
        let current = ArcSwap::from_pointee(current);
        Ok(Self { source, process_key, fixed, store, directory: directory.flatten(), store_health, current })
    }

    /// The directory in which the cache was found, if it lies in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// What is wrong with the cache, if that is known.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.store_health.trouble()
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Current>> {
        self.current.load()
    }

    /// Certificate and key files read again where they are not what is `known`, under the configuration in force; and as they
    /// are now. Waits for files.
    pub(crate) fn refreshed(&self, known: &WatchedFiles) -> (WatchedFiles, Prepared) {
        let before = arc_swap::Guard::into_inner(self.current());
        let now = WatchedFiles::look(&before.config);
        if now == *known {
            return (now, Prepared::Nothing);
        }
        (now, self.prepare(ReloadCause::FilesChanged, Ok(before.config.clone()), &before))
    }

    /// Everything read again. Waits for files.
    pub(crate) fn reloaded(&self) -> Prepared {
        let before = arc_swap::Guard::into_inner(self.current());
        self.prepare(ReloadCause::Signal, self.source.load(), &before)
    }

    fn prepare(&self, why: ReloadCause, config: Result<Config, ConfigError>, before: &Current) -> Prepared {
        let next =
            config.and_then(|config| build(config, &self.process_key, self.store.clone(), Some(&before.proxy)));
        match next {
            Ok(next) => Prepared::Next(why, Box::new(next)),
            Err(error) => Prepared::Unusable(why, error),
        }
    }

    /// Puts in force what was prepared, and says so. What cannot be used, such as half of a renewal, leaves the old in force.
    pub(crate) fn put(&self, prepared: Prepared) {
        match prepared {
            Prepared::Nothing => {}
            Prepared::Next(ReloadCause::FilesChanged, next) => {
                self.replace(*next);
                tracing::info!("certificate and key files have changed and were read again");
            }
            Prepared::Next(ReloadCause::Signal, next) => {
                for ((key, began), (_, wanted)) in self.fixed.iter().zip(fixed(&next.config)) {
                    if *began != wanted {
                        tracing::warn!(key, "this setting takes a restart; until then it stays what it was");
                    }
                }
                self.replace(*next);
                tracing::info!("configuration, password and certificate files read again");
            }
            Prepared::Unusable(ReloadCause::FilesChanged, error) => {
                tracing::warn!(%error, "a certificate or key file has changed and cannot be used yet; the old stays in force");
            }
            Prepared::Unusable(ReloadCause::Signal, error) => {
                tracing::error!(%error, "the new configuration cannot be used; the old one stays in force");
            }
        }
    }

    fn replace(&self, next: Current) {
        look_after(&next, Some(&self.current().proxy));
        self.current.store(Arc::new(next));
    }
}

/// Why files are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadCause {
    /// A certificate or a key has changed.
    FilesChanged,
    /// SIGHUP.
    Signal,
}

/// What reading again came to. Nothing is in force by it.
pub(crate) enum Prepared {
    /// Nothing has changed.
    Nothing,
    /// What can be put in force.
    Next(ReloadCause, Box<Current>),
    /// What cannot.
    Unusable(ReloadCause, ConfigError),
}

/// Keys with their values, told apart as text.
type RestartOnly = [(&'static str, String); 9];

/// What takes a restart: it is used once, at the start.
fn fixed(config: &Config) -> RestartOnly {
    [
        ("listen", config.listen.clone()),
        ("metrics.listen", config.metrics.listen.clone().unwrap_or_default()),
        ("log.format", format!("{:?}", config.log.format)),
        ("log.level", config.log.level.clone()),
        ("admin_socket", config.admin_socket.clone().unwrap_or_default()),
        ("cache.store", config.cache.store.to_string()),
        ("cache.min_free", config.cache.min_free().to_string()),
        ("limits.connections", config.limits.connections.to_string()),
        ("timeouts.drain", format!("{:?}", config.timeouts.drain)),
    ]
}

/// A signing key for this process, used where the configuration has none.
fn random_key() -> Secret {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    Secret::new(BASE64_STANDARD.encode(bytes))
}

fn build(
    mut config: Config,
    process_key: &Secret,
    store: Option<Arc<dyn Store>>,
    before: Option<&Proxy>,
) -> Result<Current, ConfigError> {
    for warning in config.warnings() {
        tracing::warn!(key = warning.place, "{}", warning.what);
    }
    config.signing_key.get_or_insert_with(|| process_key.clone());
    let mut proxy = assemble::proxy(&config, store)?;
    if let Some(before) = before {
        proxy = proxy.after(before);
    }
    Ok(Current { proxy, tls: tls::server(&config)?, config })
}

/// Has its cache looked after, unless that of the one before is the same. It ends when nothing needs this cache any more. A
/// bucket that functions share is looked after by its own rules: each of them would list all of it.
fn look_after(current: &Current, before: Option<&Proxy>) {
    let is_shared_bucket =
        current.config.platform.is_ephemeral() && matches!(current.config.cache.store, StoreAddress::Objects(_));
    let is_looked_after = before.is_some_and(|before| current.proxy.shares_cache_with(before));
    if !is_shared_bucket
        && !is_looked_after
        && let Some(janitor) = current.proxy.janitor()
    {
        tokio::spawn(janitor.run());
    }
}
