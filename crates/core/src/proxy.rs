//! The proxy: a request in, a response out, whatever happens in between. Owns the parts.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{USER_AGENT, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use crate::access::{Access, AccessRequest, Admitted, Scope, TokenRequest};
use crate::body::{Body, InFlight};
use crate::cache::{Cache, CacheAdmin, Janitor};
use crate::client_view::{ClientView, ClientViewRules};
use crate::config::{self, Config, LogClient, Timeouts};
use crate::error::Error;
use crate::fill::Fills;
use crate::fit::{ActiveRequest, fit};
use crate::headers::{self, OCI_NAMESPACE};
use crate::ingest::Invocations;
use crate::manifest::SharedRequests;
use crate::outcome::{Action, Reason};
use crate::platform::{Capabilities, Cx, Platform, within};
use crate::quota::Quotas;
use crate::record::{LogEntry, LogSubject, RequestIds, RequestSummary};
use crate::route::{Endpoint, RequestTarget, Route, Routes, Target};
use crate::seal::Sealer;
use crate::upstream::{Failure, Tokens, Upstream};
use crate::visit::{HandlerResponse, RequestContext};
use crate::waiting::WaitingPermit;
use crate::{blob, listing, manifest, push, storage};

/// A proxy for container registries.
pub struct Proxy {
    pub(crate) routes: Routes,
    view_rules: ClientViewRules,
    pub(crate) access: Access,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) platform: Platform,
    sealer: Arc<Sealer>,
    via: String,
    request_ids: RequestIds,
    log_client: LogClient,
    bounds: config::Limits,
    timeouts: Timeouts,
    cache: Option<Arc<Cache>>,
    fills: Arc<Fills>,
    questions: SharedRequests,
    delivery: config::DeliveryConfig,
    invocations: Invocations,
    under_way: Arc<AtomicUsize>,
    in_flight: Arc<InFlight>,
}

impl Proxy {
    /// Puts the parts together. The configuration has been validated: it is taken at its word.
    pub fn new(config: &Config, platform: &Platform) -> Self {
        let sealer = Arc::new(Sealer::new(config.signing_key.as_ref(), Arc::clone(&platform.entropy)));
        let tokens = Arc::new(Tokens::new(&config.limits, platform.capabilities.shares_io));
        let upstreams = (0..config.upstream.len())
            .filter_map(|index| Upstream::new(index, config, &tokens, &sealer, platform))
            .map(Arc::new);
        let in_flight = InFlight::new(config.limits.in_flight.0, platform.capabilities.shares_io);
        let cache = Cache::new(&config.cache, platform, &in_flight).map(Arc::new);
        Self {
            routes: Routes::new(config),
            view_rules: ClientViewRules::new(config),
            access: Access::new(config, &sealer, platform),
            quotas: Arc::new(Quotas::new(&config.guard, config.signing_key.as_ref(), cache.as_ref(), platform)),
            upstreams: upstreams.collect(),
            platform: platform.clone(),
            via: format!("1.1 registry-proxy-{}", sealer.via()),
            sealer,
            request_ids: RequestIds::new(&platform.entropy),
            log_client: config.log.client,
            bounds: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            cache,
            fills: Arc::default(),
            questions: SharedRequests::new(platform.capabilities.shares_io),
            delivery: config.delivery.clone(),
            invocations: Invocations::default(),
            under_way: Arc::default(),
            in_flight,
        }
    }

    /// Goes on where another one is, over the same store: for a new configuration in the same process. Blobs that
    /// arrive go on arriving for everybody, and what the cache remembers stays, unless other rules hold for it now.
    #[must_use]
    pub fn after(mut self, previous: &Self) -> Self {
        self.fills = Arc::clone(&previous.fills);
        if self.bounds.in_flight == previous.bounds.in_flight {
            self.in_flight = Arc::clone(&previous.in_flight);
        }
        if let (Some(cache), Some(before)) = (&self.cache, &previous.cache)
            && cache.config() == before.config()
        {
            self.cache = Some(Arc::clone(before));
        }
        self.access = self.access.after(&previous.access);
        self.quotas = Arc::new(self.quotas.after(&previous.quotas, self.cache.as_ref()));
        self
    }

    /// Whether both have one cache: then whoever looks after it for one does so for the other.
    pub fn shares_cache_with(&self, other: &Self) -> bool {
        matches!((&self.cache, &other.cache), (Some(own), Some(others)) if Arc::ptr_eq(own, others))
    }

    /// Who keeps the cache within its limits; the platform lets it run. `None`: nothing is kept.
    pub fn janitor(&self) -> Option<Janitor> {
        self.cache.as_ref().map(|cache| Janitor::new(cache, &self.fills))
    }

    /// The cache, for those who look after it; `None`: nothing is kept.
    pub fn cache_admin(&self) -> Option<CacheAdmin> {
        self.cache.as_ref().map(|cache| CacheAdmin::of_cache(Arc::clone(cache), Arc::clone(&self.fills)))
    }

    /// What answers take of memory until clients have taken them: whoever sends them counts pieces there, too.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Waits until what was served is kept as well, for `limit` at the most; and does what the guard has to, if it has.
    /// Whether all of it is kept.
    pub async fn settle(&self, limit: Duration) -> bool {
        let is_kept = match &self.cache {
            Some(cache) => cache.flush(limit).await,
            None => true,
        };
        self.quotas.settle().await;
        is_kept
    }

    /// The same before the process ends: what was counted is told to the others, too.
    pub async fn close(&self, limit: Duration) -> bool {
        let is_kept = self.settle(limit).await;
        self.quotas.close().await;
        is_kept
    }

    /// Answers a request. Cannot fail: whatever happens inside is a response.
    pub async fn handle(&self, cx: &Cx, request: Request<Body>) -> Response<Body> {
        let under_way = ActiveRequest::begin(&self.platform.capabilities, &self.under_way);
        let (head, body) = request.into_parts();
        let client_view = self.view_rules.view(cx, &head.uri, &head.headers);
        let asked = RequestSummary {
            id: self.request_ids.of(client_view.request_id.as_ref(), cx.id),
            method: &head.method,
            agent: head.headers.get(USER_AGENT),
            client: client_view.client.and_then(|address| self.log_client.shown(address)),
        };
        let mut entry_log = LogEntry::begin(asked, &self.platform.clock);
        let result = self.answer(&head, body, &client_view, &mut entry_log.subject).await;
        let result = result.and_then(|answer| can_be_seen_whole(&self.platform.capabilities, answer));
        let mut response = entry_log.finish(result, head.uri.path());
        headers::limit_caches(response.headers_mut(), !self.access.is_open());
        fit(&self.platform.capabilities, head.method == Method::HEAD, self.cache.as_ref(), under_way, response)
            .await
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Body,
        client_view: &ClientView,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        if headers::has_passed(&head.headers, &self.via) {
            return Err(Error::Loop);
        }
        let requested = RequestTarget { host: &client_view.host, path: head.uri.path(), query: head.uri.query() };
        let route = self.routes.route(requested)?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        match route {
            Route::Ping(entry) if is_read => {
                subject.endpoint = "ping";
                subject.user =
                    self.in_time(Box::pin(self.access.ping(&head.headers, &entry, client_view))).await?;
                let mut response = Response::new(Body::from(Bytes::from_static(b"{}")));
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(HandlerResponse::new(response, Action::Answered, Reason::Ping))
            }
            Route::Token(entry) => {
                subject.endpoint = "token";
                let mut request = Request::new(body);
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = head.uri.clone();
                *request.headers_mut() = head.headers.clone();
                let asked = TokenRequest {
                    entry: &entry,
                    routes: &self.routes,
                    upstreams: &self.upstreams,
                    client: client_view.client,
                    via: &self.upstream_headers(head),
                };
                let (response, user) = self.in_time(Box::pin(self.access.token(&asked, request))).await?;
                subject.user = user;
                Ok(HandlerResponse::new(response, Action::Answered, Reason::Token))
            }
            Route::Catalog if is_read => listing::catalog(),
            Route::Front if is_read => Ok(listing::front()),
            // Whoever must log in elsewhere gets here by a sealed address instead.
            Route::Storage if !self.access.is_open() => Err(Error::NoSuchEndpoint),
            Route::Storage if is_read => {
                subject.endpoint = "storage";
                self.quotas.is_closed()?;
                subject.pass = self.quotas.admit(client_view.client).await?;
                let upstream = self.upstreams.first().ok_or(Error::UnknownUpstream)?;
                subject.upstream = Arc::clone(upstream.label());
                let waiting = WaitingPermit::new(upstream.waiting_limit());
                waiting.begin()?;
                self.in_time(Box::pin(storage::get(
                    upstream,
                    head,
                    self.upstream_headers(head),
                    &self.platform,
                    &self.timeouts,
                )))
                .await
            }
            Route::Repository(target) => self.serve_repository(head, body, client_view, &target, subject).await,
            Route::Ping(_) | Route::Catalog | Route::Front | Route::Storage => Err(Error::MethodNotAllowed),
        }
    }

    async fn serve_repository(
        &self,
        head: &Parts,
        body: Body,
        client_view: &ClientView,
        target: &Target,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        let upstream = self.upstreams.get(target.upstream).ok_or(Error::UnknownUpstream)?;
        subject.name(upstream, target);
        self.quotas.is_closed()?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD)
            && !matches!(target.endpoint, Endpoint::Uploads | Endpoint::Upload);
        let action = match head.method {
            Method::DELETE => "delete",
            _ if is_read => "pull",
            _ => "push",
        };
        let scope = Scope { name: &target.client_name, action };
        let entry = &self.access.entry_for(target, upstream);
        let request =
            AccessRequest { headers: &head.headers, upstream, target, entry, client_view, scope, via: &self.via };
        let admitted = if self.access.is_open() {
            self.access.nobody()
        } else {
            self.in_time(Box::pin(self.access.admit(&request))).await?
        };
        subject.user.clone_from(&admitted.user);
        if !upstream.permits(&target.name) {
            return Err(Error::RepositoryDenied);
        }
        subject.pass = self.quotas.admit(client_view.client).await?;
        let context = self.context_for(upstream, &admitted, target, head, client_view);
        let result = if is_read {
            // Boxed, each by itself: what is under way for a blob is large, and hyper moves what is not.
            let answer: BoxFuture<'_, Result<HandlerResponse, Error>> = match &target.endpoint {
                Endpoint::Manifest(reference) => Box::pin(manifest::get(&context, reference)),
                Endpoint::Blob(digest) => Box::pin(blob::get(&context, digest)),
                Endpoint::Tags => Box::pin(listing::tags(&context)),
                Endpoint::Referrers(digest) => Box::pin(listing::referrers(&context, digest)),
                Endpoint::Uploads | Endpoint::Upload => return Err(Error::MethodNotAllowed),
            };
            self.in_time(answer).await
        } else {
            // However long an upload takes: its own deadline is a standstill.
            Box::pin(push::write(&context, &self.routes, body)).await
        };
        let mut answer = result.map_err(|error| self.access.refusal(error, &admitted.identity, &request))?;
        if let Some(namespace) = target.namespace.as_deref().and_then(|ns| HeaderValue::from_str(ns).ok()) {
            answer.response.headers_mut().insert(OCI_NAMESPACE, namespace);
        }
        Ok(answer)
    }

    /// An admitted request with everything that its handler needs.
    pub(crate) fn context_for<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        admitted: &'a Admitted,
        target: &'a Target,
        head: &'a Parts,
        client_view: &'a ClientView,
    ) -> RequestContext<'a> {
        RequestContext {
            platform: &self.platform,
            bounds: &self.bounds,
            timeouts: &self.timeouts,
            delivery: &self.delivery,
            quotas: &self.quotas,
            invocations: &self.invocations,
            in_flight: &self.in_flight,
            sealer: &self.sealer,
            upstream,
            identity: &admitted.identity,
            user: admitted.user.as_deref(),
            waiting: WaitingPermit::new(upstream.waiting_limit()),
            target,
            head,
            started: self.platform.clock.now(),
            since: self.cache.as_ref().map_or(0, |cache| cache.generation()),
            client_view,
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

/// The answer, if its client will see whether all of it has come.
fn can_be_seen_whole(capabilities: &Capabilities, answer: HandlerResponse) -> Result<HandlerResponse, Error> {
    if !capabilities.breaks_chunked && answer.response.body().length().is_none() {
        return Err(Error::Upstream(Failure::Nonsense("a body of unknown length")));
    }
    Ok(answer)
}
