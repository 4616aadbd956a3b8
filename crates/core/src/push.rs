//! Pushes and deletions, passed through (P-128 … P-139). An upload session lives at the upstream; its address goes to
//! the client sealed into one parameter, so that any replica can take up any request of it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use crate::body::{Body, BodyError};
use crate::cache::Key;
use crate::digest::Digest;
use crate::error::Error;
use crate::headers::{self, DOCKER_CONTENT_DIGEST, OCI_CHUNK_MIN_LENGTH, OCI_SUBJECT, OCI_TAG, UPLOAD_UUID};
use crate::name::Reference;
use crate::platform::{Purpose, within};
use crate::route::{Endpoint, Routes, parameter};
use crate::seal;
use crate::upstream::{Actions, Ask, Asked, Failure, Payload, Reply};
use crate::visit::{Answer, Visit};

/// The parameter that carries a sealed session.
const SESSION: &str = "_s";
/// How long a session can be taken up again.
const SESSION_SECONDS: u64 = 24 * 3600;

/// An upload session at the upstream.
#[derive(Serialize, Deserialize)]
struct Session {
    upstream: String,
    name: String,
    url: Url,
    expires: u64,
}

/// Passes a write through, if this upstream takes any.
pub(crate) async fn write(visit: &Visit<'_>, routes: &Routes, body: Body) -> Result<Answer, Error> {
    // Mirrors by `ns` never take pushes: no client means them to (P-128).
    if !visit.upstream.push_enabled() || visit.place.namespace.is_some() {
        return Err(Error::PushDisabled);
    }
    match (&visit.head.method, &visit.place.endpoint) {
        (&Method::POST, Endpoint::Uploads) => start(visit, routes, body).await,
        (&Method::PATCH | &Method::PUT | &Method::GET | &Method::DELETE, Endpoint::Upload) => {
            resume(visit, body).await
        }
        (&Method::PUT, Endpoint::Manifest(reference)) => put_manifest(visit, reference, body).await,
        (&Method::DELETE, Endpoint::Manifest(reference)) => {
            let answer = delete(visit, format!("manifests/{}", reference.as_str())).await?;
            forget(visit, reference).await;
            Ok(answer)
        }
        (&Method::DELETE, Endpoint::Blob(digest)) => {
            let answer = delete(visit, format!("blobs/{digest}")).await?;
            forget(visit, &Reference::Digest(digest.clone())).await;
            Ok(answer)
        }
        _ => Err(Error::MethodNotAllowed),
    }
}

/// `POST blobs/uploads/`: a session, a whole blob at once, or a mount from another repository.
async fn start(visit: &Visit<'_>, routes: &Routes, body: Body) -> Result<Answer, Error> {
    let query = visit.head.uri.query();
    let mut ask = ask_for(visit, Method::POST, "blobs/uploads/".to_owned(), Actions::Push);
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for name in ["digest", "digest-algorithm"] {
        pairs.extend(parameter(query, name).map(|value| (name, value)));
    }
    if let Some(digest) = parameter(query, "digest") {
        Digest::parse(&digest)?;
    }
    if let Some(digest) = parameter(query, "mount") {
        Digest::parse(&digest)?;
        match parameter(query, "from").map(|from| routes.identify_scope(&visit.place.door, &from)) {
            None => pairs.push(("mount", digest)),
            Some(Some((upstream, from))) if upstream == visit.place.upstream && visit.upstream.permits(&from) => {
                pairs.extend([("mount", digest), ("from", from.as_str().to_owned())]);
                ask.mount_from = Some(from);
            }
            // From another registry nothing can be mounted: an upload begins instead (P-134).
            Some(_) => {}
        }
    }
    if !pairs.is_empty() {
        ask.query = Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    let payload = payload_of(visit, body, &mut ask.headers);
    let reply = visit.upstream.write(&ask, payload, None).await;
    respond(visit, reply)
}

/// `PATCH`, `PUT`, `GET`, `DELETE` of a session.
async fn resume(visit: &Visit<'_>, body: Body) -> Result<Answer, Error> {
    let query = visit.head.uri.query();
    let sealed = parameter(query, SESSION).ok_or(Error::UploadUnknown)?;
    let session: Session = visit.sealer.open(seal::Purpose::Upload, &sealed).ok_or(Error::UploadUnknown)?;
    let is_ours = session.upstream == visit.upstream.name() && session.name == visit.place.name.as_str();
    if !is_ours || visit.platform.clock.unix_seconds() >= session.expires {
        return Err(Error::UploadUnknown);
    }
    let mut url = session.url;
    if let Some(digest) = parameter(query, "digest") {
        Digest::parse(&digest)?;
        // Behind the registry's own query, of which no byte changes.
        let own =
            url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&")).unwrap_or_default();
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair("digest", &digest).finish();
        url.set_query(Some(&format!("{own}{pair}")));
    }
    let mut ask = ask_for(visit, visit.head.method.clone(), String::new(), Actions::Push);
    headers::copy(&visit.head.headers, &mut ask.headers, &[CONTENT_TYPE, CONTENT_RANGE]);
    let payload = payload_of(visit, body, &mut ask.headers);
    let reply = visit.upstream.write(&ask, payload, Some(&url)).await;
    respond(visit, reply)
}

async fn put_manifest(visit: &Visit<'_>, reference: &Reference, body: Body) -> Result<Answer, Error> {
    let limit_bytes = visit.bounds.manifest.0;
    let bytes: Bytes = match within(&*visit.platform.clock, visit.timeouts.head.0, body.collect(limit_bytes)).await
    {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(BodyError::TooLarge { limit_bytes })) => return Err(Error::TooLarge { limit_bytes }),
        Ok(Err(_)) | Err(_) => return Err(Error::ClientBody),
    };
    let mut ask = ask_for(visit, Method::PUT, format!("manifests/{}", reference.as_str()), Actions::Push);
    headers::copy(&visit.head.headers, &mut ask.headers, &[CONTENT_TYPE]);
    ask.query = parameter(visit.head.uri.query(), "tag")
        .map(|tag| form_urlencoded::Serializer::new(String::new()).append_pair("tag", &tag).finish());
    let reply = visit.upstream.write(&ask, Payload::Bytes(bytes), None).await;
    let answer = respond(visit, reply)?;
    forget(visit, reference).await;
    Ok(answer)
}

/// What was known of this before is over.
async fn forget(visit: &Visit<'_>, reference: &Reference) {
    let Some(cache) = visit.cache else { return };
    let (upstream, repository) = (visit.upstream.name(), &visit.place.name);
    cache.clear_absent();
    match reference {
        Reference::Tag(tag) => cache.forget(&Key::tag(upstream, repository, tag.as_str())).await,
        Reference::Digest(digest) => cache.forget(&Key::link(upstream, repository, digest)).await,
    }
}

async fn delete(visit: &Visit<'_>, endpoint: String) -> Result<Answer, Error> {
    let ask = ask_for(visit, Method::DELETE, endpoint, Actions::Delete);
    let reply = visit.upstream.write(&ask, Payload::None, None).await;
    respond(visit, reply)
}

fn ask_for(visit: &Visit<'_>, method: Method, endpoint: String, actions: Actions) -> Ask {
    let mut ask = visit.ask(method, endpoint, Purpose::Blob);
    ask.actions = actions;
    ask
}

/// The body as it comes, with its length where the client gave one (P-133).
fn payload_of(visit: &Visit<'_>, body: Body, headers: &mut HeaderMap) -> Payload {
    match body {
        Body::Empty => {
            // POST and PUT without a body say so, or registries wait for one.
            if visit.head.method != Method::GET && visit.head.method != Method::DELETE {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Payload::None
        }
        Body::Full(bytes) => Payload::Bytes(bytes),
        stream @ Body::Stream(_) => Payload::Stream(stream),
    }
}

/// The upstream's answer, its `Location` leading back to us.
fn respond(visit: &Visit<'_>, reply: Reply) -> Result<Answer, Error> {
    let upstream = reply.or_error(Error::NotFound)?;
    let (head, body) = upstream.into_parts();
    // ECR answers a PATCH with 201, which some clients do not take (P-132).
    let status = match (&visit.head.method, head.status) {
        (&Method::PATCH, StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT) => StatusCode::ACCEPTED,
        (_, status) => status,
    };
    drop(body);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers::copy(
        &head.headers,
        headers,
        &[RANGE, UPLOAD_UUID, DOCKER_CONTENT_DIGEST, OCI_CHUNK_MIN_LENGTH, OCI_SUBJECT, OCI_TAG],
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(location) = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()) {
        let location = location_of(visit, status, location, &head.headers, head.extensions.get())?;
        headers.extend(HeaderValue::try_from(location).ok().map(|value| (LOCATION, value)));
    }
    Ok(Answer::relayed(response))
}

/// Root-relative, by the way the client came: what any client resolves, on the host it speaks to (P-129, P-131).
fn location_of(
    visit: &Visit<'_>,
    status: StatusCode,
    location: &str,
    upstream: &HeaderMap,
    asked: Option<&Asked>,
) -> Result<String, Error> {
    let path = &visit.place.client_path;
    if status == StatusCode::CREATED {
        // What has come into being, named by us and not by the upstream.
        let digest = upstream.get(DOCKER_CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        let digest = digest.map(str::to_owned).or_else(|| parameter(visit.head.uri.query(), "digest"));
        let digest = digest.or_else(|| parameter(visit.head.uri.query(), "mount"));
        return Ok(match (&visit.place.endpoint, digest) {
            (Endpoint::Manifest(reference), None) => format!("{path}/manifests/{}", reference.as_str()),
            (Endpoint::Manifest(_), Some(digest)) => format!("{path}/manifests/{digest}"),
            (_, Some(digest)) => format!("{path}/blobs/{digest}"),
            (_, None) => path.clone(),
        });
    }
    let url = asked.and_then(|Asked(url)| url.join(location).ok());
    let url = url.ok_or(Error::Upstream(Failure::Nonsense("Location")))?;
    let session = Session {
        upstream: visit.upstream.name().to_owned(),
        name: visit.place.name.as_str().to_owned(),
        url,
        expires: visit.platform.clock.unix_seconds().saturating_add(SESSION_SECONDS),
    };
    let id = upstream
        .get(UPLOAD_UUID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    let sealed = visit.sealer.seal(seal::Purpose::Upload, &session);
    Ok(format!("{path}/blobs/uploads/{}?{SESSION}={sealed}", id.unwrap_or("session")))
}
