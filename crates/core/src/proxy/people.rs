//! What those who run the proxy ask of it: the administration page, what a pull would do, the cache's administration; and what
//! they are told of refusals.

use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;

use super::Proxy;
use crate::admin::{CacheAdmin, Janitor};
use crate::admin_page::{AdminRequest, Entrance, Explainer, to_the_page};
use crate::body::Body;
use crate::config::Config;
use crate::error::Error;
use crate::explain::{ExplainContext, Explanation, explain, target_of};
use crate::platform::Platform;
use crate::request::HandlerResponse;
use crate::request::access_log::LogEntry;
use crate::request::client_view::ClientView;
use crate::request::refusals::{self, RefusedRequest};
use crate::route::{AdminTarget, RequestTarget, Target};
use crate::upstream::Identity;

impl Proxy {
    /// The task that keeps the cache within its limits; the platform runs it. `None`: nothing is cached.
    pub fn janitor(&self) -> Option<Janitor> {
        self.env.cache.as_ref().map(|cache| Janitor::new(cache, &self.env.fills))
    }

    /// Whether both proxies have the same cache, so that one janitor is enough for them.
    pub fn shares_cache_with(&self, other: &Self) -> bool {
        matches!((&self.env.cache, &other.env.cache), (Some(own), Some(others)) if Arc::ptr_eq(own, others))
    }

    /// The cache's administration. `None`: nothing is cached.
    pub fn cache_admin(&self) -> Option<CacheAdmin> {
        self.env.cache.as_ref().map(|cache| CacheAdmin::of_cache(Arc::clone(cache), Arc::clone(&self.env.fills)))
    }

    /// Explains what a request for this image would get. Nothing is sent anywhere. `config` is the proxy's own.
    pub async fn explain(&self, config: &Config, image: &str) -> Explanation {
        self.explain_to(self.access.nobody().identity, config, image).await
    }

    /// Tells the operator of a refusal, if it is one to hear of.
    pub(super) fn tell_of(&self, error: &Error, log: &LogEntry) {
        let Some(kind) = refusals::kind_of(error) else { return };
        let request = RefusedRequest {
            upstream: log.counters().upstream(),
            target: log.subject.target(),
            client: log.client,
        };
        if let Some(notification) = request.notification(error) {
            let Platform { notifications, clock, .. } = &self.env.platform;
            notifications.happened(kind, clock.now().0, || notification);
        }
    }

    /// What of the administration page a request is for.
    pub(super) fn admin_target(
        &self,
        entrance: Entrance,
        head: &Parts,
        client_view: &ClientView,
    ) -> Option<AdminTarget> {
        let requested = RequestTarget { host: &client_view.host, path: head.uri.path(), query: head.uri.query() };
        self.routes.admin_page(requested, entrance == Entrance::Page)
    }

    /// Answers a request for the administration page, or for nothing on its own address; and who has logged in.
    pub(super) async fn administer(
        &self,
        entrance: Entrance,
        target: Option<AdminTarget>,
        head: &Parts,
        body: Body,
        client_view: &ClientView,
    ) -> (Result<HandlerResponse, Error>, Option<Box<str>>) {
        let Some(target) = target else {
            let is_root = head.uri.path() == "/";
            return (if is_root { Ok(to_the_page()) } else { Err(Error::NoSuchEndpoint) }, None);
        };
        let request = AdminRequest {
            env: &self.env,
            routes: &self.routes,
            upstreams: &self.upstreams,
            access: &self.access,
            target: &target,
            entrance,
            head,
            client_view,
            via: &self.upstream_headers(head),
            explainer: self,
        };
        self.admin_page.answer(&request, body).await
    }
}

#[async_trait]
impl Explainer for Proxy {
    fn target_of(&self, config: &Config, image: &str) -> Option<Arc<Target>> {
        target_of(&self.routes, config, image)
    }

    async fn explain_to(&self, identity: Identity, config: &Config, image: &str) -> Explanation {
        let (env, routes, upstreams) = (&self.env, &self.routes, self.upstreams.as_slice());
        explain(&ExplainContext { env, routes, upstreams, config, identity }, image).await
    }
}
