//! Requests to upstreams, by `fetch`.
//!
//! [`Reach`](registry_proxy_core::platform::Reach) needs no enforcement here: `fetch` runs on Cloudflare's edge, which
//! cannot reach our private networks.

use async_trait::async_trait;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use js_sys::Array;
use js_sys::futures::JsFuture;
use registry_proxy_core::platform::{Outgoing, Transport, TransportError, Unconnected};
use registry_proxy_core::{Body, coding};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::body;
use crate::native::{self, AbortController, Readable};

/// The platform's `fetch`.
pub(crate) struct Fetch;

#[async_trait]
impl Transport for Fetch {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        SendWrapper::new(send(outgoing)).await
    }
}

async fn send(outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
    let (head, body) = outgoing.request.into_parts();
    let method = head.method.as_str().to_owned();
    let abort = AbortOnDrop(Some(AbortController::new()));
    let signal = abort.0.as_ref().map_or(JsValue::UNDEFINED, AbortController::signal);
    let body = body::into_native(body);
    let sent = native::send(&head.uri.to_string(), &method, to_list(&head.headers), body, signal);
    let answered = JsFuture::from(sent).await;
    // `fetch` does not tell the reason.
    let unconnected = |error: JsValue| TransportError::Connect {
        why: Unconnected::Unknown,
        source: native::said(&error).into(),
    };
    let answered = answered.map_err(unconnected)?;
    abort.disarm();
    let broken = |what: &'static str| TransportError::Broken(what.into());
    let answered: Array = answered.unchecked_into();
    let status = native::integer(&answered.get(0)).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| broken("no status"))?;
    let headers = from_list(&answered.get(1).unchecked_into());
    let stream = answered.get(2);
    let body = if stream.is_undefined() || head.method == Method::HEAD {
        Body::Empty
    } else {
        body::from_native(stream.unchecked_into::<Readable>(), length_of(&headers))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The length of the decoded bytes; unknown for a coded body, whose Content-Length counts the coded bytes.
pub(crate) fn length_of(headers: &HeaderMap) -> Option<u64> {
    if coding::is_coded(headers) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Headers as `native.js` expects them.
pub(crate) fn to_list(headers: &HeaderMap) -> Array {
    let list = Array::new();
    for (name, value) in headers {
        // Registries send no headers that are not text.
        if let Ok(value) = value.to_str() {
            list.push(&name.as_str().into());
            list.push(&value.into());
        }
    }
    list
}

/// The reverse.
pub(crate) fn from_list(list: &Array) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in native::pairs(list) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Aborts the request when it is dropped.
struct AbortOnDrop(Option<AbortController>);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = &self.0 {
            controller.abort();
        }
    }
}
