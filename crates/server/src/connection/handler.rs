//! What answers the requests of a connection: the proxy, or `/metrics` alone.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use registry_proxy_core::{Body, Cx};

use super::context::ConnectionSettings;
use super::request_head;
use crate::connection_limits::{ConnectionSlot, NoFreeSlot, SlotStatus};
use crate::service::{Listener, Service};
use crate::text_response::text;

/// Extension of a response: close the connection after it, by `Connection: close` or GOAWAY.
#[derive(Clone)]
pub(super) struct CloseConnection;

/// Answers the requests of a connection. The future is boxed because it is large; it is dropped when the response begins.
pub(super) trait RequestHandler: Send + Sync {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>>;
}

/// Serves the proxy and the server's own paths.
pub(super) struct ProxyHandler {
    pub(super) service: Arc<Service>,
    pub(super) listener: Listener,
    pub(super) cx: Cx,
    pub(super) settings: ConnectionSettings,
    pub(super) slot_status: Arc<SlotStatus>,
    pub(super) slot: ConnectionSlot,
}

impl RequestHandler for ProxyHandler {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        if let Some(error) = request_head::check(&request, self.settings.head_bytes) {
            return std::future::ready(error.to_response()).boxed();
        }
        if self.slot_status.is_ordinary() || Service::has_own(request.uri().path()) {
            return self.service.answer(self.listener, request, self.cx.clone()).boxed();
        }
        async move {
            if let Err(NoFreeSlot) = self.slot.become_ordinary(self.settings.slot_wait).await {
                let mut response = text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "all connections that limits.connections allows are in use\n",
                );
                response.extensions_mut().insert(CloseConnection);
                return response;
            }
            self.service.answer(self.listener, request, self.cx.clone()).await
        }
        .boxed()
    }
}

/// Serves `/metrics` and nothing else.
pub(super) struct MetricsHandler(pub(super) Arc<Service>);

impl RequestHandler for MetricsHandler {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let response = match request.uri().path() {
            "/metrics" => self.0.render_metrics(),
            _ => text(StatusCode::NOT_FOUND, "this address serves only /metrics\n"),
        };
        std::future::ready(response).boxed()
    }
}
