//! Which bytes of an upstream's answer go to the client: its headers compared with what was asked for.

use http::Response;
use http::header::CONTENT_RANGE;

use super::length::known_length;
use super::upstream::blob_unknown;
use crate::body::Body;
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::range::{ByteRange, Given, RangeSpec};
use crate::request::RequestContext;
use crate::upstream::Negative;

/// Which bytes of the blob go to the client, and how many bytes of the answer to drop before them.
pub(super) struct ServedRange {
    /// `None`: all of it, of unknown length.
    pub(super) range: Option<ByteRange>,
    pub(super) is_partial: bool,
    pub(super) skip: u64,
}

impl ServedRange {
    pub(super) fn whole(total: u64) -> Self {
        Self { range: Some(ByteRange::whole(total)), is_partial: false, skip: 0 }
    }

    pub(super) fn part(range: ByteRange) -> Self {
        Self { range: Some(range), is_partial: true, skip: 0 }
    }
}

/// Which bytes of the blob an answer gives, by its headers.
pub(super) fn given(response: &Response<Body>) -> Given {
    Given::of(response.status(), response.headers().get(CONTENT_RANGE), response.body().length())
}

/// Compares an answer with what the client wants.
pub(super) async fn accept(
    context: &RequestContext<'_>,
    digest: &Digest,
    wanted: Option<RangeSpec>,
    found: Result<Response<Body>, Negative>,
) -> Result<(ServedRange, Response<Body>), Error> {
    let response = match found {
        Err(Negative::Unsatisfiable { total: None }) => {
            let total = known_length(context, digest).await?.unwrap_or(0);
            return Err(Error::RangeNotSatisfiable { total });
        }
        found => found.map_err(|negative| negative.into_error(blob_unknown))?,
    };
    Ok((window_of(context, digest, wanted, given(&response)).await?, response))
}

/// A part must be the one that the client asked for. A whole blob in place of a range becomes a 206 here, since a
/// resuming client takes nothing else (P-98, P-101).
async fn window_of(
    context: &RequestContext<'_>,
    digest: &Digest,
    wanted: Option<RangeSpec>,
    given: Given,
) -> Result<ServedRange, Error> {
    let nonsense = |what| Err(Error::Upstream(Failure::Nonsense(what)));
    let known_total = async |total: Option<u64>, unknown| match total {
        Some(total) => Ok(total),
        None => known_length(context, digest).await?.ok_or(Error::Upstream(Failure::Nonsense(unknown))),
    };
    match (given, wanted) {
        // An empty 200 for a blob that is not empty is a classic (P-108).
        (Given::Whole { length: Some(0) }, _) if digest.is_of_nothing() == Some(false) => {
            Err(Error::Upstream(Failure::DigestMismatch))
        }
        // Where only the length shows that the body broke off, the client needs it.
        (Given::Whole { length: None }, None) if !context.env.platform.capabilities.breaks_chunked => {
            let described =
                context.cache().and_then(|cache| cache.metadata.described_length(&context.provenance(), digest));
            known_total(described, "a blob of unknown length").await.map(ServedRange::whole)
        }
        (Given::Whole { length }, None) => {
            Ok(ServedRange { range: length.map(ByteRange::whole), is_partial: false, skip: 0 })
        }
        (Given::Whole { length }, Some(spec)) => {
            // A range needs the total length, and a resuming client cannot take a 200 (P-101).
            let total = known_total(length, "a blob of unknown length, and a range of it was asked").await?;
            let range = spec.within(total).ok_or(Error::RangeNotSatisfiable { total })?;
            Ok(ServedRange { range: Some(range), is_partial: true, skip: range.first })
        }
        (Given::Part { first, total, .. }, Some(spec)) => {
            // A total of `*` never goes to a client (P-97).
            let total = known_total(total, "a range of unknown total length").await?;
            match spec.within(total) {
                Some(range) if range.first == first => Ok(ServedRange::part(range)),
                Some(_) => nonsense("another range than was asked for"),
                None => Err(Error::RangeNotSatisfiable { total }),
            }
        }
        (Given::Part { .. }, None) => nonsense("a part, where the whole was asked for"),
        (Given::Unusable, _) => nonsense("status or Content-Range of a blob"),
    }
}
