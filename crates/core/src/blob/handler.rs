//! The answer to GET and HEAD of a blob.

use http::Method;
use http::header::{IF_RANGE, RANGE};

use super::length::known_length;
use super::redirect::{redirect, sealed_target};
use super::relay::{cache_for, passed_on, relay};
use super::response::is_verified;
use super::upstream::ask_for;
use super::window::accept;
use super::{cached, hit, offload};
use crate::body::Body;
use crate::digest::Digest;
use crate::error::Error;
use crate::headers::{self, DigestHeaders, describe_blob, describe_content};
use crate::range::{RangeRequest, RangeSpec};
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Location, Redirected};

/// Answers for a blob.
pub(crate) async fn get(context: &RequestContext<'_>, digest: &Digest) -> Result<HandlerResponse, Error> {
    let is_known = headers::is_known_to_client(&context.head.headers, digest);
    // Neither the target of a redirect nor a blob that cannot be verified is cached.
    let target = sealed_target(context, digest)?;
    let cache = cache_for(context).filter(|_| target.is_none() && digest.is_computable());
    if cache.is_none() {
        context.waiting.begin()?;
    }
    if context.is_head() || is_known {
        let (length, outcome) = match cache {
            Some(cache) => Box::pin(cached::length(context, cache, digest)).await?,
            None => (Box::pin(known_length(context, digest)).await?, passed_on(context)),
        };
        let is_verified = is_verified(outcome, true);
        let mut response = headers::content_response(Body::Empty);
        describe_content(
            response.headers_mut(),
            &DigestHeaders::of(digest),
            context.env.settings.is_open,
            is_verified,
        );
        describe_blob(response.headers_mut(), length);
        let response = if is_known { headers::not_modified(response) } else { response };
        return Ok(HandlerResponse { response, outcome });
    }
    let wanted = match wanted_range(context, digest) {
        RangeRequest::Whole => None,
        RangeRequest::One(spec) => Some(spec),
        RangeRequest::Many => return Err(Error::SeveralRanges),
        RangeRequest::Inverted => {
            let total = match cache {
                Some(cache) => Box::pin(cached::length(context, cache, digest)).await?.0,
                None => Box::pin(known_length(context, digest)).await?,
            };
            return Err(Error::RangeNotSatisfiable { total: total.unwrap_or(0) });
        }
    };
    if target.is_none()
        && let Some(answer) = offload::get(context, cache, digest, wanted).await?
    {
        return Ok(answer);
    }
    if let Some(cache) = cache
        && let Some(answer) = hit::from_memory(context, cache, digest, wanted).await?
    {
        return Ok(answer);
    }
    // Each future is boxed: the usual answer comes from memory, and would otherwise be made in a future as large as these.
    match (cache, wanted) {
        (Some(cache), None) => Box::pin(cached::whole(context, cache, digest)).await,
        (Some(cache), Some(spec)) => Box::pin(cached::range(context, cache, digest, spec)).await,
        (None, wanted) => Box::pin(uncached(context, digest, wanted, target)).await,
    }
}

/// All of a blob, or a range, where nothing is cached.
async fn uncached(
    context: &RequestContext<'_>,
    digest: &Digest,
    wanted: Option<RangeSpec>,
    target: Option<Location>,
) -> Result<HandlerResponse, Error> {
    let mut ask = ask_for(context, digest, Method::GET);
    ask.headers.extend(wanted.map(|spec| (RANGE, spec.to_header())));
    let reply = match target {
        Some(link) => context.upstream.fetch_target(&link, &ask).await,
        None => match context.upstream.read_blob(&ask).await {
            Redirected::Reply(reply) => reply,
            Redirected::To(link) => return Ok(redirect(context, digest, &link)),
        },
    };
    let (window, response) = accept(context, digest, wanted, reply).await?;
    relay(context, digest, ask, window, response).await
}

/// `If-Range` that names another representation turns a range into a request for the whole (P-103).
fn wanted_range(context: &RequestContext<'_>, digest: &Digest) -> RangeRequest {
    let headers = &context.head.headers;
    let still_same = headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == format!("\"{digest}\"").as_bytes());
    if still_same { RangeRequest::parse(headers.get(RANGE)) } else { RangeRequest::Whole }
}
