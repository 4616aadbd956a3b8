//! With `REGISTRY_BACKEND`: paths outside `/v2/` are fetched from `DEFAULT_BACKEND_HOST`, and from nowhere else. Rewritten
//! redirects lead here: the client comes back with the storage's path and signature.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::body::Body;
use crate::config::Timeouts;
use crate::error::{Error, Failure};
use crate::headers;
use crate::name::RepositoryName;
use crate::platform::{Platform, RequestPurpose};
use crate::range::ContentRange;
use crate::relay::{Relay, Source, begun};
use crate::request::HandlerResponse;
use crate::upstream::{Actions, Ask, Identity, Location, Upstream};

/// Relays a GET or HEAD. Path and query stay the same to the byte; no Authorization is sent.
pub(crate) async fn get(
    upstream: &Arc<Upstream>,
    head: &Parts,
    upstream_headers: HeaderMap,
    platform: &Platform,
    timeouts: &Timeouts,
) -> Result<HandlerResponse, Error> {
    let storage = upstream.storage().ok_or(Error::NoSuchEndpoint)?;
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let link = Location::at(storage, path).map_err(|_| Error::Upstream(Failure::Nonsense("address")))?;
    let mut headers = upstream_headers;
    headers::copy(&head.headers, &mut headers, &[RANGE]);
    let ask = Ask {
        method: head.method.clone(),
        name: RepositoryName::parse("storage")?,
        endpoint: String::new(),
        query: None,
        headers,
        identity: Identity::Client(None),
        actions: Actions::Pull,
        mount_from: None,
        purpose: RequestPurpose::Blob,
        is_continuation: false,
    };
    let reply = upstream.fetch_storage(&link, &ask).await;
    let found = reply.map_err(|negative| negative.into_error(Error::NotFound))?;
    let (found_head, body) = found.into_parts();
    let body = if head.method == Method::HEAD {
        Body::Empty
    } else {
        let length = body.length();
        let (first, end) = match ContentRange::parse(found_head.headers.get(CONTENT_RANGE)) {
            Some(ContentRange::Bytes { first, end, .. }) => (first, Some(end)),
            _ => (0, length),
        };
        let source = Source {
            upstream: Arc::clone(upstream),
            ask,
            clock: Arc::clone(&platform.clock),
            idle: timeouts.idle.0,
            down: timeouts.down.0,
            storage: Some(link),
            total: None,
        };
        let relay = Body::frames(Relay::new(source, body, 0, first, end), length);
        begun(&*platform.clock, timeouts.head.0, relay).await.map_err(Error::Upstream)?
    };
    let mut response = Response::new(body);
    *response.status_mut() = found_head.status;
    let names = [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, ACCEPT_RANGES];
    headers::copy(&found_head.headers, response.headers_mut(), &names);
    // The signature in the address expires, so no cache may keep the answer.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    Ok(HandlerResponse::relayed(response))
}
