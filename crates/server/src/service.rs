//! Answers requests, however they arrive: the proxy, and the few paths of the server itself.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use registry_proxy_core::own_hosts::OwnHosts;
use registry_proxy_core::warm::is_timer_call;
use registry_proxy_core::{Body, Config, Cx};

use crate::config_source::ConfigSource;
use crate::metrics::{self, Readers};
use crate::reload::Reloadable;
use crate::store::Credentials;
use crate::text_response::text;
use crate::timer::TimerTurn;
use crate::{timer, traces};

/// Response to clients that may not read `/metrics`.
const NOT_FOR_YOU: &str = "metrics are served to this machine only, by its IP address or as localhost, and not through a \
                           proxy: set metrics.listen to a separate address, or metrics.public = true to serve \
                           everybody\n";

/// By which address a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// `listen`
    Main,
    /// `page.listen`
    Page,
}

/// Answers the requests of every connection.
pub(crate) struct Service {
    pub(crate) reloadable: Reloadable,
    metrics: PrometheusHandle,
    /// Metrics have their own address and are not served on the main one.
    metrics_apart: bool,
    is_draining: AtomicBool,
    requests: AtomicU64,
    /// Each request carries credentials for the bucket.
    is_lent_a_login: bool,
    pub(crate) timer: TimerTurn,
}

impl Service {
    /// Builds the service.
    pub(crate) fn new(source: ConfigSource, config: Config) -> Result<Self, Box<dyn Error>> {
        let metrics_apart = config.metrics.listen.is_some();
        let is_lent_a_login = Credentials::are_lent(&config, |name| std::env::var(name).ok());
        Ok(Self {
            reloadable: Reloadable::new(source, config)?,
            metrics: metrics::start()?,
            metrics_apart,
            is_draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            is_lent_a_login,
            timer: TimerTurn::default(),
        })
    }

    /// From now on `/readyz` says that the server is stopping.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Answers a request that came by this listener.
    pub(crate) fn answer(
        &self,
        listener: Listener,
        request: Request<Body>,
        mut cx: Cx,
    ) -> impl Future<Output = Response<Body>> + Send + use<'_> {
        cx.id = self.requests.fetch_add(1, Ordering::Relaxed);
        async move {
            // Release the guard before waiting, so that a reload does not wait for requests.
            let current = arc_swap::Guard::into_inner(self.reloadable.current());
            match listener {
                Listener::Page => return current.proxy.handle_page(&cx, request).await,
                Listener::Main => {}
            }
            if let Some(response) = self.own(&request, &cx, &current.config) {
                return response;
            }
            if self.is_lent_a_login {
                Credentials::take(request.headers());
            }
            let head = (request.method(), request.uri().path(), request.headers());
            if is_timer_call(current.config.platform, head.0, head.1, head.2) {
                drop(current);
                return Box::pin(timer::answer(&self.timer, &self.reloadable, request)).await;
            }
            if traces::is_on() {
                let parent = traces::parent(&cx, &current.config, request.headers());
                return traces::within(parent, Box::pin(current.proxy.handle(&cx, request))).await;
            }
            current.proxy.handle(&cx, request).await
        }
    }

    /// Whether the server itself answers this path.
    pub(crate) fn has_own(path: &str) -> bool {
        matches!(path, "/healthz" | "/readyz" | "/metrics")
    }

    /// Answers the server's own paths, which no registry has.
    fn own(&self, request: &Request<Body>, cx: &Cx, config: &Config) -> Option<Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path() {
            "/healthz" => Some(text(StatusCode::OK, "ok\n")),
            "/readyz" if self.is_draining.load(Ordering::Relaxed) => {
                Some(text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"))
            }
            // Upstreams are not checked: cached content is served without them.
            "/readyz" => Some(match self.reloadable.trouble() {
                None => text(StatusCode::OK, "ready\n"),
                // Without its cache the server still proxies.
                Some(trouble) => text(StatusCode::OK, format!("ready\nwarning: {trouble}\n")),
            }),
            "/metrics" if !self.metrics_apart => {
                let readers = if config.metrics.is_public() { Readers::Everybody } else { Readers::ThisMachine };
                // A browser on this machine may have been led here by a name of a web site.
                let is_meant = config.metrics.is_public()
                    || OwnHosts::new(config, None).are_named_by(request.uri(), request.headers());
                Some(if is_meant && readers.include(cx.peer, cx.introduced, request.headers()) {
                    self.render_metrics()
                } else {
                    text(StatusCode::FORBIDDEN, NOT_FOR_YOU)
                })
            }
            _ => None,
        }
    }

    /// `/metrics`
    pub(crate) fn render_metrics(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from(self.metrics.render())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
