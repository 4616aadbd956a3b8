//! GET and HEAD of a manifest: its bytes are checked against its digest, and never changed (P-77 … P-90).

mod accept;
mod cached;
mod plan;
mod revalidate;
mod signed;
mod whole;

pub(crate) use self::accept::own_types;
use self::accept::{accept_with, narrow_accept};
pub(crate) use self::cached::may_be_stale;
pub(crate) use self::plan::{CacheLookup, Plan, known};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::{Body, BodyError};
use crate::coding;
use crate::digest::Digest;
use crate::error::{Absence, Error};
use crate::evidence::ClientScope;
use crate::headers::{self, DOCKER_CONTENT_DIGEST, describe_content};
use crate::media;
use crate::name::Reference;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Purpose, within};
use crate::request::{HandlerResponse, RequestContext};
use crate::single_flight::SingleFlight;
use crate::upstream::{Ask, AskFirst, Failure, HeadId, HeadOf, Identity, Negative, Reply, UpstreamText};

/// A body that breaks is asked for once more.
const TRIES: usize = 2;

/// What a stale tag is served with (P-87).
const STALE: &str = "299 - \"stale: not confirmed by the registry; the tag may point elsewhere by now\"";

/// A manifest that can be served: its bytes have the digest it goes by, and its type is known.
#[derive(Clone)]
pub(crate) struct Manifest {
    media_type: &'static str,
    digest: Digest,
    length: u64,
    /// Absent where only its head was asked.
    bytes: Option<Bytes>,
    /// Whether they are of a client's share until it has taken them.
    is_shared_out: bool,
    /// What the registry says of the budget there.
    budget: HeaderMap,
}

/// What a HEAD comes to. What it does not say is taken from a GET: a client that misses it would GET by itself, or fail
/// (P-78).
#[derive(Clone)]
enum HeadAnswer {
    /// All there is to know but the bytes.
    Described(Manifest),
    /// The manifest is there, and this client may have it; the head says too little of it.
    Found,
    /// The registry, or something before it, takes no HEAD, which says nothing of the manifest or of who asks (P-25).
    Declined,
    /// Nothing that can be believed before a GET was asked: it was refused; or HEAD was not asked, as this registry
    /// refuses what it gives (P-146).
    Unproven(Option<(HeadId, Negative)>),
}

impl HeadAnswer {
    /// GET has given the manifest.
    fn is_contradicted(&self, context: &RequestContext<'_>) {
        if let Self::Unproven(Some((head, _))) = self {
            context.upstream.heads().contradicted(HeadOf::Manifest, *head, context.env.platform.clock.now());
        }
    }
}

/// A question that many may have at once: who asks where, and for what.
type RequestKey = (ClientScope, Box<str>);

/// Requests for manifests in progress, which several clients share.
pub(crate) struct SharedRequests {
    looks: SingleFlight<RequestKey, Result<HeadAnswer, Negative>>,
    fetches: SingleFlight<RequestKey, Result<Manifest, Negative>>,
}

impl SharedRequests {
    /// Merged, where requests may wait for each other.
    pub(crate) fn new(shares_io: bool) -> Self {
        Self { looks: SingleFlight::new(shares_io), fetches: SingleFlight::new(shares_io) }
    }
}

/// Answers for a manifest.
pub(crate) async fn get(context: &RequestContext<'_>, reference: &Reference) -> Result<HandlerResponse, Error> {
    let mut share = None;
    let (manifest, bytes, outcome) = loop {
        let (mut manifest, outcome) = find_any(context, reference).await?;
        let bytes = match (manifest.bytes.take().filter(|_| !context.is_head()), manifest.is_shared_out) {
            (Some(bytes), true) => bytes,
            (bytes, _) => break (manifest, bytes, outcome),
        };
        match context.env.in_flight.share_out(context.client_view.client, bytes, share.take()) {
            Ok(bytes) => break (manifest, Some(bytes), outcome),
            Err(wanted) => {
                // Nothing of it is held, and nobody else's place, until the client has taken what it was given before.
                context.waiting.end();
                share = Some(context.env.in_flight.share(wanted).await);
            }
        }
    };
    if let (Some(cache), Some(bytes)) = (context.cache(), &bytes) {
        crate::ingest::begin_for(context, cache, bytes).await;
    }
    let is_known = headers::is_known_to_client(&context.head.headers, &manifest.digest);
    let mut response = Response::new(bytes.map_or(Body::Empty, Body::from));
    let is_immutable = matches!(reference, Reference::Digest(_));
    describe_content(response.headers_mut(), &manifest.digest, context.env.settings.is_open, is_immutable);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(manifest.media_type));
    response.headers_mut().insert(CONTENT_LENGTH, manifest.length.into());
    if outcome.action == Action::Stale {
        response.headers_mut().insert(WARNING, HeaderValue::from_static(STALE));
    }
    // The client's own budget, or that of the only registry there is; on a shared mirror it would be somebody
    // else's (P-121).
    if context.env.settings.is_single || matches!(context.identity, Identity::Client(Some(_))) {
        response.headers_mut().extend(manifest.budget);
    }
    let response = if is_known { headers::not_modified(response) } else { response };
    Ok(HandlerResponse { response, outcome })
}

/// From the cache or from the upstream, in whichever form the client takes.
async fn find_any(context: &RequestContext<'_>, reference: &Reference) -> Result<(Manifest, Outcome), Error> {
    let every = accept_with(&context.head.headers);
    let (manifest, outcome) = if let Some(cache) = context.cache() {
        cached::find_cached(context, cache, reference, &every).await?
    } else {
        context.waiting.begin()?;
        let found = find(context, reference, &every).await.map_err(|no| error_of(no, reference))?;
        (found, Outcome::relayed())
    };
    // By tag, a client that names its types and leaves this one out may get another answer (P-82).
    if let (Reference::Tag(_), Some(narrow)) =
        (reference, narrow_accept(&context.head.headers, manifest.media_type))
        && !context.is_offline()
        && context.waiting.begin().is_ok()
        && let Ok(other) = find(context, reference, &narrow).await
    {
        return Ok((other, Outcome::new(Action::Relayed, Reason::NarrowAccept)));
    }
    Ok((manifest, outcome))
}

/// Asks the upstream.
async fn find(
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
            look.is_contradicted(context);
            Ok(found)
        }
    }
}

/// Asks for the head alone, where this registry's answers to that are worth something.
async fn look(
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
        Reply::Found(response) => {
            heads.answered(HeadOf::Manifest);
            Ok(described(&response, reference).map_or(HeadAnswer::Found, HeadAnswer::Described))
        }
        Reply::Declined(..) | Reply::Failed(Failure::Status(StatusCode::NOT_IMPLEMENTED)) => {
            Ok(HeadAnswer::Declined)
        }
        reply => match reply.found() {
            Ok(_) => Ok(HeadAnswer::Found),
            Err(no @ (Negative::Missing(_) | Negative::Refused(_))) => Ok(HeadAnswer::Unproven(Some((head, no)))),
            Err(negative) => Err(negative),
        },
    }
}

/// Asks for the whole.
async fn fetch(
    context: &RequestContext<'_>,
    reference: &Reference,
    accept: &HeaderValue,
) -> Result<Manifest, Negative> {
    read(context, &ask_for(context, Method::GET, reference, accept), reference).await
}

fn ask_for(context: &RequestContext<'_>, method: Method, reference: &Reference, accept: &HeaderValue) -> Ask {
    let mut ask = context.ask(method, format!("manifests/{}", reference.as_str()), Purpose::Api);
    ask.headers.insert(ACCEPT, accept.clone());
    ask
}

/// The error of an answer that is none of a manifest. Absent signatures are an everyday answer, which some registries
/// give as a refusal (P-22, P-23).
fn error_of(negative: Negative, reference: &Reference) -> Error {
    let missing = |text: UpstreamText| match text.code() {
        Some("NAME_UNKNOWN") => Error::NotFound(text),
        _ => Error::ManifestUnknown(Absence::Upstream),
    };
    match negative.into_error(missing) {
        Error::Refused(_) if reference.is_attachment() => Error::ManifestUnknown(Absence::Upstream),
        error => error,
    }
}

/// A manifest by its head alone, if the head says everything.
fn described(response: &Response<Body>, reference: &Reference) -> Option<Manifest> {
    let headers = response.headers();
    if coding::is_coded(headers) {
        // Its length is of other bytes.
        return None;
    }
    let length = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok().filter(|length| *length > 0)?;
    let media_type = media::manifest_type(headers.get(CONTENT_TYPE)?.to_str().ok()?)?;
    let digest = match reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => named(headers),
    };
    Some(Manifest {
        media_type,
        digest: digest?,
        length,
        bytes: None,
        is_shared_out: false,
        budget: budget_in(headers),
    })
}

async fn read(context: &RequestContext<'_>, ask: &Ask, reference: &Reference) -> Result<Manifest, Negative> {
    let limit_bytes = context.env.settings.limits.manifest.0;
    let mut failure = Failure::Broken;
    for _ in 0..TRIES {
        let response = context.upstream.read(ask).await.found()?;
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
                // Short of its length, and yet ended in order: by tag nothing else would tell.
                Some(promised) => Err(BodyError::Short { missing_bytes: promised.saturating_sub(length) }),
                None => Ok(coding::decoded(&head.headers, bytes, limit_bytes, &mut arriving).await),
            }
        };
        match within(&*context.env.platform.clock, context.env.settings.timeouts.idle.0, whole).await {
            Ok(Ok(document)) => {
                let document = document.map(|document| arriving.hold(document));
                let verified = document.and_then(|document| verified(&head.headers, document, reference));
                return verified.map_err(Negative::Failed);
            }
            Ok(Err(BodyError::TooLarge { .. })) => return Err(Negative::Failed(Failure::TooLarge)),
            Ok(Err(_)) => failure = Failure::Broken,
            Err(_) => failure = Failure::TimedOut,
        }
    }
    Err(Negative::Failed(failure))
}

/// Holds the bytes against the digest that was asked, or that the registry gave (P-85): of signed ones what was signed.
/// What has not its digest as it stands is not kept.
fn verified(headers: &HeaderMap, bytes: Bytes, reference: &Reference) -> Result<Manifest, Failure> {
    let media_type = media::of_manifest(&bytes);
    let payload = media_type.filter(|of| media::is_signed(of)).and_then(|_| signed::payload(&bytes));
    let digest = match (reference, named(headers)) {
        (Reference::Digest(asked), _) => asked.clone(),
        (Reference::Tag(_), Some(named)) => named,
        (Reference::Tag(_), None) => Digest::sha256(payload.as_deref().unwrap_or(&bytes)),
    };
    let is_payloads = payload.is_some_and(|payload| digest.matches(&payload) == Some(true));
    if digest.matches(&bytes) == Some(false) && !is_payloads {
        return Err(Failure::DigestMismatch);
    }
    let media_type = media_type.ok_or(Failure::NoManifest)?;
    let (length, budget) = (bytes.len() as u64, budget_in(headers));
    Ok(Manifest { media_type, digest, length, bytes: Some(bytes), is_shared_out: true, budget })
}

/// The digest that the registry gives, if it can be held against bytes: of any other nobody could say whether it is theirs,
/// and we would vouch for it (P-85, P-90).
fn named(headers: &HeaderMap) -> Option<Digest> {
    let named = headers.get(DOCKER_CONTENT_DIGEST).and_then(|value| Digest::parse(value.to_str().ok()?).ok());
    named.filter(Digest::is_computable)
}

fn budget_in(headers: &HeaderMap) -> HeaderMap {
    let mut budget = HeaderMap::new();
    headers::copy(headers, &mut budget, &headers::RATE_LIMITS);
    budget
}
