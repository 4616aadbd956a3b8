//! GET and HEAD of a blob: byte for byte, ranges included, never held. From the cache, from what is arriving there, or
//! relayed.

mod cached;
mod chunked;
mod fetched;
mod hit;
mod offload;
mod ranged;
mod redirect;
mod unshared;
mod window;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderValue, Method, Response, StatusCode};

use self::redirect::{redirect, sealed_target};
use self::window::{ServedRange, accept};
use crate::body::Body;
use crate::cache::Cache;
use crate::config::Redirects;
use crate::digest::Digest;
use crate::error::{Absence, Error};
use crate::headers::{self, describe_blob, describe_content};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::Purpose;
use crate::range::{ContentRange, RangeRequest};
use crate::relay::{Relay, Source, begun};
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Ask, AskFirst, Failure, HeadOf, Negative, Redirected, Reply, UpstreamText};

/// Answers for a blob.
pub(crate) async fn get(context: &RequestContext<'_>, digest: &Digest) -> Result<HandlerResponse, Error> {
    let is_known = headers::is_known_to_client(&context.head.headers, digest);
    // What the client is to fetch from elsewhere is not fetched here, and what cannot be verified is not kept.
    let target = sealed_target(context, digest)?;
    let cache = cache_for(context).filter(|_| target.is_none() && digest.is_computable());
    if cache.is_none() {
        context.waiting.begin()?;
    }
    if context.is_head() || is_known {
        let (length, outcome) = match cache {
            Some(cache) => cached::length(context, cache, digest).await?,
            None => (known_length(context, digest).await?, passed_on(context)),
        };
        let is_verified = is_verified(outcome, true);
        let mut response = Response::new(Body::Empty);
        describe_content(response.headers_mut(), digest, context.env.settings.is_open, is_verified);
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
                Some(cache) => cached::length(context, cache, digest).await?.0,
                None => known_length(context, digest).await?,
            };
            return Err(Error::RangeNotSatisfiable { total: total.unwrap_or(0) });
        }
    };
    if target.is_none()
        && let Some(answer) = offload::get(context, cache, digest, wanted).await?
    {
        return Ok(answer);
    }
    match (cache, wanted) {
        (Some(cache), None) => cached::whole(context, cache, digest).await,
        (Some(cache), Some(spec)) => cached::range(context, cache, digest, spec).await,
        (None, wanted) => {
            let mut ask = ask_for(context, digest, Method::GET);
            ask.headers.extend(wanted.map(|spec| (RANGE, spec.to_header())));
            let reply = match target {
                Some(link) => context.upstream.fetch_target(&link, &ask).await,
                None => match context.upstream.read_blob(&ask).await {
                    Redirected::Reply(reply) => reply,
                    Redirected::To(link) => return Ok(redirect(context, digest, &link)),
                },
            };
            let (window, response) = accept(context, digest, wanted, reply.found()).await?;
            relay(context, digest, ask, window, response).await
        }
    }
}

/// What keeps blobs: nothing, where the client may be sent elsewhere for them.
pub(crate) fn cache_for<'a>(context: &RequestContext<'a>) -> Option<&'a Arc<Cache>> {
    context.cache().filter(|_| context.upstream.redirects() == Redirects::Follow)
}

/// Passed on, and why it is not kept.
fn passed_on(context: &RequestContext<'_>) -> Outcome {
    match (context.cache(), cache_for(context)) {
        (None, _) => Outcome::relayed(),
        (Some(_), None) => Outcome::new(Action::Relayed, Reason::LeftToClient),
        (Some(_), Some(_)) => Outcome::new(Action::Relayed, Reason::Unkeepable),
    }
}

/// What a 404 means here: the blob is unknown, or the whole repository (P-22).
fn blob_unknown(text: UpstreamText) -> Error {
    if text.code() == Some("NAME_UNKNOWN") { Error::NotFound(text) } else { Error::BlobUnknown(Absence::Upstream) }
}

/// `If-Range` that names another representation turns a range into a request for the whole (P-103).
fn wanted_range(context: &RequestContext<'_>, digest: &Digest) -> RangeRequest {
    let headers = &context.head.headers;
    let still_same = headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == format!("\"{digest}\"").as_bytes());
    if still_same { RangeRequest::parse(headers.get(RANGE)) } else { RangeRequest::Whole }
}

fn ask_for(context: &RequestContext<'_>, digest: &Digest, method: Method) -> Ask {
    context.ask(method, format!("blobs/{digest}"), Purpose::Blob)
}

/// The length in bytes, by HEAD, and where that does not say it by the first byte (P-95, P-96). What HEAD refuses, GET may
/// give: only its refusal is believed (P-146).
async fn length_of(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Negative> {
    let (heads, now) = (context.upstream.heads(), || context.env.platform.clock.now());
    let mut refused = None;
    if heads.ask_first(HeadOf::Blob, now()) == AskFirst::Head {
        let head = heads.asked(HeadOf::Blob);
        match context.upstream.read(&ask_for(context, digest, Method::HEAD)).await {
            // Some registries know no HEAD; none knows no GET.
            Reply::Declined(..) | Reply::Failed(Failure::Status(StatusCode::NOT_IMPLEMENTED)) => {}
            Reply::Missing(_) | Reply::Refused(_) => refused = Some(head),
            reply => {
                let response = reply.found()?;
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

/// The length that the answer to a HEAD says, if it can be believed.
fn length_in(head: &Response<Body>, digest: &Digest) -> Option<u64> {
    let length = head.headers().get(CONTENT_LENGTH).filter(|_| head.status() == StatusCode::OK)?;
    length.to_str().ok()?.parse().ok().filter(|length| may_have_length(digest, *length))
}

/// A length of nothing is believed of the empty blob only (P-108).
fn may_have_length(digest: &Digest, length: u64) -> bool {
    length > 0 || digest.is_of_nothing() != Some(false)
}

async fn length_by_first_byte(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Negative> {
    let mut ask = ask_for(context, digest, Method::GET);
    ask.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let length = match context.upstream.read(&ask).await {
        Reply::Unsatisfiable { total } => Some(total.unwrap_or(0)),
        reply => {
            let response = reply.found()?;
            match (response.status(), ContentRange::parse(response.headers().get(CONTENT_RANGE))) {
                (StatusCode::OK | StatusCode::PARTIAL_CONTENT, Some(ContentRange::Bytes { total, .. })) => total,
                (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => response.body().length(),
                // A 304 to a question without a condition shows nothing.
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
async fn known_length(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<u64>, Error> {
    length_of(context, digest).await.map_err(|negative| negative.into_error(blob_unknown))
}

/// Where the bytes come from again if they break off. `total`: length of the blob, where it is known.
fn source_of(context: &RequestContext<'_>, ask: Ask, total: Option<u64>) -> Source {
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

/// The bytes as they come from the upstream.
async fn relay(
    context: &RequestContext<'_>,
    digest: &Digest,
    ask: Ask,
    window: ServedRange,
    response: Response<Body>,
) -> Result<HandlerResponse, Error> {
    let length = window.range.map(|range| range.length());
    if window.skip == 0 && matches!(response.body(), Body::Native(_)) && response.body().length() == length {
        // The platform passes it on by itself: there is nobody between who could take it up again where it breaks.
        return deliver(context, digest, &window, response.into_body(), passed_on(context)).await;
    }
    let (first, end) = window.range.map_or((0, None), |range| (range.first, Some(range.end)));
    let source = source_of(context, ask, window.range.map(|range| range.total));
    let relay = Relay::new(source, response.into_body(), window.skip, first, end);
    let body = Body::stream(relay, length);
    deliver(context, digest, &window, body, passed_on(context)).await
}

/// The answer, once its first bytes are in hand: before that a client can still go elsewhere (P-112).
async fn deliver(
    context: &RequestContext<'_>,
    digest: &Digest,
    window: &ServedRange,
    body: Body,
    outcome: Outcome,
) -> Result<HandlerResponse, Error> {
    let body = begun(&*context.env.platform.clock, context.env.settings.timeouts.head.0, body)
        .await
        .map_err(Error::Upstream)?;
    if body.length() == Some(0) && digest.is_of_nothing() == Some(false) {
        // Chunked, so that only now it is known that nothing comes (P-108).
        return Err(Error::Upstream(Failure::DigestMismatch));
    }
    Ok(answer(context, digest, window, body, outcome))
}

/// Whether what the client gets has its digest, or ends short: others may keep it for ever then (P-94). What is passed
/// on, and parts of what is arriving, nobody has verified; nor what a HEAD says of them.
fn is_verified(outcome: Outcome, is_part: bool) -> bool {
    match outcome.action {
        Action::Hit | Action::Revalidated | Action::Stale => true,
        Action::Filled | Action::Joined => !is_part,
        Action::Relayed
        | Action::Redirected
        | Action::Answered
        | Action::Refused
        | Action::Failed
        | Action::Abandoned => false,
    }
}

/// The answer with a body whose first bytes are in hand.
fn answer(
    context: &RequestContext<'_>,
    digest: &Digest,
    window: &ServedRange,
    body: Body,
    outcome: Outcome,
) -> HandlerResponse {
    let length = body.length();
    let mut response = Response::new(body);
    describe_content(
        response.headers_mut(),
        digest,
        context.env.settings.is_open,
        is_verified(outcome, window.is_partial),
    );
    describe_blob(response.headers_mut(), length);
    if let (true, Some(range)) = (window.is_partial, window.range) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_RANGE, range.to_content_range());
    }
    HandlerResponse { response, outcome }
}
