//! Asking a registry for a blob.

use std::sync::Arc;

use http::{Method, Response};

use crate::body::Body;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Absence, Error, UpstreamText};
use crate::platform::RequestPurpose;
use crate::relay::Source;
use crate::request::RequestContext;
use crate::upstream::{Ask, Negative};

/// The request for a blob.
pub(super) fn ask_for(context: &RequestContext<'_>, digest: &Digest, method: Method) -> Ask {
    context.ask(method, format!("blobs/{digest}"), RequestPurpose::Blob)
}

/// The error for a 404: the blob is unknown, or the whole repository (P-22).
pub(super) fn blob_unknown(text: UpstreamText) -> Error {
    if text.code() == Some("NAME_UNKNOWN") { Error::NotFound(text) } else { Error::BlobUnknown(Absence::Upstream) }
}

/// Takes a place among those who wait for the upstream, unless asking it is of no use.
pub(super) fn begin_asking(context: &RequestContext<'_>, cache: &Cache, digest: &Digest) -> Result<(), Error> {
    if context.is_offline() {
        return Err(Error::BlobUnknown(Absence::Offline));
    }
    if context.is_absent(cache, digest.as_str()) {
        return Err(Error::BlobUnknown(Absence::Remembered));
    }
    context.waiting.begin()
}

/// Asks the upstream for the blob, and records whether this client may have it.
pub(super) async fn fetch(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    ask: &Ask,
) -> Result<Response<Body>, Negative> {
    let found = context.upstream.read(ask).await;
    match &found {
        Ok(_) => context.claimed(cache, digest).await,
        Err(negative) => context.denied(cache, negative, digest.as_str()),
    }
    found
}

/// What a relay needs to resume a body that breaks off. `total`: length of the blob, where it is known.
pub(super) fn source_of(context: &RequestContext<'_>, ask: Ask, total: Option<u64>) -> Source {
    Source {
        upstream: Arc::clone(context.upstream),
        ask,
        clock: Arc::clone(&context.env.platform.clock),
        idle: context.env.settings.timeouts.idle.0,
        down: context.env.settings.timeouts.down.0,
        storage: None,
        total,
    }
}
