//! The proxy takes a request and returns a response. It owns what all requests share ([`Env`]), finds the upstream and the
//! client's rights, and calls the handler of the endpoint.

mod elsewhere;
mod event;
mod people;
mod warm_rules;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tracing::Instrument as _;

pub use self::event::EventError;
pub use self::warm_rules::TimerReport;
use crate::access::{Access, AccessRequest, Admitted, Scope, TokenContext};
use crate::admin_page::{AdminPage, Entrance};
use crate::blocks::Blocks;
use crate::body::{Body, InFlight};
use crate::cache::Cache;
use crate::config::{Config, LogClient};
use crate::error::Error;
use crate::headers::{self, OCI_NAMESPACE};
use crate::ingest::Invocations;
use crate::manifest_types::ManifestTypes;
use crate::outcome::{Action, Reason};
use crate::page::FrontPage;
use crate::platform::{Cx, Platform, within};
use crate::policy::PolicyRules;
use crate::quota::Quotas;
use crate::request::access_log::{AccessLog, LogEntry, LogSubject, RequestSummary};
use crate::request::client_view::{ClientView, ClientViewRules};
use crate::request::fit::{ActiveRequest, fit, seen_whole};
use crate::request::id::RequestIds;
use crate::request::{Env, HandlerResponse, RequestContext, Settings, Visibility};
use crate::route::{Endpoint, RequestTarget, Route, Routes, Target};
use crate::seal::Sealer;
use crate::shared_requests::SharedRequests;
use crate::upstream::{Tokens, Upstream};
use crate::waiting::WaitingPermit;
use crate::warm::kept_images;
use crate::{blob, listing, manifest, push, spans};

/// A proxy for container registries.
pub struct Proxy {
    pub(crate) env: Env,
    pub(crate) routes: Routes,
    view_rules: ClientViewRules,
    page: FrontPage,
    admin_page: AdminPage,
    pub(crate) access: Access,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    request_ids: RequestIds,
    log_client: LogClient,
    access_log: Arc<AccessLog>,
    /// Requests whose work is not finished.
    active: Arc<AtomicUsize>,
}

impl Proxy {
    /// Puts the parts together. The configuration must have been validated: it is not checked again.
    pub fn new(config: &Config, platform: &Platform) -> Self {
        let sealer = Arc::new(Sealer::new(config.signing_key.as_ref(), Arc::clone(&platform.entropy)));
        let tokens = Arc::new(Tokens::new(&config.limits, platform.capabilities.shares_io));
        let upstreams = (0..config.upstream.len())
            .filter_map(|index| Upstream::new(index, config, &tokens, &sealer, platform))
            .map(Arc::new);
        let upstreams: Vec<_> = upstreams.collect();
        let access = Access::new(config, &sealer, platform);
        let routes = Routes::new(config);
        let in_flight = InFlight::new(config.limits.in_flight.0, platform.capabilities.shares_io);
        let kept = kept_images(config, &routes);
        let cache = Cache::new(&config.cache, platform, &in_flight).map(|cache| Arc::new(cache.keeping(kept)));
        let settings = Settings {
            limits: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            delivery: config.delivery.clone(),
            policy: PolicyRules::new(&config.policy, &platform.signers),
            access: Arc::clone(access.rules()),
            visibility: Visibility::new(config),
            is_open: access.is_open(),
            is_single: upstreams.len() == 1,
            storage_passes: access.lets_storage_pass() && !routes.has_secret(),
        };
        let env = Env {
            platform: platform.clone(),
            settings,
            via: headers::via_name(sealer.via()),
            sealer,
            quotas: Arc::new(Quotas::new(&config.quota, config.signing_key.as_ref(), cache.as_ref(), platform)),
            cache,
            blocks: Blocks::new(&config.block),
            fills: Arc::default(),
            shared_requests: SharedRequests::new(platform.capabilities.shares_io),
            manifest_types: ManifestTypes::new(),
            invocations: Invocations::default(),
            in_flight,
        };
        Self {
            env,
            routes,
            view_rules: ClientViewRules::new(config),
            page: FrontPage::new(config),
            admin_page: AdminPage::new(config),
            access,
            upstreams,
            request_ids: RequestIds::new(&platform.entropy),
            log_client: config.log.client,
            access_log: AccessLog::new(&platform.clock),
            active: Arc::default(),
        }
    }

    /// Takes over from the proxy of the previous configuration in the same process and over the same store. Downloads in
    /// progress go on for everybody, and the cache keeps what it remembers unless its configuration has changed.
    #[must_use]
    pub fn after(mut self, previous: &Self) -> Self {
        let (env, before) = (&mut self.env, &previous.env);
        env.fills = Arc::clone(&before.fills);
        env.shared_requests.verdicts = Arc::clone(&before.shared_requests.verdicts);
        env.shared_requests.service_verdicts = Arc::clone(&before.shared_requests.service_verdicts);
        if env.settings.limits.in_flight == before.settings.limits.in_flight {
            env.in_flight = Arc::clone(&before.in_flight);
        }
        if let (Some(cache), Some(old)) = (&env.cache, &before.cache)
            && cache.config() == old.config()
        {
            env.cache = Some(old.with_kept_of(cache));
        }
        env.quotas = Arc::new(env.quotas.after(&before.quotas, env.cache.as_ref()));
        self.access = self.access.after(&previous.access);
        self.admin_page.after(&previous.admin_page);
        self
    }

    /// Memory that answers take until clients have taken them. The server counts the pieces that it sends there, too.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.env.in_flight
    }

    /// Waits for up to `limit` until all that was served is written to the cache; whether it is. Quotas do work that is due.
    pub async fn flush(&self, limit: Duration) -> bool {
        let is_written = match &self.env.cache {
            Some(cache) => cache.backend.flush(limit).await,
            None => true,
        };
        self.env.quotas.exchange_if_due().await;
        is_written
    }

    /// Does the same before the process ends, and also reports what was counted to the other instances.
    pub async fn close(&self, limit: Duration) -> bool {
        let is_written = self.flush(limit).await;
        self.env.quotas.close().await;
        is_written
    }

    /// Answers a request. It cannot fail: each error becomes a response.
    pub async fn handle(&self, cx: &Cx, request: Request<Body>) -> Response<Body> {
        self.handle_at(Entrance::Main, cx, request).await
    }

    /// Answers a request that came by `page.listen`: there is the administration page, and nothing else.
    pub async fn handle_page(&self, cx: &Cx, request: Request<Body>) -> Response<Body> {
        self.handle_at(Entrance::Page, cx, request).await
    }

    async fn handle_at(&self, entrance: Entrance, cx: &Cx, request: Request<Body>) -> Response<Body> {
        let active = ActiveRequest::begin(&self.env.platform.capabilities, &self.active);
        let (head, body) = request.into_parts();
        let client_view = self.view_rules.view(cx, &head.uri, &head.headers);
        let asked = RequestSummary {
            id: self.request_ids.of(client_view.request_id.clone(), cx.id),
            method: &head.method,
            agent: head.headers.get(USER_AGENT),
            client: client_view.client.and_then(|address| self.log_client.shown(address)),
        };
        let span = spans::request(&head.method);
        let mut log = LogEntry::begin(asked, &self.access_log, span.clone());
        log.subject.traffic = self.admin_page.traffic().cloned();
        let result = match (self.admin_target(entrance, &head, &client_view), entrance) {
            (None, Entrance::Main) if span.is_disabled() => {
                self.answer(&head, body, &client_view, &mut log.subject).await
            }
            (None, Entrance::Main) => {
                Box::pin(self.answer(&head, body, &client_view, &mut log.subject)).instrument(span).await
            }
            (target, _) => {
                let asked = Box::pin(self.administer(entrance, target, &head, body, &client_view));
                log.subject.is_for("admin page", &head.method);
                let (result, user) = asked.instrument(span).await;
                log.subject.user = user;
                result
            }
        };
        let result = result.and_then(|answer| seen_whole(&self.env.platform.capabilities, answer));
        if let Err(error) = &result {
            self.tell_of(error, &log);
        }
        let mut response = log.finish(result, head.uri.path());
        headers::limit_caches(response.headers_mut(), !self.access.is_open());
        fit(
            &self.env.platform.capabilities,
            head.method == Method::HEAD,
            self.env.cache.as_ref(),
            active,
            response,
        )
        .await
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Body,
        client_view: &ClientView,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        if headers::has_passed(&head.headers, &self.env.via) {
            return Err(Error::Loop);
        }
        let requested = RequestTarget { host: &client_view.host, path: head.uri.path(), query: head.uri.query() };
        let route = self.routes.route(requested)?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        match route {
            Route::Ping(entry) if is_read => {
                subject.is_for("ping", &head.method);
                subject.user =
                    self.in_time(Box::pin(self.access.ping(&head.headers, &entry, client_view))).await?;
                let mut response = Response::new(Body::from(Bytes::from_static(b"{}")));
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(HandlerResponse::new(response, Action::Answered, Reason::Ping))
            }
            Route::Token(entry) => {
                subject.is_for("token", &head.method);
                let mut request = Request::new(body);
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = head.uri.clone();
                *request.headers_mut() = head.headers.clone();
                let asked = TokenContext {
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
            Route::Front(entry) | Route::StorageRoot(entry)
                if is_read && self.page.is_for(&entry, &head.headers) =>
            {
                subject.is_for("page", &head.method);
                self.env.quotas.is_closed()?;
                subject.pass = self.env.quotas.admit(client_view.client).await?;
                Ok(self.page.answer(&self.routes, &entry, client_view, head).unwrap_or_else(listing::front))
            }
            Route::Front(_) if is_read => Ok(listing::front()),
            // Where not everybody may have everything, the storage is reached by a sealed address instead.
            Route::Storage | Route::StorageRoot(_) if !self.access.lets_storage_pass() => {
                Err(Error::NoSuchEndpoint)
            }
            Route::Storage | Route::StorageRoot(_) if is_read => {
                Box::pin(self.storage(head, client_view, subject)).await
            }
            Route::Search { entry, upstream } if is_read => {
                Box::pin(self.search(&entry, upstream, head, client_view, subject)).await
            }
            Route::Repository(target) => self.serve_repository(head, body, client_view, &target, subject).await,
            Route::Ping(_)
            | Route::Catalog
            | Route::Front(_)
            | Route::Search { .. }
            | Route::Storage
            | Route::StorageRoot(_) => Err(Error::MethodNotAllowed),
        }
    }

    async fn serve_repository(
        &self,
        head: &Parts,
        body: Body,
        client_view: &ClientView,
        target: &Arc<Target>,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        let upstream = self.upstreams.get(target.upstream).ok_or(Error::UnknownUpstream)?;
        subject.name(upstream, target, &head.method);
        self.env.quotas.is_closed()?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD)
            && !matches!(target.endpoint, Endpoint::Uploads | Endpoint::Upload);
        let action = match head.method {
            Method::DELETE => "delete",
            _ if is_read => "pull",
            _ => "push",
        };
        let scope = Scope { name: &target.client_name, action };
        let entry = &self.access.entry_for(target, upstream);
        let request = AccessRequest {
            headers: &head.headers,
            upstream,
            target,
            entry,
            client_view,
            scope,
            via: &self.env.via,
        };
        let admitted = if self.access.is_open() {
            self.access.nobody()
        } else {
            self.in_time(Box::pin(self.access.admit(&request))).await?
        };
        subject.user.clone_from(&admitted.user);
        subject.issuer.clone_from(&admitted.issuer);
        self.access.permit(&request, &admitted)?;
        if !upstream.permits(&target.name) {
            return Err(Error::RepositoryDenied);
        }
        if is_read && let Some(blocked) = self.env.blocks.request(upstream.name(), &target.name, &target.endpoint)
        {
            return Err(Error::Blocked(blocked));
        }
        subject.pass = self.env.quotas.admit(client_view.client).await?;
        let context = self.context_for(upstream, &admitted, target, head, client_view);
        let result = if is_read {
            // Each future is boxed by itself: that of a blob is large, and hyper moves futures that are not boxed.
            let answer: BoxFuture<'_, Result<HandlerResponse, Error>> = match &target.endpoint {
                Endpoint::Manifest(reference) => Box::pin(manifest::get(&context, reference)),
                Endpoint::Blob(digest) => {
                    manifest::admit_blob(&context, digest).await?;
                    Box::pin(blob::get(&context, digest))
                }
                Endpoint::Tags => Box::pin(listing::tags(&context)),
                Endpoint::Referrers(digest) => Box::pin(listing::referrers(&context, digest)),
                Endpoint::Uploads | Endpoint::Upload => return Err(Error::MethodNotAllowed),
            };
            self.in_time(answer).await
        } else {
            // An upload may take as long as it likes; it ends only when nothing comes any more.
            Box::pin(push::write(&context, &self.routes, self.access.rights(&admitted, upstream), body)).await
        };
        let mut answer = result.map_err(|error| self.access.refusal(error, &admitted.identity, &request))?;
        if let Some(namespace) = target.namespace.as_deref().and_then(|ns| HeaderValue::from_str(ns).ok()) {
            answer.response.headers_mut().insert(OCI_NAMESPACE, namespace);
        }
        Ok(answer)
    }

    /// The context of an admitted request, for its handler.
    pub(crate) fn context_for<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        admitted: &'a Admitted,
        target: &'a Target,
        head: &'a Parts,
        client_view: &'a ClientView,
    ) -> RequestContext<'a> {
        RequestContext {
            env: &self.env,
            upstream,
            identity: &admitted.identity,
            user: admitted.user.as_deref(),
            waiting: WaitingPermit::new(upstream.waiting_limit()),
            target,
            head,
            client_view,
            started: self.env.platform.clock.now(),
            since: self.env.cache.as_ref().map_or(0, |cache| cache.metadata.generation()),
        }
    }

    /// Ends `future` after `timeouts.head`: no client waits longer for an answer to begin (P-113).
    async fn in_time<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        within(&*self.env.platform.clock, self.env.settings.timeouts.head.0, future)
            .await
            .unwrap_or(Err(Error::DeadlinePassed))
    }

    fn upstream_headers(&self, head: &Parts) -> HeaderMap {
        headers::of_upstream_request(&head.headers, &self.env.via)
    }
}
