//! Causes that errors carry: why something is absent, not served, not deliverable, or needs a login.

use std::fmt;

use http::HeaderValue;

use crate::digest::Digest;
use crate::outcome::Reason;

/// How we know that something is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// The upstream says so.
    #[error("the registry does not have it")]
    Upstream,
    /// The upstream said so a moment ago, and is not asked again (`cache.negative_ttl`).
    #[error("the registry did not have it a moment ago")]
    Remembered,
    /// It is not here, and nobody is asked (`cache.offline`).
    #[error("it is not cached, and this proxy asks no registry (cache.offline)")]
    Offline,
}

impl Absence {
    /// The reason in header, log and metrics.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Upstream => Reason::NotFound,
            Self::Remembered => Reason::NotFoundBefore,
            Self::Offline => Reason::AbsentOffline,
        }
    }
}

/// Why a cached tag is not served while its upstream cannot answer (P-87, P-91).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStale {
    /// The upstream confirmed it too long ago.
    #[error("the registry has not confirmed it for longer than cache.stale_if_error")]
    TooOld,
    /// This blob or manifest of its image is not here, or this client may not have it from here.
    #[error("{0} of its image is not cached")]
    Incomplete(Digest),
}

impl NotStale {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::TooOld => Reason::StaleTooOld,
            Self::Incomplete(_) => Reason::StaleIncomplete,
        }
    }
}

/// What `[[access]]` says of a client and a repository. Rules are counted from 1, as they stand in the file; what they say of others is not
/// told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// This rule denies the repository.
    #[error("[[access]] rule {0} denies this client this repository")]
    Rule(usize),
    /// This rule allows pulls of it only.
    #[error(
        "[[access]] rule {0} allows this client to pull from this repository, and neither to push nor to delete"
    )]
    Push(usize),
    /// No rule has the repository for this client.
    #[error("no rule of [[access]] allows this client this repository")]
    NoRule,
}

/// What `[[block]]` says of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is blocked by this proxy: {reason}")]
pub struct Blocked {
    /// The digest, tag or repository.
    pub what: Box<str>,
    /// Why, in the operator's words.
    pub reason: Box<str>,
}

/// What `[[policy]]` says of an image that is not as it wants, or of a blob that only such images name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not served: this proxy's policy for {pattern} wants {wanted}; {found}")]
pub struct Unverified {
    /// The image or blob, with its digest.
    pub what: Box<str>,
    /// The repositories that the policy is for.
    pub pattern: Box<str>,
    /// Whose signature or consent.
    pub wanted: Box<str>,
    /// What was found instead.
    pub found: Box<str>,
    /// The reason in header, log and metrics.
    pub reason: Reason,
}

/// Why something of a held tag is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The tag is new.
    #[error(
        "{image} is new: it was first seen {age} ago, and is served once it has stood for {hold} (hold_new = \"refuse\"); \
         to let it through now: registry-proxy cache release {image}"
    )]
    New {
        /// The tag's name.
        image: Box<str>,
        /// Since it was first seen.
        age: Age,
        /// For how long it must stand.
        hold: Age,
    },
    /// Only this tag, which is held, names the digest.
    #[error(
        "only {image} names this digest, which it moved to; it is held for {hold} (hold_digests = true); to let it \
         through now: registry-proxy cache release {image}"
    )]
    Digest {
        /// The tag's name.
        image: Box<str>,
        /// For how long the digest must stand.
        hold: Age,
    },
    /// What clients should get is not to be had any more.
    #[error(
        "{image} is held at {digest}, which neither the cache nor the registry has any more; to let clients have what the \
         registry has now: registry-proxy cache release {image}, or, if it is pinned, registry-proxy cache unpin {image}"
    )]
    Gone {
        /// The tag's name.
        image: Box<str>,
        /// What clients should get.
        digest: Digest,
    },
}

impl Withheld {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::New { .. } => Reason::NewTagHeld,
            Self::Digest { .. } => Reason::DigestHeld,
            Self::Gone { .. } => Reason::HeldGone,
        }
    }
}

/// A span of time for people: in the largest unit of which there is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Seconds.
    pub seconds: u64,
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        match units.into_iter().find(|(length, _)| self.seconds >= *length) {
            Some((length, unit)) => write!(f, "{}{unit}", self.seconds / length),
            None => write!(f, "{}s", self.seconds),
        }
    }
}

/// Why a blob cannot be delivered by a link, and what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// There is no store, or one that gives no links.
    #[error("set cache.store to an object store whose links clients can follow")]
    NoStore,
    /// The configuration wants none.
    #[error("set delivery.links to auto")]
    LinksOff,
    /// It is longer than what the platform lets through.
    #[error(
        "a link has {bytes} bytes, and headers may have {limit_bytes}; links signed with permanent keys are shorter \
         than those signed with temporary ones"
    )]
    LinkTooLong {
        /// Of the header, in bytes.
        bytes: usize,
        /// Of all headers, in bytes.
        limit_bytes: usize,
    },
    /// Clients keep their login for the same host and what lies below it, and stores refuse a link that comes with one.
    #[error("the link's host is this proxy's host or a subdomain of it; give the store another host name")]
    LinkBelowUs,
}

/// The one challenge of a 401 (P-28 … P-37).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginChallenge {
    /// Absolute address of our token endpoint.
    pub realm: String,
    /// Constant per host.
    pub service: String,
    /// Scope in the client's own name space; none on the ping.
    pub scope: Option<String>,
    /// Why the token presented is not enough.
    pub error: Option<&'static str>,
}

impl LoginChallenge {
    pub(super) fn to_header(&self) -> HeaderValue {
        let scope = self.scope.as_ref().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
        let error = self.error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
        let text = format!("Bearer realm=\"{}\",service=\"{}\"{scope}{error}", self.realm, self.service);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}
