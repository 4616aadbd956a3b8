//! Tags and links that were forgotten and may still be in the store, as their removal failed. Until a removal succeeds, or a
//! newer record takes their place, the cache does not believe what the store says of them. Other processes do not know of
//! this, and a restart forgets it: there is no place to record it but the store that failed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::backoff::Backoff;
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::sync::{Mutex, MutexGuard};

/// Most tags and links to remember. With more, none in the store is believed until the process ends.
const MOST: usize = 10_000;
/// How long after a failure the next try comes; each one that fails doubles it.
const PAUSE: Duration = Duration::from_secs(10);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Removals at once.
const AT_ONCE: usize = 8;

/// Tags and links, each with the generation in which it was forgotten.
#[derive(Default)]
pub(super) struct UnremovedKeys(Mutex<UnremovedState>);

#[derive(Default)]
struct UnremovedState {
    keys: HashMap<Key, u64>,
    /// There were more than [`MOST`].
    is_over: bool,
    /// Whether somebody tries again.
    is_tried: bool,
}

impl UnremovedKeys {
    fn state(&self) -> MutexGuard<'_, UnremovedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was forgotten in this generation.
    pub(super) fn add(&self, key: &Key, generation: u64) {
        let mut state = self.state();
        if let Some(known) = state.keys.get_mut(key) {
            *known = generation.max(*known);
        } else if state.keys.len() < MOST {
            state.keys.insert(key.clone(), generation);
        } else if !std::mem::replace(&mut state.is_over, true) {
            tracing::error!(
                "the store fails to remove deleted entries; until a restart no cached tag or repository record is used"
            );
        }
    }

    /// The store has lost what was forgotten up to this generation, or has something newer.
    pub(super) fn settle(&self, key: &Key, generation: u64) {
        let mut state = self.state();
        if state.keys.get(key).is_some_and(|forgotten| *forgotten <= generation) {
            state.keys.remove(key);
        }
    }

    /// Whether the store's record of it may be the forgotten one.
    pub(super) fn holds(&self, key: &Key) -> bool {
        let state = self.state();
        state.is_over || state.keys.contains_key(key)
    }

    fn all(&self) -> Vec<(Key, u64)> {
        self.state().keys.iter().map(|(key, generation)| (key.clone(), *generation)).collect()
    }

    /// Takes the job of trying again; whether nobody had it.
    fn begins(&self) -> bool {
        !std::mem::replace(&mut self.state().is_tried, true)
    }

    /// Gives that job up if no key is left; whether that is so.
    fn ends(&self) -> bool {
        let mut state = self.state();
        state.is_tried = !state.keys.is_empty();
        !state.is_tried
    }
}

/// Removes from the store what was forgotten, until it is removed.
pub(super) struct Unremoved {
    backend: Arc<CacheBackend>,
    pub(super) keys: UnremovedKeys,
}

/// The task that tries again.
struct Retrying(Weak<Unremoved>);

impl Drop for Retrying {
    /// Also where a platform drops background tasks: the next failure begins anew.
    fn drop(&mut self) {
        if let Some(unremoved) = self.0.upgrade() {
            unremoved.keys.state().is_tried = false;
        }
    }
}

impl Unremoved {
    pub(super) fn new(backend: &Arc<CacheBackend>) -> Self {
        Self { backend: Arc::clone(backend), keys: UnremovedKeys::default() }
    }

    /// Removes a key that was forgotten, in this generation, while it was being written.
    pub(super) async fn take_back(self: &Arc<Self>, key: &Key, generation: u64) -> Option<()> {
        let removed = self.backend.remove(key).await;
        if removed.is_some() {
            self.keys.settle(key, generation);
        } else {
            self.keys.add(key, generation);
            self.remove_again_soon();
        }
        removed
    }

    /// Tries again to remove what could not be removed, until it is.
    pub(super) fn remove_again_soon(self: &Arc<Self>) {
        if !self.keys.begins() {
            return;
        }
        let (retrying, clock) = (Retrying(Arc::downgrade(self)), Arc::clone(&self.backend.clock));
        self.backend.tasks.spawn(Box::pin(async move {
            let mut backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
            loop {
                clock.sleep(backoff.pause()).await;
                let Some(unremoved) = retrying.0.upgrade() else { return };
                unremoved.remove_again().await;
                if unremoved.keys.ends() {
                    return;
                }
            }
        }));
    }

    async fn remove_again(&self) {
        let tries = stream::iter(self.keys.all()).for_each_concurrent(AT_ONCE, |(key, generation)| async move {
            // A newer record may have taken its place meanwhile.
            if self.keys.holds(&key) && self.backend.remove(&key).await.is_some() {
                self.keys.settle(&key, generation);
            }
        });
        tries.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_was_forgotten_is_held_until_as_much_is_removed_and_beyond_the_bound_everything_is() {
        let key = |number: usize| Key::blob(&Digest::sha256(number.to_string().as_bytes()));
        let unremoved = UnremovedKeys::default();
        unremoved.add(&key(0), 7);
        unremoved.add(&key(0), 5);
        unremoved.settle(&key(0), 6);
        assert!(unremoved.holds(&key(0)), "a removal that began before it was forgotten says nothing");
        unremoved.settle(&key(0), 7);
        assert!(!unremoved.holds(&key(0)));
        for number in 1..=MOST {
            unremoved.add(&key(number), 8);
        }
        assert!(!unremoved.holds(&key(0)));
        unremoved.add(&key(MOST + 1), 9);
        assert!(unremoved.holds(&key(MOST + 1)) && unremoved.holds(&key(0)));
        assert_eq!(unremoved.state().keys.len(), MOST);
    }
}
