//! Requests for manifests in progress, which several clients share, and their results: a manifest that can be served, what a
//! HEAD says of one, whether one is signed, and what a service says of it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::body::SMALL_BYTES;
use crate::cache::{HeldBack, StoredManifest};
use crate::digest::Digest;
use crate::evidence::ClientScope;
use crate::headers::DigestHeaders;
use crate::policy::{ServiceWord, SignatureVerdict, Verdicts};
use crate::single_flight::SingleFlight;
use crate::upstream::{HeadId, Negative};

/// A manifest that can be served: its bytes have the digest it goes by, and its type is known.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) digest: Digest,
    /// The headers of its digest.
    pub(crate) named: Arc<DigestHeaders>,
    pub(crate) length: u64,
    /// Absent where only its head was asked.
    pub(crate) bytes: Option<Bytes>,
    /// Whether the bytes count towards the client's share of memory until the client has taken them.
    pub(crate) is_shared_out: bool,
    /// The registry's rate-limit headers.
    pub(crate) budget: HeaderMap,
    /// Why it is not what the registry has under the tag.
    pub(crate) held: Option<HeldBack>,
}

impl Manifest {
    /// A manifest from the cache.
    pub(crate) fn from_cached(cached: &StoredManifest) -> Self {
        Self {
            media_type: cached.media_type,
            digest: cached.digest.clone(),
            named: Arc::clone(&cached.named),
            length: cached.bytes.len() as u64,
            bytes: Some(cached.bytes.clone()),
            // Small manifests that the memory tier holds anyway count for no client.
            is_shared_out: cached.is_counted() || cached.bytes.len() as u64 > SMALL_BYTES,
            budget: HeaderMap::new(),
            held: None,
        }
    }
}

/// The result of a HEAD. What it does not say is taken from a GET: a client that misses it would GET by itself, or fail
/// (P-78).
#[derive(Clone)]
pub(crate) enum HeadAnswer {
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
    pub(crate) heads: SingleFlight<RequestKey, Result<HeadAnswer, Negative>>,
    pub(crate) fetches: SingleFlight<RequestKey, Result<Manifest, Negative>>,
    /// Whether images have the signatures that their policies want.
    pub(crate) verdicts: Arc<Verdicts<SignatureVerdict>>,
    /// What the services that policies name say of images.
    pub(crate) service_verdicts: Arc<Verdicts<ServiceWord>>,
}

impl SharedRequests {
    /// Shared only where requests may wait for each other (`Capabilities::shares_io`).
    pub(crate) fn new(shares_io: bool) -> Self {
        Self {
            heads: SingleFlight::new(shares_io),
            fetches: SingleFlight::new(shares_io),
            verdicts: Arc::new(Verdicts::new(shares_io)),
            service_verdicts: Arc::new(Verdicts::new(shares_io)),
        }
    }
}
