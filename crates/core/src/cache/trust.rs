//! Which stored blobs are served, and from what it is known that they have their digest.
//!
//! A disk of this machine is believed until a file changes. What went to machines of others is believed of its parts, and
//! held against its digest when all of it is first read back: their yes has been wrong (seaweedfs#11382, zot#4427).

use std::sync::Arc;
use std::time::Duration;

use super::verify::VerifyingBody;
use super::{Cache, DEADLINE, Key};
use crate::body::{Body, Observe};
use crate::digest::Digest;
use crate::evidence::Provenance;
use crate::platform::{Found, Moment, Part, Stat, Validator, within};
use crate::telemetry;

/// How long a blob that could not be read is left alone.
const UNREAD: Duration = Duration::from_mins(1);

/// From what it is known that a stored blob has its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// These bytes were sent to a store elsewhere, which said that it has them, and as many.
    Sent,
    /// They were written to a disk of this machine, or all of them were read back.
    Read,
}

/// What is known of a stored blob before any of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It has its digest.
    Right,
    /// It is not what it should be, or could not be read a moment ago.
    Unfit,
    /// It may be anything.
    Unknown,
}

/// What a belief rests on.
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
            // To read all of it takes nothing but the reading.
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

impl Cache {
    /// A blob's length, if it is here.
    pub(crate) async fn blob_length(&self, digest: &Digest) -> Option<u64> {
        let stat: Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        (self.belief(digest, &stat, false) != Belief::Unfit).then_some(stat.length)
    }

    /// The length of a stored blob that has its digest: a file that was cut short does not say how long the blob is.
    pub(crate) async fn right_length(self: &Arc<Self>, digest: &Digest) -> Option<u64> {
        let stat: Stat = self.ask("stat", self.store.stat(&Key::blob(digest))).await??;
        match self.belief(digest, &stat, false) {
            Belief::Right => return Some(stat.length),
            Belief::Unfit => return None,
            // Its manifest says the same.
            Belief::Unknown if self.lengths.of(digest).is_some() => return Some(stat.length),
            Belief::Unknown => self.verify_in_time(digest).await,
        }
        (self.belief(digest, &stat, false) == Belief::Right).then_some(stat.length)
    }

    /// A blob, or a part of it. Its bytes have been held against the digest since they last changed, or are on their
    /// way: then the last of them are withheld.
    pub(crate) async fn blob(self: &Arc<Self>, digest: &Digest, part: Option<Part>) -> Option<Found> {
        let Found { stat, body } = self.right_blob(digest, part).await?;
        // Until its first bytes are in hand it can still be had elsewhere.
        if let Ok(Ok(body)) = within(&*self.clock, DEADLINE, body.begun()).await {
            return Some(Found { stat, body });
        }
        if !self.is_distrusted(digest, &stat) {
            self.unread(digest, stat.validator);
        }
        None
    }

    async fn right_blob(self: &Arc<Self>, digest: &Digest, part: Option<Part>) -> Option<Found> {
        let key = Key::blob(digest);
        let found = self.ask("open", self.store.open(&key, part)).await??;
        match self.belief(digest, &found.stat, part.is_none()) {
            Belief::Right => {
                self.store.used(&key);
                return Some(self.noting_breaks(digest, found));
            }
            Belief::Unfit => return None,
            Belief::Unknown if part.is_none() => {
                let Found { stat, body } = found;
                let verifying = VerifyingBody::new(Arc::clone(self), digest, &stat, body)?;
                return Some(Found { body: Body::frames(verifying, Some(stat.length)), stat });
            }
            Belief::Unknown => drop(found),
        }
        self.verify_in_time(digest).await;
        let found = self.ask("open", self.store.open(&key, part)).await??;
        // Otherwise, whatever it is now: it is not what was verified.
        let is_right = self.belief(digest, &found.stat, false) == Belief::Right;
        is_right.then(|| self.noting_breaks(digest, found))
    }

    fn belief(&self, digest: &Digest, stat: &Stat, is_whole: bool) -> Belief {
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
                "a stored blob is not as long as it should be; it is fetched anew"
            );
            telemetry::corrupt("blob");
            // So that this is said once.
            self.distrusted.insert(digest.clone(), (stat.validator.clone(), self.clock.now().after(UNREAD)));
        }
        let store_verifies = self.store.capabilities().verifies;
        Grounds { is_distrusted, is_of_length, store_verifies, ..grounds }.belief()
    }

    /// A stored blob has its digest.
    pub(super) fn trust(&self, digest: &Digest, validator: Validator, proof: Proof) {
        self.verified.insert(digest.clone(), (validator, proof));
        // What was wrong before is not what lies there now, though its validator may be the same.
        self.distrusted.remove(digest);
        self.store.used(&Key::blob(digest));
    }

    fn is_distrusted(&self, digest: &Digest, stat: &Stat) -> bool {
        let distrusted = self.distrusted.get(digest);
        distrusted.is_some_and(|(validator, until)| validator == stat.validator && self.clock.now() < until)
    }

    /// A stored blob does not have its digest any more.
    pub(super) fn distrust(self: &Arc<Self>, digest: &Digest, validator: Validator) {
        let key = Key::blob(digest);
        tracing::error!(%key, "a stored blob does not have its digest any more; it is thrown away");
        telemetry::corrupt("blob");
        self.verified.remove(digest);
        // It takes a moment to remove it, and nobody is to be served from it meanwhile.
        self.distrusted.insert(digest.clone(), (validator, Moment(Duration::MAX)));
        let cache = Arc::clone(self);
        self.tasks.spawn(Box::pin(async move {
            cache.ask("remove", cache.store.remove(&key)).await;
        }));
    }

    /// A stored blob cannot be read: it may be whole all the same, and stays. Meanwhile it is served from elsewhere.
    pub(super) fn unread(&self, digest: &Digest, validator: Validator) {
        tracing::warn!(key = %Key::blob(digest), "a stored blob could not be read; it is left alone for a while");
        telemetry::store_failed("read", "unreadable");
        self.verified.remove(digest);
        self.distrusted.insert(digest.clone(), (validator, self.clock.now().after(UNREAD)));
    }

    /// The same, and whoever comes behind one whose body breaks is served from elsewhere. What the platform has of its own
    /// keeps its short way.
    fn noting_breaks(self: &Arc<Self>, digest: &Digest, found: Found) -> Found {
        let Found { stat, body } = found;
        let body = match body {
            Body::Stream(_) => {
                let (cache, digest, validator) = (Arc::clone(self), digest.clone(), stat.validator.clone());
                body.observed(Breaks { cache, digest, validator })
            }
            Body::Empty | Body::Full(_) | Body::Native(_) => body,
        };
        Found { stat, body }
    }

    /// A blob of this length that an upstream gave, whole and verified, has been put into the store.
    pub(crate) async fn committed(self: &Arc<Self>, provenance: &Provenance, digest: &Digest, length: u64) {
        self.given(provenance, digest);
        self.lengths.given(digest, length);
        if let Some(Some(stat)) = self.ask("stat", self.store.stat(&Key::blob(digest))).await {
            if stat.length != length {
                return self.distrust(digest, stat.validator);
            }
            let proof = if self.store.capabilities().reads_back { Proof::Sent } else { Proof::Read };
            self.trust(digest, stat.validator, proof);
        }
    }
}

/// Takes down that a stored blob broke on its way to a client.
struct Breaks {
    cache: Arc<Cache>,
    digest: Digest,
    validator: Validator,
}

impl Observe for Breaks {
    fn arrived(&mut self, _: u64) {}

    fn broke(&mut self) {
        self.cache.unread(&self.digest, self.validator.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_blob_is_believed_on_good_grounds_only() {
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
            // A manifest that lies moves nothing that was read.
            (Some(Read), true, false, Some(false), false, Right),
        ] {
            let grounds = Grounds { proof, is_whole, is_distrusted, is_of_length, store_verifies };
            assert_eq!(grounds.belief(), expected, "{grounds:?}");
        }
    }
}
