//! The answer to GET and HEAD of a manifest.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WARNING};

use super::admission::admit;
use super::blocked::learn;
use super::find::{find_any, hold_of};
use crate::body::Body;
use crate::cache::HeldBack;
use crate::error::{Age, Error};
use crate::headers::{self, describe_content};
use crate::name::Reference;
use crate::outcome::Action;
use crate::request::{HandlerResponse, HeldHeader, RequestContext};
use crate::upstream::Identity;

/// The `Warning` of a stale tag (P-87).
const STALE: &str = "299 - \"stale: not confirmed by the registry; the tag may point elsewhere by now\"";

/// Answers for a manifest.
pub(crate) async fn get(context: &RequestContext<'_>, reference: &Reference) -> Result<HandlerResponse, Error> {
    let mut share = None;
    let (manifest, bytes, outcome) = loop {
        let (mut manifest, outcome) = find_any(context, reference).await?;
        if !context.env.blocks.is_empty()
            && let Some(blocked) = context.env.blocks.content(&manifest.digest, manifest.bytes.as_deref())
        {
            learn(context, &manifest, &blocked);
            return Err(Error::Blocked(blocked));
        }
        admit(context, reference, &manifest).await?;
        let bytes = match (manifest.bytes.take().filter(|_| !context.is_head()), manifest.is_shared_out) {
            (Some(bytes), true) => bytes,
            (bytes, _) => break (manifest, bytes, outcome),
        };
        match context.env.in_flight.share_out(context.client_view.client, bytes, share.take()) {
            Ok(bytes) => break (manifest, Some(bytes), outcome),
            Err(wanted) => {
                // Until the client has taken what it was given before, this request holds no bytes of the manifest and no
                // place among those who wait for the upstream.
                context.waiting.end();
                share = Some(context.env.in_flight.share(wanted).await);
            }
        }
    };
    if let (Some(cache), Some(bytes)) = (context.cache(), &bytes) {
        crate::request::invoke::begin_for(context, cache, bytes).await;
    }
    let is_known = headers::is_known_to_client(&context.head.headers, &manifest.digest);
    let mut response = headers::content_response(bytes.map_or(Body::Empty, Body::from));
    let is_immutable = matches!(reference, Reference::Digest(_));
    describe_content(response.headers_mut(), &manifest.named, context.env.settings.is_open, is_immutable);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(manifest.media_type));
    response.headers_mut().insert(CONTENT_LENGTH, manifest.length.into());
    if outcome.action == Action::Stale {
        response.headers_mut().insert(WARNING, HeaderValue::from_static(STALE));
    }
    if let (Some(held), Action::Held) = (manifest.held, outcome.action) {
        let header = held_header(held, context, reference);
        response.extensions_mut().insert(header);
    }
    // Rate-limit headers go to the client that they are about: one with a login of its own, or any client where there is
    // one upstream. On a shared mirror they would be about somebody else (P-121).
    if context.env.settings.is_single || matches!(context.identity, Identity::Client(Some(_))) {
        response.headers_mut().extend(manifest.budget);
    }
    let response = if is_known { headers::not_modified(response) } else { response };
    Ok(HandlerResponse { response, outcome })
}

/// What a client reads of a tag that is held or pinned.
fn held_header(held: HeldBack, context: &RequestContext<'_>, reference: &Reference) -> HeldHeader {
    let text = match held {
        HeldBack::Pinned => "held; reason=\"pinned\"".to_owned(),
        HeldBack::Moved(moved) => {
            let now = context.env.platform.clock.unix_seconds();
            let ago = Age { seconds: now.saturating_sub(moved) };
            let rule = hold_of(context, reference).map(|rule| format!(", held for {}", rule.span));
            format!("held; reason=\"moved {ago} ago{}\"", rule.unwrap_or_default())
        }
    };
    HeldHeader(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("held")))
}
