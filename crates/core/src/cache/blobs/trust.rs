//! Which stored blobs are served, and how it is known that they have their digest.
//!
//! A file on a disk of this machine is trusted until it changes. A blob on machines of others is trusted for ranges, and
//! verified when all of it is first read back: their success answers have been wrong (seaweedfs#11382, zot#4427).

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache as Memory;

use super::small::SmallBlobs;
use crate::body::{Body, Observe};
use crate::cache::Key;
use crate::cache::backend::CacheBackend;
use crate::cache::metadata::Lengths;
use crate::digest::Digest;
use crate::platform::{Found, Moment, Stat, Validator};
use crate::telemetry;

/// How long a blob that could not be read is left alone.
const UNREAD: Duration = Duration::from_mins(1);

/// Most blobs remembered as not to be served.
const MAX_DISTRUSTED: usize = 1000;

/// How it is known that a stored blob has its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The bytes were sent to a remote store, which confirmed them and their number.
    Sent,
    /// They were written to a disk of this machine, or all of them were read back.
    Read,
}

/// What is known of a stored blob before any of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It has its digest.
    Right,
    /// It is not what it should be, or could not be read a moment ago.
    Unfit,
    /// It may be anything.
    Unknown,
}

/// The facts from which a belief follows.
#[derive(Debug, Clone, Copy)]
struct Grounds {
    /// Of the stored bytes in this state.
    proof: Option<Proof>,
    /// All of it is wanted, and not a part or its length.
    is_whole: bool,
    is_distrusted: bool,
    /// It is as long as it should be; `None`: nobody has said how long that is.
    is_of_length: Option<bool>,
    /// The store held it against its digest itself.
    store_verifies: bool,
}

impl Grounds {
    fn belief(self) -> Belief {
        let is_proven = match self.proof {
            Some(Proof::Read) => true,
            // Reading all of it verifies it at no extra cost.
            Some(Proof::Sent) => !self.is_whole,
            None => false,
        };
        if is_proven {
            Belief::Right
        } else if self.is_distrusted || self.is_of_length == Some(false) {
            Belief::Unfit
        } else if self.store_verifies {
            Belief::Right
        } else {
            Belief::Unknown
        }
    }
}

/// What is known of stored blobs.
pub(super) struct Trust {
    backend: Arc<CacheBackend>,
    /// Blobs that are known to have their digest, with the validator they had and the proof.
    verified: Memory<Digest, (Validator, Proof)>,
    /// Blobs that are not served until then with that validator: a wrong digest, so that they are being removed, or
    /// unreadable.
    distrusted: Memory<Digest, (Validator, Moment)>,
    /// How long blobs are, from their registries and from manifests.
    lengths: Arc<Lengths>,
    /// Blobs in memory: dropped when the stored one is lost or damaged.
    small: Arc<SmallBlobs>,
}

impl Trust {
    /// For about `entries` blobs.
    pub(super) fn new(
        backend: &Arc<CacheBackend>,
        lengths: &Arc<Lengths>,
        small: &Arc<SmallBlobs>,
        entries: usize,
    ) -> Self {
        Self {
            backend: Arc::clone(backend),
            verified: Memory::new(entries),
            distrusted: Memory::new(MAX_DISTRUSTED),
            lengths: Arc::clone(lengths),
            small: Arc::clone(small),
        }
    }

    /// Whether it is known how long a blob should be.
    pub(super) fn knows_length(&self, digest: &Digest) -> bool {
        self.lengths.of(digest).is_some()
    }

    /// A registry gave all of a blob, of this length.
    pub(super) fn given(&self, digest: &Digest, length: u64) {
        self.lengths.given(digest, length);
    }

    /// Drops what is known of a blob that the store does not have any more.
    pub(super) fn lost(&self, digest: &Digest) {
        self.verified.remove(digest);
        self.small.remove(digest);
    }

    /// What is known of a stored blob in this state. `is_whole`: all of it is wanted.
    pub(super) fn belief(&self, digest: &Digest, stat: &Stat, is_whole: bool) -> Belief {
        let proof = self
            .verified
            .get(digest)
            .filter(|(validator, _)| *validator == stat.validator)
            .map(|(_, proof)| proof);
        let grounds = Grounds { proof, is_whole, is_distrusted: false, is_of_length: None, store_verifies: false };
        if grounds.belief() == Belief::Right {
            return Belief::Right;
        }
        let is_distrusted = self.is_distrusted(digest, stat);
        let is_of_length = self.lengths.of(digest).map(|length| length == stat.length);
        if is_of_length == Some(false) && !is_distrusted {
            tracing::warn!(
                key = %Key::blob(digest),
                stored_bytes = stat.length,
                "a stored blob has the wrong length; it is fetched again"
            );
            self.backend.corrupt("blob", digest);
            // So that this is said once.
            self.distrusted
                .insert(digest.clone(), (stat.validator.clone(), self.backend.clock.now().after(UNREAD)));
        }
        let store_verifies = self.backend.store.capabilities().verifies;
        Grounds { is_distrusted, is_of_length, store_verifies, ..grounds }.belief()
    }

    /// A stored blob has its digest.
    pub(super) fn trust(&self, digest: &Digest, validator: Validator, proof: Proof) {
        self.verified.insert(digest.clone(), (validator, proof));
        // What was wrong before is not what lies there now, though its validator may be the same.
        self.distrusted.remove(digest);
        self.backend.store.used(&Key::blob(digest));
    }

    /// Whether a stored blob in this state is not served for now.
    pub(super) fn is_distrusted(&self, digest: &Digest, stat: &Stat) -> bool {
        let distrusted = self.distrusted.get(digest);
        distrusted
            .is_some_and(|(validator, until)| validator == stat.validator && self.backend.clock.now() < until)
    }

    /// A stored blob does not have its digest any more.
    pub(super) fn distrust(self: &Arc<Self>, digest: &Digest, validator: Validator) {
        let key = Key::blob(digest);
        tracing::error!(%key, "a stored blob no longer matches its digest; it is removed");
        self.backend.corrupt("blob", digest);
        self.verified.remove(digest);
        self.small.remove(digest);
        // It takes a moment to remove it, and nobody is to be served from it meanwhile.
        self.distrusted.insert(digest.clone(), (validator, Moment(Duration::MAX)));
        let backend = Arc::clone(&self.backend);
        self.backend.tasks.spawn(Box::pin(async move {
            backend.remove(&key).await;
        }));
    }

    /// A stored blob cannot be read: it may be whole all the same, and stays. Meanwhile it is served from elsewhere.
    pub(super) fn unread(&self, digest: &Digest, validator: Validator) {
        tracing::warn!(key = %Key::blob(digest), "a stored blob could not be read; it is not used for a while");
        telemetry::store_failed("read", "unreadable");
        self.verified.remove(digest);
        self.distrusted.insert(digest.clone(), (validator, self.backend.clock.now().after(UNREAD)));
    }

    /// Watches a body: a blob that breaks on its way to a client is not served for a while. Native bodies stay native.
    pub(super) fn noting_breaks(self: &Arc<Self>, digest: &Digest, found: Found) -> Found {
        let Found { stat, body } = found;
        let body = match body {
            Body::Stream(_) => {
                let (trust, digest, validator) = (Arc::clone(self), digest.clone(), stat.validator.clone());
                body.observed(Breaks { trust, digest, validator })
            }
            Body::Empty | Body::Full(_) | Body::Native(_) => body,
        };
        Found { stat, body }
    }
}

/// Records that a stored blob broke on its way to a client.
struct Breaks {
    trust: Arc<Trust>,
    digest: Digest,
    validator: Validator,
}

impl Observe for Breaks {
    fn arrived(&mut self, _: u64) {}

    fn broke(&mut self) {
        self.trust.unread(&self.digest, self.validator.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_blob_is_trusted_only_once_it_was_verified() {
        use Belief::{Right, Unfit, Unknown};
        use Proof::{Read, Sent};
        for (proof, is_whole, is_distrusted, is_of_length, store_verifies, expected) in [
            (None, true, false, None, false, Unknown),
            (None, true, false, Some(true), false, Unknown),
            (None, true, false, Some(false), false, Unfit),
            (None, false, true, Some(true), false, Unfit),
            (None, true, false, None, true, Right),
            (None, true, false, Some(false), true, Unfit),
            (None, true, true, Some(true), true, Unfit),
            (Some(Sent), true, false, Some(true), false, Unknown),
            (Some(Sent), false, false, Some(true), false, Right),
            (Some(Read), true, false, Some(true), false, Right),
            // A wrong manifest does not outweigh a full read.
            (Some(Read), true, false, Some(false), false, Right),
        ] {
            let grounds = Grounds { proof, is_whole, is_distrusted, is_of_length, store_verifies };
            assert_eq!(grounds.belief(), expected, "{grounds:?}");
        }
    }
}
