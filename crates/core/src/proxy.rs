//! The proxy: a request in, a response out, whatever happens in between. Owns the parts; one log line and one count a
//! request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::access::{Access, Scope};
use crate::body::{Body, Observe};
use crate::cache::{Cache, House, Janitor};
use crate::config::{self, Bounds, Config, Timeouts};
use crate::error::Error;
use crate::fill::Fills;
use crate::fit::{UnderWay, fit};
use crate::guard::{Guard, Linked, Pass};
use crate::headers::{self, API_VERSION, OCI_NAMESPACE, X_REGISTRY_PROXY};
use crate::ingest::Invocations;
use crate::manifest::Questions;
use crate::outcome::{Done, Outcome, Why};
use crate::outside::{Outside, Windows};
use crate::platform::{Clock, Cx, Moment, Platform, within};
use crate::route::{Endpoint, Place, Route, Routes, Target};
use crate::seal::Sealer;
use crate::telemetry;
use crate::upstream::{Identity, Tokens, Upstream};
use crate::visit::{Answer, Visit};
use crate::{blob, listing, manifest, push, storage};

/// A proxy for container registries.
pub struct Proxy {
    pub(crate) routes: Routes,
    windows: Windows,
    pub(crate) access: Access,
    guard: Arc<Guard>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) platform: Platform,
    sealer: Arc<Sealer>,
    via: String,
    bounds: Bounds,
    timeouts: Timeouts,
    cache: Option<Arc<Cache>>,
    fills: Arc<Fills>,
    questions: Questions,
    delivery: config::Delivery,
    invocations: Invocations,
    under_way: Arc<AtomicUsize>,
    waiting: AtomicUsize,
}

impl Proxy {
    /// Puts the parts together. The configuration has been validated: it is taken at its word.
    pub fn new(config: &Config, platform: &Platform) -> Self {
        let sealer = Arc::new(Sealer::new(config.signing_key.as_ref(), Arc::clone(&platform.entropy)));
        let tokens = Arc::new(Tokens::new(config.limits.tokens, platform.limits.shares_io));
        let upstreams = (0..config.upstream.len())
            .filter_map(|index| Upstream::new(index, config, &tokens, &sealer, platform))
            .map(Arc::new);
        let cache = Cache::new(&config.cache, platform).map(Arc::new);
        Self {
            routes: Routes::new(config),
            windows: Windows::new(config),
            access: Access::new(config, &sealer, platform),
            guard: Arc::new(Guard::new(&config.guard, cache.as_ref(), platform)),
            upstreams: upstreams.collect(),
            platform: platform.clone(),
            via: format!("1.1 registry-proxy-{}", sealer.via()),
            sealer,
            bounds: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            cache,
            fills: Arc::default(),
            questions: Questions::new(platform.limits.shares_io),
            delivery: config.delivery.clone(),
            invocations: Invocations::default(),
            under_way: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Goes on counting where another one is: for a new configuration in the same process.
    #[must_use]
    pub fn after(mut self, previous: &Self) -> Self {
        self.guard = Arc::new(self.guard.after(&previous.guard));
        self
    }

    /// Who keeps the cache within its limits; the platform lets it run. `None`: nothing is kept.
    pub fn janitor(&self) -> Option<Janitor> {
        self.cache.as_ref().map(|cache| Janitor::new(cache, &self.fills))
    }

    /// The cache, for those who look after it; `None`: nothing is kept.
    pub fn house(&self) -> Option<House> {
        self.cache.as_ref().map(|cache| House::of_cache(Arc::clone(cache), Arc::clone(&self.fills)))
    }

    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Waits until what was served is kept as well, for `limit` at the most; and does what the guard has to, if it has.
    pub async fn settle(&self, limit: Duration) {
        if let Some(cache) = &self.cache {
            cache.settle(limit).await;
        }
        self.guard.settle().await;
    }

    /// The same before the process ends: what was counted is told to the others, too.
    pub async fn close(&self, limit: Duration) {
        self.settle(limit).await;
        self.guard.close().await;
    }

    /// Answers a request. Cannot fail: whatever happens inside is a response.
    pub async fn handle(&self, cx: &Cx, request: Request<Body>) -> Response<Body> {
        let started = self.platform.clock.now();
        let under_way = UnderWay::begin(&self.under_way);
        let (head, body) = request.into_parts();
        let outside = self.windows.look(cx, &head.uri, &head.headers);
        let waiting = Waiting::enter(&self.waiting);
        let mut subject = Subject::default();
        let result = if waiting.count > self.bounds.waiting {
            Err(Error::Overloaded)
        } else if headers::has_passed(&head.headers, &self.via) {
            Err(Error::Loop)
        } else {
            self.answer(&head, body, &outside, &mut subject).await
        };
        drop(waiting);
        let (response, outcome) = match result {
            Ok(answer) => (answer.response, answer.outcome),
            Err(error) => {
                subject.error = std::error::Error::source(&error).map(ToString::to_string);
                (error.to_response(), error.outcome())
            }
        };
        if let (Some(pass), Some(Linked(bytes))) = (&subject.pass, response.extensions().get()) {
            pass.sent(*bytes);
        }
        let record = Record {
            started,
            request_id: cx.id,
            client: outside.client,
            status: response.status(),
            outcome,
            sent_bytes: 0,
            expected_bytes: response.body().length(),
            is_broken: false,
            subject,
            method: head.method,
            clock: Arc::clone(&self.platform.clock),
        };
        let is_head = record.method == Method::HEAD;
        let response = finish(record, response, head.uri.path());
        fit(&self.platform.limits, is_head, self.cache.as_ref(), under_way, response).await
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Body,
        outside: &Outside,
        subject: &mut Subject,
    ) -> Result<Answer, Error> {
        let target = Target { host: &outside.host, path: head.uri.path(), query: head.uri.query() };
        let route = self.routes.route(target)?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        match route {
            Route::Ping(door) if is_read => {
                subject.endpoint = "ping";
                self.access.ping(&head.headers, &door, outside).await?;
                let mut response = Response::new(Body::from(Bytes::from_static(b"{}")));
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(Answer::new(response, Done::Answered, Why::Ping))
            }
            Route::Token(door) => {
                subject.endpoint = "token";
                let mut request = Request::new(body);
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = head.uri.clone();
                *request.headers_mut() = head.headers.clone();
                let token = Box::pin(self.access.token(request, &door, &self.routes, &self.upstreams));
                let response = self.in_time(token).await?;
                Ok(Answer::new(response, Done::Answered, Why::Token))
            }
            Route::Catalog if is_read => listing::catalog(),
            Route::Front if is_read => Ok(listing::front()),
            // Whoever must log in elsewhere gets here by a sealed address instead.
            Route::Storage if !self.access.is_open() => Err(Error::NoSuchEndpoint),
            Route::Storage if is_read => {
                subject.endpoint = "storage";
                self.guard.is_closed()?;
                subject.pass = self.guard.admit(outside.client).await?;
                let upstream = self.upstreams.first().ok_or(Error::UnknownUpstream)?;
                subject.upstream = Arc::clone(upstream.label());
                self.in_time(Box::pin(storage::get(
                    upstream,
                    head,
                    self.upstream_headers(head),
                    &self.platform,
                    &self.timeouts,
                )))
                .await
            }
            Route::Repository(place) => self.visit(head, body, outside, &place, subject).await,
            Route::Ping(_) | Route::Catalog | Route::Front | Route::Storage => Err(Error::MethodNotAllowed),
        }
    }

    async fn visit(
        &self,
        head: &Parts,
        body: Body,
        outside: &Outside,
        place: &Place,
        subject: &mut Subject,
    ) -> Result<Answer, Error> {
        let upstream = self.upstreams.get(place.upstream).ok_or(Error::UnknownUpstream)?;
        subject.name(upstream, place);
        self.guard.is_closed()?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD)
            && !matches!(place.endpoint, Endpoint::Uploads | Endpoint::Upload);
        let action = match head.method {
            Method::DELETE => "delete",
            _ if is_read => "pull",
            _ => "push",
        };
        let scope = Scope { name: &place.client_name, action };
        let door = &self.access.door_of(place, upstream);
        let admitted = self.access.admit(&head.headers, upstream, door, outside, scope);
        let identity = self.in_time(admitted).await?;
        if !upstream.permits(&place.name) {
            return Err(Error::RepositoryDenied);
        }
        subject.pass = self.guard.admit(outside.client).await?;
        let visit = self.visit_of(upstream, &identity, place, head, outside);
        let result = if is_read {
            // Boxed, each by itself: what is under way for a blob is large, and hyper moves what is not.
            let answer: BoxFuture<'_, Result<Answer, Error>> = match &place.endpoint {
                Endpoint::Manifest(reference) => Box::pin(manifest::get(&visit, reference)),
                Endpoint::Blob(digest) => Box::pin(blob::get(&visit, digest)),
                Endpoint::Tags => Box::pin(listing::tags(&visit)),
                Endpoint::Referrers(digest) => Box::pin(listing::referrers(&visit, digest)),
                Endpoint::Uploads | Endpoint::Upload => return Err(Error::MethodNotAllowed),
            };
            self.in_time(answer).await
        } else {
            // However long an upload takes: its own deadline is a standstill.
            Box::pin(push::write(&visit, &self.routes, body)).await
        };
        let mut answer = result.map_err(|error| Access::refusal(error, &identity, door, outside, scope))?;
        if let Some(namespace) = place.namespace.as_deref().and_then(|ns| HeaderValue::from_str(ns).ok()) {
            answer.response.headers_mut().insert(OCI_NAMESPACE, namespace);
        }
        Ok(answer)
    }

    /// An admitted request with everything that its handler needs.
    pub(crate) fn visit_of<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        identity: &'a Identity,
        place: &'a Place,
        head: &'a Parts,
        outside: &'a Outside,
    ) -> Visit<'a> {
        Visit {
            platform: &self.platform,
            bounds: &self.bounds,
            timeouts: &self.timeouts,
            delivery: &self.delivery,
            invocations: &self.invocations,
            sealer: &self.sealer,
            upstream,
            identity,
            place,
            head,
            started: self.platform.clock.now(),
            outside,
            is_open: self.access.is_open(),
            is_single: self.upstreams.len() == 1,
            storage_passes: self.access.is_open() && !self.routes.has_secret(),
            cache: self.cache.as_ref(),
            fills: &self.fills,
            questions: &self.questions,
            upstream_headers: self.upstream_headers(head),
        }
    }

    /// Within `timeouts.head`: no client waits longer for an answer to begin (P-113).
    async fn in_time<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        within(&*self.platform.clock, self.timeouts.head.0, future).await.unwrap_or(Err(Error::DeadlinePassed))
    }

    fn upstream_headers(&self, head: &Parts) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(VIA, headers::via(&head.headers, &self.via));
        headers
    }
}

/// Counts those who wait for an answer's head.
struct Waiting<'a> {
    counter: &'a AtomicUsize,
    count: usize,
}

impl<'a> Waiting<'a> {
    fn enter(counter: &'a AtomicUsize) -> Self {
        Self { counter, count: counter.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request is about, as far as is known: never its raw path, in which a secret may stand.
#[derive(Default)]
struct Subject {
    endpoint: &'static str,
    upstream: Arc<str>,
    repository: String,
    reference: String,
    error: Option<String>,
    /// Where the bytes of the answer count.
    pass: Option<Pass>,
}

impl Subject {
    fn name(&mut self, upstream: &Upstream, place: &Place) {
        self.upstream = Arc::clone(upstream.label());
        place.name.as_str().clone_into(&mut self.repository);
        (self.endpoint, self.reference) = match &place.endpoint {
            Endpoint::Manifest(reference) => ("manifest", reference.as_str().to_owned()),
            Endpoint::Blob(digest) => ("blob", digest.as_str().to_owned()),
            Endpoint::Referrers(digest) => ("referrers", digest.as_str().to_owned()),
            Endpoint::Tags => ("tags", String::new()),
            Endpoint::Uploads | Endpoint::Upload => ("upload", String::new()),
        };
    }
}

/// Puts on what every answer carries, and watches it go.
fn finish(record: Record, response: Response<Body>, path: &str) -> Response<Body> {
    let mut response = if record.method == Method::HEAD {
        // HEAD stays HEAD: the headers of a GET, and no body (P-79).
        let length = match response.body() {
            // What a handler does not know is not nothing.
            Body::Empty => None,
            body => body.length(),
        };
        let mut response = response;
        if let (Some(length), false) = (length, response.headers().contains_key(CONTENT_LENGTH)) {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        response.map(|_| Body::Empty)
    } else {
        response
    };
    let headers = response.headers_mut();
    if path == "/v2" || path.contains("/v2/") || path.ends_with("/v2") || !record.subject.repository.is_empty() {
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
    headers.extend(HeaderValue::try_from(record.outcome.to_string()).ok().map(|value| (X_REGISTRY_PROXY, value)));
    response.map(|body| match body {
        Body::Stream(_) | Body::Native(_) => body.observed(record),
        whole => {
            let mut record = record;
            record.arrived(whole.length().unwrap_or(0));
            whole
        }
    })
}

/// What is known of a request; dropped, it is written to the log and counted.
struct Record {
    started: Moment,
    request_id: u64,
    client: Option<IpAddr>,
    method: Method,
    status: StatusCode,
    outcome: Outcome,
    subject: Subject,
    sent_bytes: u64,
    expected_bytes: Option<u64>,
    is_broken: bool,
    clock: Arc<dyn Clock>,
}

impl Drop for Record {
    fn drop(&mut self) {
        let after: Duration = self.clock.now().since(self.started);
        telemetry::answered(&telemetry::Answered {
            upstream: &self.subject.upstream,
            endpoint: self.subject.endpoint,
            method: &self.method,
            status: self.status,
            outcome: self.outcome,
            sent_bytes: self.sent_bytes,
            is_broken: self.is_broken,
        });
        let is_whole =
            self.method == Method::HEAD || self.expected_bytes.is_none_or(|expected| expected == self.sent_bytes);
        let end = match (self.is_broken, is_whole) {
            (true, _) => "broken",
            (false, false) => "client left",
            (false, true) => "complete",
        };
        tracing::info!(
            target: "registry_proxy::request",
            {
                request.id = self.request_id,
                client = self.client.map(tracing::field::display),
                method = %self.method,
                endpoint = self.subject.endpoint,
                upstream = &*self.subject.upstream,
                repository = self.subject.repository,
                reference = self.subject.reference,
                status = self.status.as_u16(),
                outcome = self.outcome.done.as_str(),
                why = self.outcome.why.as_str(),
                end = end,
                size_bytes = self.sent_bytes,
                duration_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                error = self.subject.error
            },
            "{} {}",
            self.method,
            self.status.as_u16(),
        );
    }
}

impl Observe for Record {
    fn arrived(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
        if let Some(pass) = &self.subject.pass {
            pass.sent(bytes);
        }
    }

    fn broke(&mut self) {
        self.is_broken = true;
    }
}
