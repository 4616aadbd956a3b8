//! The entry point: Cloudflare calls it with a request, and it returns the response.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use js_sys::futures::future_to_promise;
use js_sys::{Promise, Reflect};
use registry_proxy_core::config::{ConfigError, StoreAddress};
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::platform::{Profile, Store};
use registry_proxy_core::{Body, Config, Cx, Platform, Proxy};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::native;
use crate::runtime::{Crypto, DateClock, OnBehalf, WaitUntil, next_id};
use crate::store::Bucket;
use crate::transport::{Fetch, from_list, length_of, to_list};
use crate::{body, log, settings};

/// Name of the bucket's binding.
const BUCKET: &str = "BLOBS";
/// The platform of images for which a rule names none.
const OWN_PLATFORM: &str = "linux/amd64";
/// Header with the client's address. Cloudflare sets it, and replaces what a client sends under this name.
const CLIENT_ADDRESS: &str = "cf-connecting-ip";

thread_local! {
    /// One proxy per isolate, shared by all requests.
    static PROXY: OnceCell<Result<Rc<Assembled>, ConfigError>> = const { OnceCell::new() };
}

/// A proxy, and what it was made of.
struct Assembled {
    proxy: Proxy,
    config: Config,
}

fn assembled(env: &JsValue) -> Result<Rc<Assembled>, ConfigError> {
    PROXY.with(|cell| cell.get_or_init(|| assemble(env).map(Rc::new)).clone())
}

/// Answers a request.
#[wasm_bindgen]
pub fn fetch(request: JsValue, env: JsValue, context: JsValue) -> Promise {
    let answering = OnBehalf::of(context.unchecked_into(), answer(request, env));
    future_to_promise(async { Ok(answering.await) })
}

/// Fetches the images of `[[warm]]` when a timer of the platform (`triggers.crons`) calls: no request reaches this.
#[wasm_bindgen]
pub fn scheduled(env: JsValue, context: JsValue) -> Promise {
    let warming = OnBehalf::of(context.unchecked_into(), async move {
        match assembled(&env) {
            Ok(it) => {
                let report = it.proxy.warm_by_timer(&it.config, OWN_PLATFORM, it.config.timer.limit.0).await;
                tracing::info!(
                    rules = report.rules,
                    images = report.images,
                    complete = report.complete,
                    is_ended = report.is_ended,
                    "a timer's call was carried out"
                );
            }
            Err(error) => native::say(true, &format!("the configuration is wrong: {error}")),
        }
        JsValue::UNDEFINED
    });
    future_to_promise(async { Ok(warming.await) })
}

async fn answer(request: JsValue, env: JsValue) -> JsValue {
    let parts = native::parts(&request);
    let text = |at| parts.get(at).as_string().unwrap_or_default();
    let headers = from_list(&parts.get(2).unchecked_into());
    let response = match (text(0).parse::<Method>(), text(1).parse::<http::Uri>()) {
        (Ok(method), Ok(uri)) => {
            let stream = parts.get(3);
            let body = if stream.is_undefined() {
                Body::Empty
            } else {
                // Counted on its way, so that a standstill is seen: an upload passes through wasm.
                let length = length_of(&headers);
                Body::stream(body::from_native(stream.unchecked_into(), length), length)
            };
            let mut request = Request::new(body);
            *request.method_mut() = method;
            *request.uri_mut() = uri;
            *request.headers_mut() = headers;
            respond(request, &env).await
        }
        _ => said(StatusCode::BAD_REQUEST, "UNSUPPORTED", "the request's method or address cannot be read"),
    };
    let (head, body) = response.into_parts();
    native::respond(head.status.as_u16(), to_list(&head.headers), body::into_native(body))
}

async fn respond(request: Request<Body>, env: &JsValue) -> Response<Body> {
    // No metrics: the figures of one isolate mean nothing, and Cloudflare counts requests.
    if request.method() == Method::GET && matches!(request.uri().path(), "/healthz" | "/readyz") {
        let mut response = Response::new(Body::from(Bytes::from_static(b"ok\n")));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return response;
    }
    match assembled(env) {
        Ok(it) => it.proxy.handle(&cx(request.headers(), request.uri()), request).await,
        Err(error) => {
            native::say(true, &format!("the configuration is wrong: {error}"));
            // The error may contain internals: only the log gets it.
            let message = "this proxy's configuration is wrong; its log says where";
            said(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
        }
    }
}

fn cx(headers: &HeaderMap, uri: &http::Uri) -> Cx {
    let peer = headers.get(CLIENT_ADDRESS).and_then(|value| value.to_str().ok()?.parse().ok());
    Cx { peer, introduced: None, is_tls: uri.scheme_str() == Some("https"), id: next_id() }
}

/// Builds the proxy from bindings and variables.
fn assemble(env: &JsValue) -> Result<Assembled, ConfigError> {
    std::panic::set_hook(Box::new(|panic| native::panicked(&panic.to_string())));
    let config = settings::load(env)?;
    // After a panic the isolate builds a second proxy: the logger is already set.
    let _ = tracing::subscriber::set_global_default(log::Console(settings::level(&config)?));
    for warning in config.warnings() {
        tracing::warn!(place = warning.place, "{}", warning.what);
    }
    let binding = Reflect::get(env, &BUCKET.into()).unwrap_or(JsValue::UNDEFINED);
    let bucket = (binding.is_object() && config.cache.store != StoreAddress::None)
        .then(|| Arc::new(Bucket::new(binding, config.timeouts.idle.0)) as Arc<dyn Store>);
    if let (None, Some(rule)) = (&bucket, config.cache.first_hold()) {
        return Err(ConfigError {
            place: format!("cache.tags[{rule}].hold"),
            what: "a hold needs a bucket, which remembers where tags pointed; bind an R2 bucket as BLOBS"
                .to_owned(),
        });
    }
    let platform = Platform {
        transport: Arc::new(Fetch),
        clock: Arc::new(DateClock::default()),
        entropy: Arc::new(Crypto),
        passwords: None,
        signers: Vec::new(),
        verdict_services: None,
        token_issuers: None,
        credentials: None,
        login_issuer: None,
        store: bucket,
        invoker: None,
        notifications: Notifications::default(),
        tasks: Arc::new(WaitUntil),
        capabilities: Profile::CloudflareWorkers.capabilities(),
    };
    Ok(Assembled { proxy: Proxy::new(&config, &platform), config })
}

/// An error response before there is a proxy, in the registries' format.
fn said(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let text = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}
