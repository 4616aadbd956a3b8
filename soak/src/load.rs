//! The clients: each pulls one image at a time from one process, checks every byte, and gives up at the first fault.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ACCEPT, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use registry_proxy_outer::digest::{self, Hasher};
use registry_proxy_outer::http::connector;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::content::{self, Content, MANIFEST_TYPE, TagAge};
use crate::dice::{Dice, Popularity};
use crate::journal::{Asked, Journal, Trouble, Wrong};
use crate::timetable::Instance;

/// A pull is five requests: the tag, the manifest, the configuration and two layers.
pub(crate) const REQUESTS_PER_PULL: u32 = 5;

const SEED: u64 = 0x636c_6965_6e74;
/// How long a client waits for one answer, its body included. The slowest disturbance needs 30 s for the largest layer.
const PATIENCE: Duration = Duration::from_mins(2);
/// Connections are kept for less time than the proxy keeps them (2 min), so that neither closes while the other writes.
const KEPT: Duration = Duration::from_mins(1);
/// The longest `tag_ttl` of the configurations, and as much again for a request on its way.
const TAG_AGE: Duration = Duration::from_mins(1);
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// How many clients are tried before a pull is left out.
const TRIES: usize = 20;

/// All clients.
pub(crate) struct Clients {
    each: Vec<Arc<Client>>,
    content: Arc<Content>,
    journal: Arc<Journal>,
    popularity: Popularity,
}

struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Empty<Bytes>>,
    instance: Instance,
    address: SocketAddr,
    is_busy: AtomicBool,
}

/// A request that failed, before it is known when and where.
struct Failed {
    wrong: Wrong,
    detail: String,
}

impl Clients {
    /// So many, spread over the processes.
    pub(crate) fn new(
        count: usize,
        addresses: [SocketAddr; 3],
        content: Arc<Content>,
        images: u32,
        journal: Arc<Journal>,
    ) -> Self {
        let clients = Instance::ALL.into_iter().zip(addresses).cycle().take(count);
        let clients = clients.map(|(instance, address)| {
            let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(KEPT)
                .pool_max_idle_per_host(1)
                .build(connector());
            Arc::new(Client { http, instance, address, is_busy: AtomicBool::new(false) })
        });
        Self { each: clients.collect(), content, journal, popularity: Popularity::new(images) }
    }

    /// Begins so many pulls a second, whether or not the earlier ones are over, until it is dropped.
    pub(crate) async fn run(self, pulls_per_second: f64) {
        let mut dice = Dice::new(SEED);
        let mut ticks = interval(Duration::from_secs_f64(1.0 / pulls_per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            let image = self.popularity.draw(&mut dice);
            let mut drawn = (0..TRIES).map(|_| &self.each[dice.below(self.each.len())]);
            let free = drawn.find(|client| !client.is_busy.swap(true, Ordering::Relaxed));
            let Some(client) = free.map(Arc::clone) else {
                self.journal.skipped();
                continue;
            };
            let (content, journal) = (Arc::clone(&self.content), Arc::clone(&self.journal));
            tokio::spawn(async move {
                let pull = Pull { client: &client, content: &content, journal: &journal, image };
                if pull.whole().await.is_some() {
                    journal.pulled();
                }
                client.is_busy.store(false, Ordering::Relaxed);
            });
        }
    }
}

struct Pull<'run> {
    client: &'run Client,
    content: &'run Content,
    journal: &'run Journal,
    image: usize,
}

impl Pull<'_> {
    /// Everything, as clients do it; nothing if something failed.
    async fn whole(&self) -> Option<()> {
        let (repository, tag) = (content::repository(self.image), content::tag(self.image));
        let name: Arc<str> = format!("{repository}:{tag}").into();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let manifest_digest = self.recorded(Asked::Tag, &name, &name, self.tag(&path)).await?;
        let keeps = self.client.instance.keeps();
        self.journal.tag_seen(keeps, &name, &manifest_digest);
        let path = format!("/v2/{repository}/manifests/{manifest_digest}");
        let manifest =
            self.recorded(Asked::Manifest, &name, &manifest_digest, self.manifest(&path, &manifest_digest));
        let manifest = manifest.await?;
        self.journal.delivered(keeps, &manifest_digest, &manifest_digest, manifest.len() as u64);
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        let layers = manifest["layers"].as_array().into_iter().flatten().map(|layer| (Asked::Layer, layer));
        for (asked, descriptor) in [(Asked::Config, &manifest["config"])].into_iter().chain(layers) {
            let digest: Arc<str> = descriptor["digest"].as_str()?.into();
            let path = format!("/v2/{repository}/blobs/{digest}");
            let length = self.recorded(asked, &name, &digest, self.blob(&path, &digest)).await?;
            self.journal.delivered(keeps, &digest, &digest, length);
        }
        self.journal.delivered(keeps, &name, &manifest_digest, 0);
        Some(())
    }

    /// What a request gave; if it failed, that is written down.
    async fn recorded<T>(
        &self,
        asked: Asked,
        name: &str,
        key: &Arc<str>,
        request: impl Future<Output = Result<T, Failed>>,
    ) -> Option<T> {
        let from = self.journal.now();
        self.journal.request();
        let late = || Failed { wrong: Wrong::Late, detail: String::new() };
        let outcome = timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(late()));
        let failed = match outcome {
            Ok(value) => return Some(value),
            Err(failed) => failed,
        };
        let (instance, to) = (self.client.instance, self.journal.now());
        let name = if asked == Asked::Tag { name.to_owned() } else { format!("{name} {key}") };
        let Failed { wrong, detail } = failed;
        self.journal.trouble(key, Trouble { instance, asked, name, wrong, detail, from, to, delivered: None });
        None
    }

    async fn tag(&self, path: &str) -> Result<Arc<str>, Failed> {
        let from = self.journal.now();
        let answer = self.ask(Method::HEAD, path).await?;
        let digest = answer.headers().get(DIGEST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wrong = match self.content.age(self.image, digest, from) {
            TagAge::Current => return Ok(digest.into()),
            TagAge::Outdated(age) if age <= TAG_AGE => return Ok(digest.into()),
            TagAge::Outdated(age) => {
                Failed { wrong: Wrong::OutdatedTag, detail: format!("for {} s", age.as_secs()) }
            }
            TagAge::Unknown => Failed { wrong: Wrong::Tag, detail: digest.to_owned() },
        };
        Err(wrong)
    }

    async fn manifest(&self, path: &str, digest: &str) -> Result<Bytes, Failed> {
        let answer = self.ask(Method::GET, path).await?;
        let bytes = answer.into_body().collect().await.map_err(|error| cut(&error))?.to_bytes();
        same(digest, &digest::of_bytes(&bytes))?;
        Ok(bytes)
    }

    async fn blob(&self, path: &str, digest: &str) -> Result<u64, Failed> {
        let mut body = self.ask(Method::GET, path).await?.into_body();
        let (mut hasher, mut length) = (Hasher::new(), 0);
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.map_err(|error| cut(&error))?.into_data() {
                length += piece.len() as u64;
                hasher.update(&piece);
            }
        }
        same(digest, &hasher.finish())?;
        Ok(length)
    }

    /// The answer, if it is a 200.
    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, Failed> {
        let from = self.journal.now();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.client.address))
            .header(ACCEPT, MANIFEST_TYPE)
            .body(Empty::new())
            .map_err(|error| Failed { wrong: Wrong::NoAnswer, detail: error.to_string() })?;
        // The future is large, and there are many.
        let answer = self.client.http.request(request).boxed().await;
        let answer = answer.map_err(|error| Failed { wrong: Wrong::NoAnswer, detail: whole_text(&error) })?;
        self.journal.head(self.client.instance, self.journal.now().saturating_sub(from));
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let wrong = Wrong::Status(answer.status().as_u16());
        let body = answer.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
        let detail = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        Err(Failed { wrong, detail })
    }
}

fn same(wanted: &str, found: &str) -> Result<(), Failed> {
    if wanted == found { Ok(()) } else { Err(Failed { wrong: Wrong::Digest, detail: found.to_owned() }) }
}

fn cut(error: &hyper::Error) -> Failed {
    Failed { wrong: Wrong::Cut, detail: whole_text(error) }
}

/// An error and what caused it.
fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
