//! What those who run the proxy ask of it: the administration page, what a pull would do, the cache's administration, and images
//! that are fetched before they are needed; and what they are told of refusals.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use http::request::Parts;

use super::Proxy;
use crate::access_rules::Who;
use crate::admin::{CacheAdmin, Janitor};
use crate::admin_page::{AdminRequest, Entrance, Explainer, to_the_page};
use crate::body::Body;
use crate::config::Config;
use crate::error::Error;
use crate::explain::{ExplainContext, Explanation, explain};
use crate::platform::Platform;
use crate::request::HandlerResponse;
use crate::request::access_log::LogEntry;
use crate::request::client_view::ClientView;
use crate::request::refusals::{self, RefusedRequest};
use crate::route::image::target_of;
use crate::route::{AdminTarget, RequestTarget, Target};
use crate::upstream::Identity;
use crate::warm::{WarmContext, warm};
use crate::warm_orders::{ScheduleLook, ScheduleTime, Timetables, WarmRequest, WarmTell, WarmTotals};

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
        self.explain_to(self.access.nobody().identity, None, config, image).await
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

    /// Fetches images into the cache, and tells of it. `config` is the proxy's own. An error: nothing can be fetched at all.
    // Without `inline`, all that it awaits would be compiled in this crate for it, and once more in the crate that polls `handle`.
    #[inline]
    pub fn warm<'a>(
        &'a self,
        config: &'a Config,
        request: &'a WarmRequest,
        tell: WarmTell<'a>,
    ) -> BoxFuture<'a, Result<WarmTotals, String>> {
        let (env, routes, upstreams) = (&self.env, &self.routes, self.upstreams.as_slice());
        let context = WarmContext { env, routes, upstreams, config };
        Box::pin(async move { warm(&context, request, tell).await })
    }

    /// Waits until somebody has asked for images by HTTP, as [`Proxy::warm_next`] fetches them. It outlives this proxy: the
    /// one that follows after a reload takes the same orders.
    pub fn warming_due(&self) -> impl Future<Output = ()> + Send + use<> {
        let queue = Arc::clone(self.admin_page.warmings());
        async move { queue.due().await }
    }

    /// Fetches the images that were asked for next, if any were. Those of which no platform was named are for
    /// `own_platform`: `linux/amd64`.
    pub async fn warm_next(&self, config: &Config, own_platform: &str) {
        let Some((order, running)) = self.admin_page.warmings().begin(&*self.env.platform.clock) else { return };
        let mut request = order.request;
        if order.is_for_this_machine {
            request.platforms = vec![own_platform.to_owned()];
        }
        let tell = |event| running.told(event);
        let done = self.warm(config, &request, &tell).await;
        let actor = format!("{:?}, by the administration page", order.by);
        let (result, error) = match &done {
            Ok(totals) if totals.complete == totals.images => ("done", None),
            Ok(_) => ("failed", Some("something is missing")),
            Err(why) => ("failed", Some(why.as_str())),
        };
        tracing::info!(
            target: "registry_proxy::audit", actor, action = "warm", result, error, "administrative action ended"
        );
        if let Err(why) = done {
            running.failed(why);
        }
    }

    /// How long until a rule of `[[warm]]` is due, at most `longest`: the next configuration may have others. `timetables` are
    /// those of the rules.
    pub fn next_warming(&self, config: &Config, timetables: &Timetables, longest: Duration) -> Duration {
        if !config.platform.runs_by_itself() {
            return longest;
        }
        let now = ScheduleTime::of(&*self.env.platform.clock);
        match self.admin_page.warmings().schedule.look(&config.warm, timetables, now) {
            ScheduleLook::Due(_) => Duration::ZERO,
            ScheduleLook::In(left) => left.min(longest),
            ScheduleLook::Never => longest,
        }
    }

    /// Fetches the images of the rule of `[[warm]]` that is due, if one is. Rules without platforms are for `own_platform`.
    pub async fn warm_scheduled(&self, config: &Config, timetables: &Timetables, own_platform: &str) {
        if !config.platform.runs_by_itself() {
            return;
        }
        let schedule = &self.admin_page.warmings().schedule;
        let now = ScheduleTime::of(&*self.env.platform.clock);
        let ScheduleLook::Due(at) = schedule.look(&config.warm, timetables, now) else { return };
        if let Some(rule) = config.warm.get(at) {
            schedule.begin(rule, now);
        }
        self.warm_rule(config, at, own_platform).await;
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
        target_of(&self.routes, config, image).ok()
    }

    // `inline` for the reason that `warm` names.
    #[inline]
    async fn explain_to(
        &self,
        identity: Identity,
        who: Option<Who<'_>>,
        config: &Config,
        image: &str,
    ) -> Explanation {
        let (env, routes, upstreams) = (&self.env, &self.routes, self.upstreams.as_slice());
        explain(&ExplainContext { env, routes, upstreams, config, identity, who }, image).await
    }
}
