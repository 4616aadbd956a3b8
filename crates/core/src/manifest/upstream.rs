//! Asking a registry for a manifest, and verifying what it sends.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::signed;
use crate::body::{Body, BodyError};
use crate::coding;
use crate::digest::Digest;
use crate::error::{Absence, Error, Failure, UpstreamText};
use crate::headers::{self, DOCKER_CONTENT_DIGEST, DigestHeaders};
use crate::manifest_types::ManifestTypes;
use crate::media;
use crate::name::Reference;
use crate::platform::{RequestPurpose, within};
use crate::request::RequestContext;
use crate::shared_requests::{HeadAnswer, Manifest};
use crate::upstream::{Ask, AskFirst, HeadOf, Negative};

/// A body that breaks is asked for once more.
const TRIES: usize = 2;

/// Asks the upstream: by HEAD first where the client wants no bytes.
pub(super) async fn find(
    context: &RequestContext<'_>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<Manifest, Negative> {
    if !context.is_head() {
        return fetch(context, reference, accept).await;
    }
    match look(context, reference, accept).await? {
        HeadAnswer::Described(manifest) => Ok(manifest),
        look @ (HeadAnswer::Found | HeadAnswer::Declined | HeadAnswer::Unproven(_)) => {
            let found = fetch(context, reference, accept).await?;
            contradict_head(context, &look);
            Ok(found)
        }
    }
}

/// Asks by HEAD, unless this registry refuses to HEAD what it gives to GET.
pub(super) async fn look(
    context: &RequestContext<'_>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<HeadAnswer, Negative> {
    let heads = context.upstream.heads();
    match heads.ask_first(HeadOf::Manifest, context.env.platform.clock.now()) {
        AskFirst::Get => return Ok(HeadAnswer::Unproven(None)),
        AskFirst::Head => {}
    }
    let head = heads.asked(HeadOf::Manifest);
    match context.upstream.read(&ask_for(context, Method::HEAD, reference, accept)).await {
        Ok(response) => {
            heads.answered(HeadOf::Manifest);
            Ok(described(&response, reference).map_or(HeadAnswer::Found, HeadAnswer::Described))
        }
        Err(Negative::Declined(..) | Negative::Failed(Failure::Status(StatusCode::NOT_IMPLEMENTED))) => {
            Ok(HeadAnswer::Declined)
        }
        Err(no @ (Negative::Missing(_) | Negative::Refused(_))) => Ok(HeadAnswer::Unproven(Some((head, no)))),
        Err(negative) => Err(negative),
    }
}

/// A GET has given the manifest that a HEAD before it was refused.
pub(super) fn contradict_head(context: &RequestContext<'_>, answer: &HeadAnswer) {
    if let HeadAnswer::Unproven(Some((head, _))) = answer {
        context.upstream.heads().contradicted(HeadOf::Manifest, *head, context.env.platform.clock.now());
    }
}

/// Asks by GET.
pub(super) async fn fetch(
    context: &RequestContext<'_>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<Manifest, Negative> {
    read(context, &ask_for(context, Method::GET, reference, accept), reference).await
}

fn ask_for(context: &RequestContext<'_>, method: Method, reference: &Reference, accept: &HeaderValue) -> Ask {
    let mut ask = context.ask(method, format!("manifests/{}", reference.as_str()), RequestPurpose::Api);
    ask.headers.insert(ACCEPT, accept.clone());
    ask
}

/// The error for an answer without a manifest. An image's signature is often missing, and some registries then say 401
/// or 403 (P-22, P-23).
pub(super) fn error_of(negative: Negative, reference: &Reference) -> Error {
    let missing = |text: UpstreamText| match text.code() {
        Some("NAME_UNKNOWN") => Error::NotFound(text),
        _ => Error::ManifestUnknown(Absence::Upstream),
    };
    match negative.into_error(missing) {
        Error::Refused(_) if reference.is_attachment() => Error::ManifestUnknown(Absence::Upstream),
        error => error,
    }
}

/// A manifest without its bytes, if the headers say everything else.
fn described(response: &Response<Body>, reference: &Reference) -> Option<Manifest> {
    let headers = response.headers();
    if coding::is_coded(headers) {
        // `Content-Length` counts the coded bytes.
        return None;
    }
    let length = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok().filter(|length| *length > 0)?;
    let media_type = media::manifest_type(headers.get(CONTENT_TYPE)?.to_str().ok()?)?;
    let digest = match reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => named(headers),
    };
    let digest = digest?;
    Some(Manifest {
        media_type,
        named: DigestHeaders::of(&digest).into(),
        digest,
        length,
        bytes: None,
        is_shared_out: false,
        budget: budget_in(headers),
        held: None,
    })
}

async fn read(context: &RequestContext<'_>, ask: &Ask, reference: &Reference) -> Result<Manifest, Negative> {
    let limit_bytes = context.env.settings.limits.manifest.0;
    let mut failure = Failure::Broken;
    for _ in 0..TRIES {
        let response = context.upstream.read(ask).await?;
        if response.status() != StatusCode::OK {
            return Err(Negative::Failed(Failure::Nonsense("status of a manifest")));
        }
        let (head, body) = response.into_parts();
        let promised = body.length();
        let mut arriving = context.env.in_flight.arriving(context.upstream.label());
        let whole = async {
            let bytes = body.collect_for_clients(limit_bytes, &mut arriving).await?;
            let length = bytes.len() as u64;
            match promised.filter(|promised| *promised != length) {
                // The body ended cleanly before its length. By tag nothing else would show that.
                Some(promised) => Err(BodyError::Short { missing_bytes: promised.saturating_sub(length) }),
                None => Ok(coding::decoded(&head.headers, bytes, limit_bytes, &mut arriving).await),
            }
        };
        match within(&*context.env.platform.clock, context.env.settings.timeouts.idle.0, whole).await {
            Ok(Ok(document)) => {
                let document = document.map(|document| arriving.hold(document));
                let types = &context.env.manifest_types;
                let verified = document.and_then(|document| verified(types, &head.headers, document, reference));
                return verified.map_err(Negative::Failed);
            }
            Ok(Err(BodyError::TooLarge { .. })) => return Err(Negative::Failed(Failure::TooLarge)),
            Ok(Err(_)) => failure = Failure::Broken,
            Err(_) => failure = Failure::TimedOut,
        }
    }
    Err(Negative::Failed(failure))
}

/// Verifies the bytes against the digest that was asked for, or that the registry named (P-85); of a signed manifest,
/// the payload that was signed. A manifest that has only its payload's digest is never cached.
fn verified(
    types: &ManifestTypes,
    headers: &HeaderMap,
    bytes: Bytes,
    reference: &Reference,
) -> Result<Manifest, Failure> {
    let expected = match reference {
        Reference::Digest(asked) => Some(asked.clone()),
        Reference::Tag(_) => named(headers),
    };
    let (digest, media_type) = match expected {
        Some(digest) if digest.matches(&bytes) == Some(true) => {
            let media_type = types.of(&digest, &bytes);
            (digest, media_type)
        }
        Some(digest) => {
            let media_type = media::of_manifest(&bytes);
            let is_payloads =
                payload(media_type, &bytes).is_some_and(|payload| digest.matches(&payload) == Some(true));
            if digest.is_computable() && !is_payloads {
                return Err(Failure::DigestMismatch);
            }
            (digest, media_type)
        }
        None => {
            let of_bytes = Digest::sha256(&bytes);
            let media_type = types.of(&of_bytes, &bytes);
            (payload(media_type, &bytes).map_or(of_bytes, |payload| Digest::sha256(&payload)), media_type)
        }
    };
    let media_type = media_type.ok_or(Failure::NoManifest)?;
    let (named, length, budget) = (DigestHeaders::of(&digest).into(), bytes.len() as u64, budget_in(headers));
    Ok(Manifest { media_type, digest, named, length, bytes: Some(bytes), is_shared_out: true, budget, held: None })
}

/// What was signed of a signed manifest.
fn payload(media_type: Option<&str>, bytes: &[u8]) -> Option<Vec<u8>> {
    media_type.filter(|of| media::is_signed(of)).and_then(|_| signed::payload(bytes))
}

/// The digest that the registry names, if this proxy can compute it. Any other digest could not be verified, and the
/// proxy would vouch for it (P-85, P-90).
fn named(headers: &HeaderMap) -> Option<Digest> {
    let named = headers.get(DOCKER_CONTENT_DIGEST).and_then(|value| Digest::parse(value.to_str().ok()?).ok());
    named.filter(Digest::is_computable)
}

fn budget_in(headers: &HeaderMap) -> HeaderMap {
    let mut budget = HeaderMap::new();
    headers::copy(headers, &mut budget, &headers::RATE_LIMITS);
    budget
}
