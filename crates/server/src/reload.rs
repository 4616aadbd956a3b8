//! What a reload replaces: the proxy and the TLS certificate. Requests in progress keep the configuration they started with.
//! SIGHUP reloads everything; changed certificate and key files are reloaded without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::config::{ConfigError, StoreAddress};
use registry_proxy_core::notification::{Notifications, Notify};
use registry_proxy_core::platform::{Entropy as _, Store, Timetable};
use registry_proxy_core::secret::Secret;
use registry_proxy_core::{Config, Proxy};
use rustls::ServerConfig;

use crate::audit::{self, Actor};
use crate::config_source::ConfigSource;
use crate::events::{Events, Receivers};
use crate::runtime::SystemEntropy;
use crate::watched_files::WatchedFiles;
use crate::{assemble, store, timetables, tls};

/// Everything that a reload replaces.
pub(crate) struct Current {
    pub(crate) proxy: Proxy,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) config: Config,
    /// Of the rules of `[[warm]]`, in their order.
    pub(crate) timetables: Vec<Option<Arc<dyn Timetable>>>,
}

/// The current state, and everything needed to build the next one.
pub(crate) struct Reloadable {
    source: ConfigSource,
    parts: Lasting,
    /// Settings that only a restart changes.
    fixed: RestartOnly,
    /// The directory of the cache, if it is in one.
    directory: Option<PathBuf>,
    store_health: Arc<store::StoreHealth>,
    events: Arc<Events>,
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
        // Functions get the bucket's credentials with each request, so there is nothing to check yet.
        if let Some(store) =
            store.clone().filter(|_| store::is_checked(&config.cache) && !config.platform.is_ephemeral())
        {
            tokio::spawn(Arc::clone(&store_health).watch(store));
        }
        let events = Arc::<Events>::default();
        events.tell(Receivers::start(&config)?);
        let notifications = Notifications::to(Arc::clone(&events) as Arc<dyn Notify>);
        let parts = Lasting { process_key, store, notifications };
        let current = parts.build(config, None)?;
        start_janitor(&current, None);
        let current = ArcSwap::from_pointee(current);
        Ok(Self { source, parts, fixed, directory: directory.flatten(), store_health, events, current })
    }

    /// Waits until all events are sent, or for `limit`.
    pub(crate) async fn flush_events(&self, limit: Duration) {
        self.events.flush(limit).await;
    }

    /// The directory of the cache, if it is in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// What is wrong with the cache, if anything is known to be.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.store_health.trouble()
    }

    /// A proxy for the images that a timer of the platform has fetched, and its configuration.
    pub(crate) fn warmer(&self) -> Result<(Proxy, Config), ConfigError> {
        let config = self.current().config.clone();
        let proxy = assemble::warmer(&config, self.parts.store.clone(), self.parts.notifications.clone())?;
        Ok((proxy, config))
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Current>> {
        self.current.load()
    }

    /// Reads certificate and key files again if they differ from `known`, with the current configuration. Also returns their
    /// state now. Blocks on files.
    pub(crate) fn refreshed(&self, known: &WatchedFiles) -> (WatchedFiles, Prepared) {
        let before = arc_swap::Guard::into_inner(self.current());
        let now = WatchedFiles::look(&before.config);
        if now == *known {
            return (now, Prepared::Nothing);
        }
        (now, self.prepare(ReloadCause::FilesChanged, Ok(before.config.clone()), &before))
    }

    /// Loads the whole configuration again. Blocks on files.
    pub(crate) fn reloaded(&self) -> Prepared {
        let before = arc_swap::Guard::into_inner(self.current());
        self.prepare(ReloadCause::Signal, self.source.load(), &before)
    }

    fn prepare(&self, why: ReloadCause, config: Result<Config, ConfigError>, before: &Current) -> Prepared {
        let next = config.and_then(|config| {
            let receivers = Receivers::start(&config)?;
            Ok((self.parts.build(config, Some(&before.proxy))?, receivers))
        });
        match next {
            Ok((next, receivers)) => Prepared::Next(why, Box::new(next), receivers),
            Err(error) => Prepared::Unusable(why, error),
        }
    }

    /// Applies a prepared reload and logs it. If it is unusable, such as half of a renewal, the current state stays.
    pub(crate) fn apply(&self, prepared: Prepared) {
        match prepared {
            Prepared::Nothing => {}
            Prepared::Next(ReloadCause::FilesChanged, next, receivers) => {
                self.replace(*next, receivers);
                audit::record(Actor::ChangedFiles, "reload", Ok(()));
                tracing::info!("certificate and key files have changed and were read again");
            }
            Prepared::Next(ReloadCause::Signal, next, receivers) => {
                for ((key, began), (_, wanted)) in self.fixed.iter().zip(fixed(&next.config)) {
                    if *began != wanted {
                        tracing::warn!(key, "this setting takes a restart; until then the old value applies");
                    }
                }
                self.replace(*next, receivers);
                audit::record(Actor::Signal, "reload", Ok(()));
                tracing::info!("configuration, password and certificate files read again");
            }
            Prepared::Unusable(ReloadCause::FilesChanged, error) => {
                audit::record(Actor::ChangedFiles, "reload", Err(error.to_string()));
                tracing::warn!(%error, "a certificate or key file has changed, but cannot be used yet; the old one stays in force");
            }
            Prepared::Unusable(ReloadCause::Signal, error) => {
                audit::record(Actor::Signal, "reload", Err(error.to_string()));
                tracing::error!(%error, "the new configuration cannot be used; the old one stays in force");
            }
        }
    }

    fn replace(&self, next: Current, receivers: Receivers) {
        self.events.tell(receivers);
        start_janitor(&next, Some(&self.current().proxy));
        self.current.store(Arc::new(next));
    }
}

/// What started a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadCause {
    /// A certificate or key file has changed.
    FilesChanged,
    /// SIGHUP.
    Signal,
}

/// The result of reading again, not applied yet.
pub(crate) enum Prepared {
    /// Nothing has changed.
    Nothing,
    /// Ready to apply.
    Next(ReloadCause, Box<Current>, Receivers),
    /// It failed; the current state stays.
    Unusable(ReloadCause, ConfigError),
}

/// Keys and their values as text.
type RestartOnly = [(&'static str, String); 10];

/// Settings that are used once, at the start: changing them takes a restart.
fn fixed(config: &Config) -> RestartOnly {
    [
        ("listen", config.listen.clone()),
        ("metrics.listen", config.metrics.listen.clone().unwrap_or_default()),
        ("page.listen", config.page.listen.clone().unwrap_or_default()),
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

/// What every configuration of this process is built with.
struct Lasting {
    /// Signing key for when none is configured. It survives reloads, so that a reload logs nobody out.
    process_key: Secret,
    store: Option<Arc<dyn Store>>,
    notifications: Notifications,
}

impl Lasting {
    fn build(&self, mut config: Config, before: Option<&Proxy>) -> Result<Current, ConfigError> {
        for warning in config.warnings() {
            tracing::warn!(key = warning.place, "{}", warning.what);
        }
        config.signing_key.get_or_insert_with(|| self.process_key.clone());
        let mut proxy = assemble::proxy(&config, self.store.clone(), self.notifications.clone())?;
        if let Some(before) = before {
            proxy = proxy.after(before);
        }
        Ok(Current { proxy, tls: tls::server(&config)?, timetables: timetables::load(&config)?, config })
    }
}

/// Starts a janitor for the cache, unless the previous proxy has the same cache. The janitor stops when the cache is dropped.
/// A bucket that functions share gets none, since each function would list all of it: its own lifecycle rules apply.
fn start_janitor(current: &Current, before: Option<&Proxy>) {
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
