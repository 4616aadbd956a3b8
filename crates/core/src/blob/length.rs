//! How long a blob is: from the headers of an answer, by asking, or from a manifest.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::upstream::{ask_for, begin_asking, blob_unknown};
use crate::body::Body;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::platform::within;
use crate::range::ContentRange;
use crate::request::RequestContext;
use crate::upstream::{AskFirst, HeadOf, Negative};

/// How long a client's answer waits for a length that only the cache needs. Asking may need another connection of
/// `upstream.max_connections` while the answer holds one.
const LENGTH_TIME: Duration = Duration::from_secs(2);

/// The length in bytes: by HEAD, or by a GET of the first byte where HEAD does not say it (P-95, P-96). A registry may give
/// by GET what it refuses to HEAD: only a refused GET counts (P-146).
pub(super) async fn length_of(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Negative> {
    let (heads, now) = (context.upstream.heads(), || context.env.platform.clock.now());
    let mut refused = None;
    if heads.ask_first(HeadOf::Blob, now()) == AskFirst::Head {
        let head = heads.asked(HeadOf::Blob);
        match context.upstream.read(&ask_for(context, digest, Method::HEAD)).await {
            // Some registries do not support HEAD; all support GET.
            Err(Negative::Declined(..) | Negative::Failed(Failure::Status(StatusCode::NOT_IMPLEMENTED))) => {}
            Err(Negative::Missing(_) | Negative::Refused(_)) => refused = Some(head),
            reply => {
                let response = reply?;
                heads.answered(HeadOf::Blob);
                if let Some(length) = length_in(&response, digest) {
                    return Ok(Some(length));
                }
            }
        }
    }
    let length = length_by_first_byte(context, digest).await?;
    if let Some(head) = refused {
        heads.contradicted(HeadOf::Blob, head, now());
    }
    Ok(length)
}

/// The length in the answer to a HEAD, if it is plausible.
fn length_in(head: &Response<Body>, digest: &Digest) -> Option<u64> {
    let length = head.headers().get(CONTENT_LENGTH).filter(|_| head.status() == StatusCode::OK)?;
    length.to_str().ok()?.parse().ok().filter(|length| may_have_length(digest, *length))
}

/// A length of zero is plausible for the empty blob only (P-108).
fn may_have_length(digest: &Digest, length: u64) -> bool {
    length > 0 || digest.is_of_nothing() != Some(false)
}

async fn length_by_first_byte(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Negative> {
    let mut ask = ask_for(context, digest, Method::GET);
    ask.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let length = match context.upstream.read(&ask).await {
        Err(Negative::Unsatisfiable { total }) => Some(total.unwrap_or(0)),
        reply => {
            let response = reply?;
            match (response.status(), ContentRange::parse(response.headers().get(CONTENT_RANGE))) {
                (StatusCode::OK | StatusCode::PARTIAL_CONTENT, Some(ContentRange::Bytes { total, .. })) => total,
                (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => response.body().length(),
                // A 304 to a request without a condition says nothing.
                _ => return Err(Negative::Failed(Failure::Nonsense("status of a blob"))),
            }
        }
    };
    if length.is_some_and(|length| !may_have_length(digest, length)) {
        return Err(Negative::Failed(Failure::DigestMismatch));
    }
    Ok(length)
}

/// The length in bytes, or the error to answer with.
pub(super) async fn known_length(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Error> {
    length_of(context, digest).await.map_err(|negative| negative.into_error(blob_unknown))
}

/// Has the upstream confirm to this client that it has the blob. Returns the blob's length.
pub(super) async fn confirm(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    begin_asking(context, cache, digest)?;
    ask_length(context, cache, digest).await.map_err(|negative| negative.into_error(blob_unknown))
}

/// Asks the upstream for the length, and records whether this client may have the blob.
pub(super) async fn ask_length(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<Option<u64>, Negative> {
    match length_of(context, digest).await {
        Ok(length) => {
            context.claimed(cache, digest).await;
            Ok(length)
        }
        Err(negative) => {
            context.denied(cache, &negative, digest.as_str());
            Err(negative)
        }
    }
}

/// The length of a blob whose answer is chunked, and does not say it (RFC 9112 section 7.1): the store needs it
/// beforehand. It comes from a manifest of this repository, or else from a HEAD. `None`: neither says it in time.
pub(super) async fn length_beforehand(
    context: &RequestContext<'_>,
    cache: &Cache,
    digest: &Digest,
) -> Option<u64> {
    if let Some(length) = cache.metadata.described_length(&context.provenance(), digest) {
        return Some(length);
    }
    let asked = within(&*context.env.platform.clock, LENGTH_TIME, length_of(context, digest)).await;
    asked.ok()?.ok().flatten().filter(|length| *length > 0)
}
