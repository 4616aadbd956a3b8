//! Whether a bucket lets us in, asked at the start and by `check`: a key that was forgotten would else be seen first in what
//! a registry counts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::cache::Key;
use registry_proxy_core::config::{CacheConfig, StoreAddress};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Store, StoreError};

use super::objects::{self, Credentials};
use crate::error_text::with_source;

/// How long a bucket that does not let us in is left until it is asked again.
const PAUSE: Duration = Duration::from_mins(1);

/// How long `check` waits for a bucket.
const TRIAL: Duration = Duration::from_secs(5);

/// What is wrong with the cache at present, as far as it was tried.
#[derive(Default)]
pub(crate) struct StoreHealth(RwLock<Option<String>>);

impl StoreHealth {
    /// In a few words without names or addresses: everybody may ask.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Asks until there is nothing wrong, and says so in the log.
    pub(crate) async fn watch(self: Arc<Self>, store: Arc<dyn Store>) {
        loop {
            let error = ask(&*store).await.err();
            let trouble = error.as_ref().map(ToString::to_string);
            let (before, is_over) = (self.trouble(), error.is_none());
            self.set(trouble.clone());
            match error {
                Some(error) if before != trouble => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::warn!(key = "cache.store", error = source, "{error}; until then nothing is kept");
                }
                None if before.is_some() => tracing::info!(key = "cache.store", "the cache answers now"),
                Some(_) | None => {}
            }
            if is_over {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether a store is tried: one elsewhere may be closed to us, one here was tried when it was opened.
pub(crate) fn is_checked(cache: &CacheConfig) -> bool {
    matches!(cache.store, StoreAddress::Objects(_))
}

/// Asks for what may or may not be there.
async fn ask(store: &dyn Store) -> Result<(), StoreError> {
    store.read(&probe()).await.map(drop)
}

/// A key that any store may be asked for.
fn probe() -> Key {
    Key::origins(&Digest::sha256(b""))
}

/// The same for `check`, which makes no directory; what is wrong, with its cause, for whoever runs it.
pub(crate) async fn check(config: &Config) -> Option<String> {
    let StoreAddress::Objects(url) = &config.cache.store else { return None };
    if Credentials::are_lent(config, |name| std::env::var(name).ok()) {
        return None;
    }
    let tried =
        tokio::time::timeout(TRIAL, objects::check(url, &probe())).await.unwrap_or(Err(StoreError::TimedOut));
    tried.err().map(|error| with_source(&error))
}
