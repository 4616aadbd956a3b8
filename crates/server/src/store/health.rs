//! Checks at startup and in `check` whether a bucket answers. Otherwise, missing credentials would first show as pulls counted
//! by a registry.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::cache::Key;
use registry_proxy_core::config::{CacheConfig, StoreAddress};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Store, StoreError};

use super::objects::{self, Credentials};
use crate::error_text::with_source;

/// Pause before a failed check is repeated.
const PAUSE: Duration = Duration::from_mins(1);

/// Time limit of `check`.
const TRIAL: Duration = Duration::from_secs(5);

/// What the last check of the cache found wrong.
#[derive(Default)]
pub(crate) struct StoreHealth(RwLock<Option<String>>);

impl StoreHealth {
    /// A short text without names or addresses, since anybody may read it.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Repeats the check until it succeeds, and logs changes.
    pub(crate) async fn watch(self: Arc<Self>, store: Arc<dyn Store>) {
        loop {
            let error = ask(&*store).await.err();
            let trouble = error.as_ref().map(ToString::to_string);
            let (before, is_over) = (self.trouble(), error.is_none());
            self.set(trouble.clone());
            match error {
                Some(error) if before != trouble => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::warn!(
                        key = "cache.store",
                        error = source,
                        "{error}; until it answers nothing is cached"
                    );
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

/// Whether this store is checked: only buckets are, since a directory was written to when it was opened.
pub(crate) fn is_checked(cache: &CacheConfig) -> bool {
    matches!(cache.store, StoreAddress::Objects(_))
}

/// Reads a key that may or may not exist.
async fn ask(store: &dyn Store) -> Result<(), StoreError> {
    store.read(&probe()).await.map(drop)
}

/// A key that any store can be asked for.
fn probe() -> Key {
    Key::origins(&Digest::sha256(b""))
}

/// The same for `check`, without creating a directory. Returns what is wrong and why.
pub(crate) async fn check(config: &Config) -> Option<String> {
    let StoreAddress::Objects(url) = &config.cache.store else { return None };
    if Credentials::are_lent(config, |name| std::env::var(name).ok()) {
        return None;
    }
    let tried =
        tokio::time::timeout(TRIAL, objects::check(url, &probe())).await.unwrap_or(Err(StoreError::TimedOut));
    tried.err().map(|error| with_source(&error))
}
