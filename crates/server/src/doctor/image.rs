//! Pulls the beginning of an image as a client would, through a proxy within this process and without its cache: login,
//! token, redirect and storage host are those of a real pull.

use http::{HeaderMap, Request};
use registry_proxy_core::config::{Auth, QuotaConfig, Redirects, StoreAddress};
use registry_proxy_core::headers::X_REGISTRY_PROXY;
use registry_proxy_core::media::ACCEPT_EVERY_MANIFEST;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::{Body, Config, Cx, Proxy};
use serde_json::Value;

use super::finding::Finding;
use crate::assemble;

/// Of a manifest or a config.
const MOST_BYTES: u64 = 8 << 20;

/// Whether this image can be pulled.
pub(crate) async fn finding(config: &Config, image: &str) -> Finding {
    let subject = format!("image {image}");
    match pull(config, image).await {
        Ok(what) => Finding::ok(subject, what),
        Err((what, next)) => Finding::error(subject, what, next),
    }
}

type Stopped = (String, String);

async fn pull(config: &Config, image: &str) -> Result<String, Stopped> {
    let mut config = config.clone();
    // Whoever runs this may read the configuration, and so is no client.
    config.clients.auth = Auth::Open;
    config.clients.path_secret = None;
    config.cache.store = StoreAddress::None;
    config.quota = QuotaConfig::default();
    // The storage is to be reached from here, wherever clients are sent.
    config.upstream.iter_mut().for_each(|upstream| upstream.redirects = Redirects::Follow);
    let wrong = |error: registry_proxy_core::config::ConfigError| {
        (error.to_string(), "run registry-proxy check".to_owned())
    };
    let proxy = assemble::proxy(&config, None, Notifications::default()).map_err(wrong)?;
    let explanation = proxy.explain(&config, image).await;
    let Some(route) = explanation.route else {
        let advice = explanation.pull.advice.unwrap_or_default();
        return Err((explanation.pull.why, advice));
    };
    // With REGISTRY_BACKEND no part of a name is read as a registry.
    let is_backend = config.upstream.iter().any(|upstream| upstream.backend.is_some());
    let registry = if is_backend { String::new() } else { format!("/{}", route.upstream) };
    let name = format!("/v2{registry}/{}", route.repository);
    let mut asked = Pull { proxy: &proxy, requests: 0 };
    let mut manifest = asked.manifest(&format!("{name}/manifests/{}", route.reference)).await?;
    if let Some(digest) = digest(&manifest["manifests"][0]) {
        manifest = asked.manifest(&format!("{name}/manifests/{digest}")).await?;
    }
    let Some(digest) = digest(&manifest["config"]) else {
        return Ok("its manifest came; it names no config".to_owned());
    };
    let (_, bytes) = asked.get(&format!("{name}/blobs/{digest}"), "its config").await?;
    Ok(format!(
        "manifest and config came ({} bytes), so that its token server and storage are reached",
        bytes.len()
    ))
}

fn digest(descriptor: &Value) -> Option<&str> {
    descriptor["digest"].as_str().filter(|digest| digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':'))
}

struct Pull<'a> {
    proxy: &'a Proxy,
    requests: u64,
}

impl Pull<'_> {
    async fn manifest(&mut self, path: &str) -> Result<Value, Stopped> {
        let (_, bytes) = self.get(path, "its manifest").await?;
        let wrong = |_| ("its manifest is no JSON".to_owned(), "pull it by hand, and report it".to_owned());
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    async fn get(&mut self, path: &str, what: &str) -> Result<(HeaderMap, bytes::Bytes), Stopped> {
        self.requests += 1;
        let cx = Cx { peer: None, introduced: None, is_tls: false, id: self.requests };
        let request = Request::get(path)
            .header(http::header::HOST, "localhost")
            .header(http::header::ACCEPT, ACCEPT_EVERY_MANIFEST);
        let wrong = |error: http::Error| (error.to_string(), "check the image's name".to_owned());
        let response = self.proxy.handle(&cx, request.body(Body::Empty).map_err(wrong)?).await;
        let (parts, body) = response.into_parts();
        let broken = |_| (format!("{what} broke off"), "try again; look for limits of size on the way".to_owned());
        let bytes = body.collect(MOST_BYTES).await.map_err(broken)?;
        if parts.status.is_success() {
            return Ok((parts.headers, bytes));
        }
        let why = parts.headers.get(X_REGISTRY_PROXY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let errors: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = errors["errors"][0]["message"].as_str().unwrap_or_default();
        Err((
            format!("{what}: {} ({why}) {message}", parts.status.as_u16()),
            cure(parts.status.as_u16()).to_owned(),
        ))
    }
}

fn cure(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "check username and password_file of the upstream, and whether that account may read the image"
        }
        404 => "check the image's name; registry-proxy explain IMAGE says where it is looked for",
        429 => "wait, or set username and password_file of an account with a higher limit",
        _ => {
            "allow the host that the message means in the network, or go out by a proxy (upstream.proxy); \
              [log] level = \"debug\" names it"
        }
    }
}
