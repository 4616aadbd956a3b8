//! A manifest that can be served, what a HEAD says of one, and the requests in progress that clients share.

use bytes::Bytes;
use http::HeaderMap;

use crate::body::SMALL_BYTES;
use crate::cache::StoredManifest;
use crate::digest::Digest;
use crate::error::NotStale;
use crate::evidence::ClientScope;
use crate::single_flight::SingleFlight;
use crate::upstream::{HeadId, Negative};

/// A manifest that can be served: its bytes have the digest it goes by, and its type is known.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) length: u64,
    /// Absent where only its head was asked.
    pub(super) bytes: Option<Bytes>,
    /// Whether the bytes count towards the client's share of memory until the client has taken them.
    pub(super) is_shared_out: bool,
    /// The registry's rate-limit headers.
    pub(super) budget: HeaderMap,
}

impl Manifest {
    /// A manifest from the cache.
    pub(super) fn from_cached(cached: &StoredManifest) -> Self {
        Self {
            media_type: cached.media_type,
            digest: cached.digest.clone(),
            length: cached.bytes.len() as u64,
            bytes: Some(cached.bytes.clone()),
            // Small manifests that the memory tier holds anyway count for no client.
            is_shared_out: cached.is_counted() || cached.bytes.len() as u64 > SMALL_BYTES,
            budget: HeaderMap::new(),
        }
    }
}

/// The result of a HEAD. What it does not say is taken from a GET: a client that misses it would GET by itself, or fail
/// (P-78).
#[derive(Clone)]
pub(super) enum HeadAnswer {
    /// Everything but the bytes.
    Described(Manifest),
    /// The manifest exists, and this client may have it; the headers do not say enough of it.
    Found,
    /// The registry, or something before it, takes no HEAD: that says nothing of the manifest or the client (P-25).
    Declined,
    /// Only a GET can tell: the HEAD was refused, or not sent, as this registry refuses to HEAD what it gives to GET
    /// (P-146).
    Unproven(Option<(HeadId, Negative)>),
}

/// The key of a request: who asks where, and for what.
type RequestKey = (ClientScope, Box<str>);

/// Requests for manifests in progress, which several clients share.
pub(crate) struct SharedRequests {
    pub(super) heads: SingleFlight<RequestKey, Result<HeadAnswer, Negative>>,
    pub(super) fetches: SingleFlight<RequestKey, Result<Manifest, Negative>>,
}

impl SharedRequests {
    /// Shared only where requests may wait for each other (`Capabilities::shares_io`).
    pub(crate) fn new(shares_io: bool) -> Self {
        Self { heads: SingleFlight::new(shares_io), fetches: SingleFlight::new(shares_io) }
    }
}

/// Why there is no manifest to serve.
pub(super) struct LookupError {
    pub(super) negative: Negative,
    pub(super) refused_by: RefusedBy,
    /// Why the cached manifest was not served instead.
    pub(super) not_stale: Option<NotStale>,
}

/// Which method the registry answered with a negative.
#[derive(Clone, Copy)]
pub(super) enum RefusedBy {
    /// HEAD, and no GET could follow. The client gets this answer; no grant is revoked for it.
    Head,
    /// GET.
    Get,
}

impl From<Negative> for LookupError {
    fn from(negative: Negative) -> Self {
        Self { negative, refused_by: RefusedBy::Get, not_stale: None }
    }
}
