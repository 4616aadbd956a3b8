//! Facts about a digest or a tag in a repository: where each fact comes from, and what it permits.
//!
//! Bytes are stored once, whichever upstream gave them; permission is per upstream. So a fact carries its source: an
//! upstream that answers a HEAD or a range of one byte only *claims* to have a digest, one that sent the whole body *gave*
//! it. A claim is believed if the upstream has given these bytes before, to any repository, or if some upstream gives them
//! to everybody. Any other upstream has to give the whole body first: otherwise one that lies could publish what another
//! keeps private.
//!
//! Everything here is pure. [`Metadata`](crate::cache::Metadata) reads and writes the facts;
//! [`RequestContext`](crate::request::context::RequestContext) asks the questions for one request:
//!
//! - [`may_serve`]: whether stored bytes may go to this client, or what the upstream has to say first
//! - [`Absences::answers`]: whether a 404 that was heard a moment ago answers this request
//! - [`Grants::hold`]: whether the upstream has let this client in lately
//! - [`Pointer::must_ask`](crate::cache::Pointer::must_ask): whether a tag is to be confirmed
//! - [`of_manifest`](crate::media::of_manifest): the type of a manifest, which belongs to its bytes

mod absence;
mod grants;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::absence::{Absences, LookupMethod};
pub(crate) use self::grants::{ClientScope, Grants};
use crate::name::RepositoryName;

/// Upstreams that are remembered for one digest. One that is forgotten gives the bytes once more.
const MAX_ORIGINS: usize = 16;

/// How it is known that a repository has a digest, the weakest evidence first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// A manifest of this repository names it. Whoever writes a manifest can name what they have no right to see, so
    /// this is enough only where all clients may see the same.
    Named,
    /// The upstream says that it has it, and has never given these bytes.
    Claimed,
    /// Written by version 0.1.0 or before, which did not tell a claim from a proof.
    Shown,
    /// The upstream gave the bytes; or it says that it has them, and they are known to be its own or everybody's.
    Proven,
}

impl Link {
    /// As a record.
    pub(crate) fn to_record(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Named => b"named",
            Self::Claimed => b"claimed",
            Self::Shown => b"shown",
            Self::Proven => b"proven",
        })
    }

    /// From a record; `None`: it cannot be read, and counts as absent.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"named" => Some(Self::Named),
            b"claimed" => Some(Self::Claimed),
            b"shown" => Some(Self::Shown),
            b"proven" => Some(Self::Proven),
            _ => None,
        }
    }
}

/// Who has given the bytes of a digest, whole and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origins {
    /// Whether one of them was asked without any login: then these bytes are everybody's.
    anonymous: bool,
    /// Names of upstreams.
    upstreams: Vec<Box<str>>,
}

impl Origins {
    /// One upstream.
    pub(crate) fn one(upstream: &str, anonymous: bool) -> Self {
        Self { anonymous, upstreams: vec![upstream.into()] }
    }

    /// Both together; `None`: the others add nothing.
    pub(crate) fn with(&self, others: &Self) -> Option<Self> {
        let news = others.upstreams.iter().filter(|upstream| !self.upstreams.contains(upstream));
        let upstreams = self.upstreams.iter().chain(news).take(MAX_ORIGINS).cloned().collect();
        let both = Self { anonymous: self.anonymous || others.anonymous, upstreams };
        (both != *self).then_some(both)
    }

    /// What they are to a client of this upstream; of none at all, nothing is recorded.
    pub(crate) fn seen_from(&self, upstream: &str) -> Origin {
        if self.upstreams.is_empty() {
            Origin::Unrecorded
        } else if self.upstreams.iter().any(|origin| **origin == *upstream) {
            Origin::This
        } else if self.anonymous {
            Origin::Anonymous
        } else {
            Origin::Other
        }
    }

    /// As a record.
    pub(crate) fn to_record(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// From a record; `None`: it cannot be read, and counts as absent.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        (read.upstreams.len() <= MAX_ORIGINS).then_some(read)
    }
}

/// Where stored bytes come from, seen from the upstream that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From this upstream.
    This,
    /// From another one, which gives them without a login.
    Anonymous,
    /// From others, for those who log in there.
    Other,
    /// Nobody has written it down: they were stored by version 0.1.0 or before, or the record is lost.
    Unrecorded,
}

/// Who wants the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requester {
    /// A client where all of them may see the same: the upstream is asked with our own account.
    Anyone,
    /// A client with its own login, which the upstream has let into this repository lately.
    Admitted,
    /// A client with its own login, of which nothing is known here.
    Stranger,
}

/// Whether stored bytes may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayServe {
    /// At once.
    Yes,
    /// Once the upstream says that this client may have them from this repository: to a HEAD or a range of one byte.
    AfterClaim,
    /// Not before the upstream has given the whole body itself.
    AfterBody,
}

/// Whether stored bytes may go to this client from this repository.
pub(crate) fn may_serve(reader: Requester, link: Option<Link>, origin: Origin) -> MayServe {
    let believes_claims = match (origin, link) {
        // What an earlier version was shown is not fetched again, and is asked about again.
        (Origin::This | Origin::Anonymous, _)
        | (Origin::Other, Some(Link::Proven))
        | (Origin::Unrecorded, Some(Link::Shown | Link::Proven)) => true,
        (Origin::Other, None | Some(Link::Named | Link::Claimed | Link::Shown)) => false,
        (Origin::Unrecorded, None | Some(Link::Named | Link::Claimed)) => match reader {
            Requester::Anyone => true,
            Requester::Admitted | Requester::Stranger => false,
        },
    };
    let is_linked = match (reader, link) {
        (Requester::Anyone, Some(_)) | (Requester::Admitted, Some(Link::Claimed | Link::Shown | Link::Proven)) => {
            true
        }
        (Requester::Anyone | Requester::Admitted, None)
        | (Requester::Admitted, Some(Link::Named))
        | (Requester::Stranger, _) => false,
    };
    match (believes_claims, is_linked) {
        (true, true) => MayServe::Yes,
        (true, false) => MayServe::AfterClaim,
        (false, _) => MayServe::AfterBody,
    }
}

/// Whether memory is believed that nothing was recorded of where bytes come from, although another process may have recorded
/// something meanwhile. For links of version 0.1.0 no record ever comes about by itself: each hit would look for one.
pub(crate) fn believes_unrecorded(reader: Requester, link: Option<Link>) -> bool {
    match (reader, link) {
        (Requester::Anyone, _) | (_, Some(Link::Shown | Link::Proven)) => true,
        (Requester::Admitted | Requester::Stranger, None | Some(Link::Named | Link::Claimed)) => false,
    }
}

/// The link that an upstream's claim makes: it proves only bytes that the upstream has given before, or gives to everybody.
pub(crate) fn link_of_claim(origin: Origin) -> Link {
    match origin {
        Origin::This | Origin::Anonymous => Link::Proven,
        Origin::Other | Origin::Unrecorded => Link::Claimed,
    }
}

/// Who gives the bytes that arrive, and for which repository they were asked.
#[derive(Debug, Clone)]
pub(crate) struct Provenance {
    /// The upstream's name.
    pub(crate) upstream: Arc<str>,
    /// The repository, as the upstream calls it.
    pub(crate) repository: RepositoryName,
    /// Whether it was asked without any login.
    pub(crate) anonymous: bool,
    /// The generation in which it was asked ([`Metadata::generation`](crate::cache::Metadata::generation)): what is deleted
    /// meanwhile is not linked again.
    pub(crate) since: u64,
}
