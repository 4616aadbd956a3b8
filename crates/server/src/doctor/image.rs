//! Pulls the beginning of an image as a client would, through a proxy within this process and without its cache: login,
//! token, redirect and storage host are those of a real pull.

use std::time::Instant;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response};
use registry_proxy_core::config::{Auth, ConfigError, QuotaConfig, Redirects, StoreAddress};
use registry_proxy_core::headers::X_REGISTRY_PROXY;
use registry_proxy_core::media::ACCEPT_EVERY_MANIFEST;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::{Body, Config, Cx, Proxy, catalogue};
use serde_json::Value;
use url::Url;

use super::finding::Finding;
use super::upstream::shown;
use crate::assemble;

/// Of a manifest or a config.
const MOST_BYTES: u64 = 8 << 20;

/// Where the blob of an image was found.
struct Pulled {
    bytes: usize,
    /// From where it came, and how quickly.
    storage: String,
}

/// Why an image did not come.
struct Stopped {
    /// The manifest came, and the blob did not.
    is_of_blob: bool,
    what: String,
    next: String,
}

impl Stopped {
    fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { is_of_blob: false, what: what.into(), next: next.into() }
    }
}

/// Pulls images.
pub(crate) struct Puller {
    config: Config,
    /// It follows redirects of blobs: their storage is to be reached from here, wherever clients are sent.
    following: Proxy,
    /// It shows where they lead.
    passing: Proxy,
}

impl Puller {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut config = config.clone();
        // Whoever runs this may read the configuration, and so is no client.
        config.clients.auth = Auth::Open;
        config.clients.path_secret = None;
        config.cache.store = StoreAddress::None;
        config.quota = QuotaConfig::default();
        let mut proxy = |redirects: Redirects| {
            config.upstream.iter_mut().for_each(|upstream| upstream.redirects = redirects);
            assemble::proxy(&config, None, Notifications::default())
        };
        let (passing, following) = (proxy(Redirects::Pass)?, proxy(Redirects::Follow)?);
        Ok(Self { config, following, passing })
    }

    /// Whether this image can be pulled.
    pub(crate) async fn finding(&self, image: &str) -> Finding {
        let subject = format!("image {image}");
        match self.pull(image).await {
            Ok(Pulled { bytes, storage }) => {
                Finding::ok(subject, format!("manifest and config came ({bytes} bytes), the config {storage}"))
            }
            Err(Stopped { what, next, .. }) => Finding::error(subject, what, next),
        }
    }

    /// Where the blobs of a registry are, and whether that is reached, by a small image that everybody may pull there. An image
    /// that is not there any more says nothing of the registry.
    pub(crate) async fn storage(&self, upstream: &str) -> Finding {
        let subject = format!("upstream {upstream}");
        let unseen = |why: &str| Finding {
            next: Some(format!("look at an image of yours: registry-proxy doctor --image {upstream}/IMAGE")),
            ..Finding::ok(&subject, format!("the host of its blobs was not looked at: {why}"))
        };
        let Some(image) = catalogue::find(upstream).and_then(|known| known.small_image) else {
            return unseen("no small public image is known there");
        };
        match self.pull(&format!("{upstream}/{image}")).await {
            Ok(Pulled { storage, .. }) => Finding::ok(&subject, format!("its blobs ({image}) come {storage}")),
            Err(Stopped { is_of_blob: true, what, next }) => {
                Finding::error(&subject, format!("{image}: {what}"), next)
            }
            Err(Stopped { is_of_blob: false, what, .. }) => unseen(&format!("{image}: {what}")),
        }
    }

    async fn pull(&self, image: &str) -> Result<Pulled, Stopped> {
        let explanation = self.following.explain(&self.config, image).await;
        let Some(route) = explanation.route else {
            return Err(Stopped::new(explanation.pull.why, explanation.pull.advice.unwrap_or_default()));
        };
        // With REGISTRY_BACKEND no part of a name is read as a registry.
        let is_backend = self.config.upstream.iter().any(|upstream| upstream.backend.is_some());
        let registry = if is_backend { String::new() } else { format!("/{}", route.upstream) };
        let name = format!("/v2{registry}/{}", route.repository);
        let mut manifest = self.manifest(&format!("{name}/manifests/{}", route.reference)).await?;
        if let Some(digest) = digest(&manifest["manifests"][0]) {
            manifest = self.manifest(&format!("{name}/manifests/{digest}")).await?;
        }
        let Some(digest) = digest(&manifest["config"]) else {
            return Ok(Pulled { bytes: 0, storage: "is not named".to_owned() });
        };
        let blob = format!("{name}/blobs/{digest}");
        let storage = self.target(&blob).await;
        let begun = Instant::now();
        let from = storage.as_deref().unwrap_or("the registry itself");
        let bytes = self.get(&blob, &format!("its config, from {from}")).await;
        let bytes = bytes.map_err(|stopped| Stopped { is_of_blob: true, ..stopped })?;
        Ok(Pulled { bytes: bytes.len(), storage: format!("from {from} in {} ms", begun.elapsed().as_millis()) })
    }

    async fn manifest(&self, path: &str) -> Result<Value, Stopped> {
        let bytes = self.get(path, "its manifest").await?;
        let wrong = |_| Stopped::new("its manifest is no JSON", "pull it by hand, and report it");
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    /// Where the registry sends clients for a blob; `None`: nowhere else, or the next request says why.
    async fn target(&self, path: &str) -> Option<String> {
        let response = ask(&self.passing, path).await.ok()?;
        let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
        Url::parse(location.to_str().ok()?).ok().map(|url| shown(&url))
    }

    async fn get(&self, path: &str, what: &str) -> Result<Bytes, Stopped> {
        let (parts, body) = ask(&self.following, path).await?.into_parts();
        let broken =
            |_| Stopped::new(format!("{what} broke off"), "try again; look for limits of size on the way");
        let bytes = body.collect(MOST_BYTES).await.map_err(broken)?;
        if parts.status.is_success() {
            return Ok(bytes);
        }
        let status = parts.status.as_u16();
        let why = parts.headers.get(X_REGISTRY_PROXY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let errors: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = errors["errors"][0]["message"].as_str().unwrap_or_default();
        Err(Stopped::new(format!("{what}: {status} ({why}) {message}"), cure(status)))
    }
}

async fn ask(proxy: &Proxy, path: &str) -> Result<Response<Body>, Stopped> {
    let request = Request::get(path)
        .header(http::header::HOST, "localhost")
        .header(http::header::ACCEPT, ACCEPT_EVERY_MANIFEST);
    let wrong = |error: http::Error| Stopped::new(error.to_string(), "check the image's name");
    let cx = Cx { peer: None, introduced: None, is_tls: false, id: 0 };
    Ok(proxy.handle(&cx, request.body(Body::Empty).map_err(wrong)?).await)
}

fn digest(descriptor: &Value) -> Option<&str> {
    descriptor["digest"].as_str().filter(|digest| digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':'))
}

fn cure(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "check username and password_file of the upstream, and whether that account may read the image"
        }
        404 => "check the image's name; registry-proxy explain IMAGE says where it is looked for",
        429 => "wait, or set username and password_file of an account with a higher limit",
        _ => {
            "allow the host of the blobs in the network, or go out by a proxy (upstream.proxy); [log] level = \"debug\" \
             names it"
        }
    }
}
