//! Pushes and deletions, passed through (P-128 … P-139). The upstream holds the upload session. Its address goes to the
//! client sealed into one parameter, so that any replica can handle any request of the session.

mod let_through;
mod outdated;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use self::let_through::let_through;
use self::outdated::Outdated;
use crate::access_rules::Rights;
use crate::body::Body;
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::headers::{self, DOCKER_CONTENT_DIGEST, OCI_CHUNK_MIN_LENGTH, OCI_SUBJECT, OCI_TAG, UPLOAD_UUID};
use crate::name::Reference;
use crate::platform::{RequestPurpose, within};
use crate::request::{HandlerResponse, RequestContext};
use crate::route::{Endpoint, Routes, parameter};
use crate::seal;
use crate::upstream::{Actions, Ask, Payload, WriteOutcome};

/// The parameter that carries a sealed session.
const SESSION: &str = "_s";
/// How long a sealed session stays valid.
const SESSION_SECONDS: u64 = 24 * 3600;

/// Headers of an upload that pass besides `Location`.
const SAID_OF_UPLOADS: [HeaderName; 3] = [RANGE, UPLOAD_UUID, OCI_CHUNK_MIN_LENGTH];

/// An upload session at the upstream.
#[derive(Serialize, Deserialize)]
struct Session {
    upstream: String,
    name: String,
    url: Url,
    expires: u64,
}

/// Passes a write through, if the upstream is configured for pushes.
pub(crate) async fn write(
    context: &RequestContext<'_>,
    routes: &Routes,
    rights: Rights<'_>,
    body: Body,
) -> Result<HandlerResponse, Error> {
    // A request with `ns` is for a mirror, and no client means to push to a mirror (P-128).
    if !context.upstream.push_enabled() || context.target.namespace.is_some() {
        return Err(Error::PushDisabled);
    }
    context.waiting.begin()?;
    match (&context.head.method, &context.target.endpoint) {
        (&Method::POST, Endpoint::Uploads) => start(context, routes, rights, body).await,
        (&Method::PATCH | &Method::PUT | &Method::GET | &Method::DELETE, Endpoint::Upload) => {
            resume(context, body).await
        }
        (&Method::PUT, Endpoint::Manifest(reference)) => put_manifest(context, reference, body).await,
        (&Method::DELETE, Endpoint::Manifest(reference)) => {
            delete(context, format!("manifests/{}", reference.as_str()), reference).await
        }
        (&Method::DELETE, Endpoint::Blob(digest)) => {
            delete(context, format!("blobs/{digest}"), &Reference::Digest(digest.clone())).await
        }
        _ => Err(Error::MethodNotAllowed),
    }
}

/// `POST blobs/uploads/`: a session, a whole blob at once, or a mount from another repository.
async fn start(
    context: &RequestContext<'_>,
    routes: &Routes,
    rights: Rights<'_>,
    body: Body,
) -> Result<HandlerResponse, Error> {
    let query = context.head.uri.query();
    let mut ask = ask_for(context, Method::POST, "blobs/uploads/".to_owned(), Actions::Push);
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for name in ["digest", "digest-algorithm"] {
        pairs.extend(parameter(query, name).map(|value| (name, value)));
    }
    if let Some(digest) = parameter(query, "digest") {
        Digest::parse(&digest)?;
    }
    if let Some(digest) = parameter(query, "mount") {
        Digest::parse(&digest)?;
        match parameter(query, "from").map(|from| routes.identify_scope(&context.target.entry, &from)) {
            // The registry would look for it everywhere, also where this client may not pull.
            None if rights.are_restricted() => {}
            None => pairs.push(("mount", digest)),
            Some(Some((upstream, from)))
                if upstream == context.target.upstream
                    && context.upstream.permits(&from)
                    && rights.pull(context.upstream.name(), &from).is_ok() =>
            {
                pairs.extend([("mount", digest), ("from", from.as_str().to_owned())]);
                ask.mount_from = Some(from);
            }
            // From another registry, or from where the client may not pull, nothing can be mounted: an upload begins instead (P-134).
            Some(_) => {}
        }
    }
    if !pairs.is_empty() {
        ask.query = Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    let payload = payload_of(context, body, &mut ask.headers);
    let outdated = Outdated::by_upload(context);
    let written = context.upstream.write(&ask, payload, None).await;
    outdated.settle(context, &written.reply).await;
    respond(context, written)
}

/// `PATCH`, `PUT`, `GET`, `DELETE` of a session.
async fn resume(context: &RequestContext<'_>, body: Body) -> Result<HandlerResponse, Error> {
    let query = context.head.uri.query();
    let sealed = parameter(query, SESSION).ok_or(Error::UploadUnknown)?;
    let session: Session =
        context.env.sealer.open(seal::SealPurpose::Upload, &sealed).ok_or(Error::UploadUnknown)?;
    let is_ours = session.upstream == context.upstream.name() && session.name == context.target.name.as_str();
    if !is_ours || context.env.platform.clock.unix_seconds() >= session.expires {
        return Err(Error::UploadUnknown);
    }
    let mut url = session.url;
    if let Some(digest) = parameter(query, "digest") {
        Digest::parse(&digest)?;
        // Appended to the registry's own query, of which no byte may change.
        let own =
            url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&")).unwrap_or_default();
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair("digest", &digest).finish();
        url.set_query(Some(&format!("{own}{pair}")));
    }
    let mut ask = ask_for(context, context.head.method.clone(), String::new(), Actions::Push);
    headers::copy(&context.head.headers, &mut ask.headers, &[CONTENT_TYPE, CONTENT_RANGE]);
    let payload = payload_of(context, body, &mut ask.headers);
    let outdated = Outdated::by_upload(context);
    let written = context.upstream.write(&ask, payload, Some(&url)).await;
    outdated.settle(context, &written.reply).await;
    respond(context, written)
}

async fn put_manifest(
    context: &RequestContext<'_>,
    reference: &Reference,
    body: Body,
) -> Result<HandlerResponse, Error> {
    let bytes = whole_manifest(context, body).await?;
    let mut ask = ask_for(context, Method::PUT, format!("manifests/{}", reference.as_str()), Actions::Push);
    headers::copy(&context.head.headers, &mut ask.headers, &[CONTENT_TYPE]);
    // By digest, one push may set several tags.
    let query = context.head.uri.query().unwrap_or_default().as_bytes();
    let tags: Vec<_> = form_urlencoded::parse(query).filter(|(name, _)| name == "tag").collect();
    if !tags.is_empty() {
        ask.query = Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(&tags).finish());
    }
    let also = tags.iter().filter_map(|(_, tag)| Reference::parse(tag).ok());
    let pushed: Vec<Reference> = std::iter::once(reference.clone()).chain(also).collect();
    let digest = match reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(_) => Digest::sha256(&bytes),
    };
    let outdated = Outdated::by_write(context, pushed.iter().cloned());
    let written = context.upstream.write(&ask, Payload::Bytes(bytes), None).await;
    if written.reply.is_ok() {
        let_through(context, &pushed, &digest).await;
    }
    outdated.settle(context, &written.reply).await;
    respond(context, written)
}

/// Reads the whole manifest. It may arrive slowly, as long as each piece comes in time.
async fn whole_manifest(context: &RequestContext<'_>, mut body: Body) -> Result<Bytes, Error> {
    let limit_bytes = context.env.settings.limits.manifest.0;
    let too_large = || Err(Error::ManifestTooLarge { limit_bytes });
    if body.length().is_some_and(|length| length > limit_bytes) {
        return too_large();
    }
    let mut all = BytesMut::new();
    loop {
        match within(&*context.env.platform.clock, context.env.settings.timeouts.idle.0, body.chunk()).await {
            Ok(None) => return Ok(all.freeze()),
            Ok(Some(Ok(piece))) if all.len() as u64 + piece.len() as u64 > limit_bytes => return too_large(),
            Ok(Some(Ok(piece))) => all.extend_from_slice(&piece),
            Ok(Some(Err(_))) | Err(_) => return Err(Error::ClientBody),
        }
    }
}

async fn delete(
    context: &RequestContext<'_>,
    endpoint: String,
    reference: &Reference,
) -> Result<HandlerResponse, Error> {
    let ask = ask_for(context, Method::DELETE, endpoint, Actions::Delete);
    let outdated = Outdated::by_write(context, [reference.clone()]);
    let written = context.upstream.write(&ask, Payload::None, None).await;
    outdated.settle(context, &written.reply).await;
    respond(context, written)
}

fn ask_for(context: &RequestContext<'_>, method: Method, endpoint: String, actions: Actions) -> Ask {
    let mut ask = context.ask(method, endpoint, RequestPurpose::Blob);
    ask.actions = actions;
    ask
}

/// The body as it comes, with its length where the client gave one (P-133).
fn payload_of(context: &RequestContext<'_>, body: Body, headers: &mut HeaderMap) -> Payload {
    match body {
        Body::Empty => {
            // POST and PUT without a body say so, or registries wait for one.
            if context.head.method != Method::GET && context.head.method != Method::DELETE {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Payload::None
        }
        Body::Full(whole) => Payload::Bytes(whole.take()),
        stream @ (Body::Stream(_) | Body::Native(_)) => Payload::Stream(stream),
    }
}

/// The upstream's answer, its `Location` leading back to us.
fn respond(context: &RequestContext<'_>, written: WriteOutcome) -> Result<HandlerResponse, Error> {
    let WriteOutcome { reply, headers: said, asked } = written;
    let upstream = match reply.map_err(|negative| negative.into_error(Error::NotFound)) {
        Ok(upstream) => upstream,
        Err(error @ (Error::NotFound(_) | Error::Declined(..))) => {
            return Ok(refuse(context, &error, &said, asked.as_ref()));
        }
        Err(error) => return Err(error),
    };
    // ECR answers a PATCH with 201, which some clients do not take (P-132).
    let status = match (&context.head.method, upstream.status()) {
        (&Method::PATCH, StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT) => StatusCode::ACCEPTED,
        (_, status) => status,
    };
    drop(upstream);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers::copy(&said, headers, &SAID_OF_UPLOADS);
    headers::copy(&said, headers, &[DOCKER_CONTENT_DIGEST, OCI_SUBJECT]);
    headers::copy_lists(&said, headers, &[OCI_TAG]);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(location) = said.get(LOCATION).and_then(|value| value.to_str().ok()) {
        let location = location_of(context, status, location, &said, asked.as_ref())?;
        headers.extend(HeaderValue::try_from(location).ok().map(|value| (LOCATION, value)));
    }
    Ok(HandlerResponse::relayed(response))
}

/// A refusal, with the headers that say where the upload continues (P-137).
fn refuse(context: &RequestContext<'_>, error: &Error, said: &HeaderMap, asked: Option<&Url>) -> HandlerResponse {
    let mut response = error.to_response(context.upstream.name());
    if matches!(context.target.endpoint, Endpoint::Uploads | Endpoint::Upload) {
        let headers = response.headers_mut();
        headers::copy(said, headers, &SAID_OF_UPLOADS);
        let location = said.get(LOCATION).and_then(|value| value.to_str().ok());
        // An unusable `Location` is left out: the refusal says enough.
        let location =
            location.and_then(|location| session_location(context, location, said, asked).ok()?.try_into().ok());
        headers.extend(location.map(|value: HeaderValue| (LOCATION, value)));
    }
    HandlerResponse { response, outcome: error.outcome() }
}

/// Root-relative, by the way the client came: what any client resolves, on the host it speaks to (P-129, P-131).
fn location_of(
    context: &RequestContext<'_>,
    status: StatusCode,
    location: &str,
    upstream: &HeaderMap,
    asked: Option<&Url>,
) -> Result<String, Error> {
    let path = &context.target.client_path;
    if status == StatusCode::CREATED {
        // The new resource, under our address and not the upstream's.
        let digest = upstream.get(DOCKER_CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        let digest = digest.map(str::to_owned).or_else(|| parameter(context.head.uri.query(), "digest"));
        let digest = digest.or_else(|| parameter(context.head.uri.query(), "mount"));
        return Ok(match (&context.target.endpoint, digest) {
            (Endpoint::Manifest(reference), None) => format!("{path}/manifests/{}", reference.as_str()),
            (Endpoint::Manifest(_), Some(digest)) => format!("{path}/manifests/{digest}"),
            (_, Some(digest)) => format!("{path}/blobs/{digest}"),
            (_, None) => path.clone(),
        });
    }
    session_location(context, location, upstream, asked)
}

/// An upload session of the upstream, sealed into an address of ours.
fn session_location(
    context: &RequestContext<'_>,
    location: &str,
    upstream: &HeaderMap,
    asked: Option<&Url>,
) -> Result<String, Error> {
    let path = &context.target.client_path;
    let url = asked.and_then(|asked| asked.join(location).ok());
    let url = url.ok_or(Error::Upstream(Failure::Nonsense("Location")))?;
    let session = Session {
        upstream: context.upstream.name().to_owned(),
        name: context.target.name.as_str().to_owned(),
        url,
        expires: context.env.platform.clock.unix_seconds().saturating_add(SESSION_SECONDS),
    };
    let id = upstream
        .get(UPLOAD_UUID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    let sealed = context.env.sealer.seal(seal::SealPurpose::Upload, &session);
    Ok(format!("{path}/blobs/uploads/{}?{SESSION}={sealed}", id.unwrap_or("session")))
}
