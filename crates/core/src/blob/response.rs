//! The answer with a blob's bytes.

use http::StatusCode;
use http::header::CONTENT_RANGE;

use super::window::ServedRange;
use crate::body::Body;
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::headers::{DigestHeaders, content_response, describe_blob, describe_content};
use crate::outcome::{Action, Outcome};
use crate::relay::begun;
use crate::request::{HandlerResponse, RequestContext};

/// The answer, once its first bytes are in hand: before that a client can still go elsewhere (P-112).
pub(super) async fn deliver(
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
        // The answer is chunked: only now it shows that no bytes come (P-108).
        return Err(Error::Upstream(Failure::DigestMismatch));
    }
    Ok(answer(context, digest, window, body, outcome))
}

/// The answer with a body whose first bytes are in hand.
pub(super) fn answer(
    context: &RequestContext<'_>,
    digest: &Digest,
    window: &ServedRange,
    body: Body,
    outcome: Outcome,
) -> HandlerResponse {
    describe(context, &DigestHeaders::of(digest), window, body, outcome)
}

/// The same where the headers of the digest are ready.
pub(super) fn describe(
    context: &RequestContext<'_>,
    named: &DigestHeaders,
    window: &ServedRange,
    body: Body,
    outcome: Outcome,
) -> HandlerResponse {
    let length = body.length();
    let mut response = content_response(body);
    describe_content(
        response.headers_mut(),
        named,
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

/// Whether the body is verified, so that it has its digest or ends short: then other caches may keep it for ever (P-94).
/// Relayed bodies, parts of a blob that is still being fetched, and what a HEAD says of either are not verified.
pub(super) fn is_verified(outcome: Outcome, is_part: bool) -> bool {
    match outcome.action {
        Action::Hit | Action::Revalidated | Action::Stale => true,
        Action::Filled | Action::Joined => !is_part,
        Action::Relayed
        | Action::Held
        | Action::Redirected
        | Action::Answered
        | Action::Refused
        | Action::Failed
        | Action::Abandoned => false,
    }
}
