//! Towards clients: listening, signals, and the few paths that are the server's own.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use registry_proxy_core::platform::Profile;
use registry_proxy_core::{Body, Config, Cx};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::reload::Reloadable;
use crate::settings::Settings;
use crate::store::{Credentials, Login};
use crate::workers::Workers;
use crate::{connection, keeper, metrics};

/// After a failure to accept (out of file descriptors, say), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long what was served just now may take to reach the store, before we end.
const SETTLE: Duration = Duration::from_secs(5);

/// What answers requests, on whichever connection.
pub(crate) struct Service {
    pub(crate) reloadable: Reloadable,
    metrics: PrometheusHandle,
    /// Metrics have an address of their own, and are not told on the main one.
    metrics_apart: bool,
    is_draining: AtomicBool,
    requests: AtomicU64,
}

/// Serves until told to stop.
pub(crate) async fn serve(settings: Settings, config: Config) -> Result<(), Box<dyn Error>> {
    let listen = config.listen.clone();
    let metrics_listen = config.metrics.listen.clone();
    let (connections, drain) = (config.limits.connections, config.timeouts.drain.0);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let scheme = if config.tls.cert_file.is_some() { "https" } else { "http" };
    let names: Vec<String> = config.upstream.iter().map(|upstream| upstream.name.clone()).collect();
    let listener = bind("listen", &listen).await?;
    let service = Arc::new(Service::new(settings, config)?);
    if let Some(address) = &metrics_listen {
        let listener = bind("metrics.listen", address).await?;
        tracing::info!("metrics on http://{}/metrics", listener.local_addr()?);
        tokio::spawn(serve_metrics(listener, Arc::clone(&service)));
    }
    let _admin = keeper::socket::open(&service).await;
    tracing::info!(upstreams = names.join(" "), "listening on {scheme}://{}", listener.local_addr()?);

    // Each connection holds a receiver until it ends.
    let drains = watch::Sender::new(false);
    let places = Arc::new(Semaphore::new(connections));
    let workers = Workers::start()?;
    loop {
        tokio::select! {
            // A place first, then a connection: what does not fit waits in the kernel's queue.
            accepted = accept(&listener, &places) => {
                if let Some((stream, place)) = accepted {
                    let (service, drain) = (Arc::clone(&service), drains.subscribe());
                    let given = workers.give(stream, |stream| connection::serve(stream, place, service, drain));
                    if let Err(error) = given {
                        tracing::error!(%error, "cannot serve a connection");
                    }
                }
            }
            _ = hangup.recv() => service.reloadable.reload(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    service.is_draining.store(true, Ordering::Relaxed);
    tracing::info!(connections = drains.receiver_count(), "stopping; transfers under way may end");
    drains.send_replace(true);
    tokio::select! {
        () = drains.closed() => tracing::info!("stopped"),
        () = tokio::time::sleep(drain) => tracing::warn!("timeouts.drain is over; the transfers left end here"),
        _ = terminate.recv() => tracing::warn!("told twice; the transfers left end here"),
        _ = interrupt.recv() => tracing::warn!("told twice; the transfers left end here"),
    }
    service.reloadable.current().proxy.close(SETTLE).await;
    Ok(())
}

async fn bind(key: &str, address: &str) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address).await.map_err(|error| format!("{key}: cannot listen on {address}: {error}").into())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::error!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// `/metrics` on an address of its own.
async fn serve_metrics(listener: TcpListener, service: Arc<Service>) {
    let places = Arc::new(Semaphore::new(16));
    let drains = watch::Sender::new(false);
    loop {
        if let Some((stream, place)) = accept(&listener, &places).await {
            tokio::spawn(connection::serve_metrics(stream, place, Arc::clone(&service), drains.subscribe()));
        }
    }
}

impl Service {
    /// Puts it together.
    pub(crate) fn new(settings: Settings, config: Config) -> Result<Self, Box<dyn Error>> {
        let metrics_apart = config.metrics.listen.is_some();
        Ok(Self {
            reloadable: Reloadable::new(settings, config)?,
            metrics: metrics::start()?,
            metrics_apart,
            is_draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        })
    }

    /// Answers a request.
    pub(crate) fn answer(
        &self,
        request: Request<Body>,
        mut cx: Cx,
    ) -> impl Future<Output = Response<Body>> + Send + use<'_> {
        cx.id = self.requests.fetch_add(1, Ordering::Relaxed);
        async move {
            if let Some(response) = self.own(&request) {
                return response;
            }
            // The guard is given back before the wait: a reload does not wait for requests.
            let current = arc_swap::Guard::into_inner(self.reloadable.current());
            if current.config.platform == Profile::TencentScf {
                take_credentials(request.headers());
            }
            current.proxy.handle(&cx, request).await
        }
    }

    /// The server's own paths, which no registry has.
    fn own(&self, request: &Request<Body>) -> Option<Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path() {
            "/healthz" => Some(text(StatusCode::OK, "ok\n")),
            "/readyz" if self.is_draining.load(Ordering::Relaxed) => {
                Some(text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"))
            }
            // No upstream is asked: what can be served without one is served without one.
            "/readyz" => Some(text(StatusCode::OK, "ready\n")),
            "/metrics" if !self.metrics_apart => Some(self.render_metrics()),
            _ => None,
        }
    }

    /// `/metrics`
    pub(crate) fn render_metrics(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from(self.metrics.render())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        response
    }
}

/// A function of Tencent's is lent a role with every request, for longer than its environment says. Only a whole one
/// counts: what lacks a token, or comes twice, was not written by the platform.
fn take_credentials(headers: &HeaderMap) {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok().filter(|value| !value.is_empty())?;
        values.next().is_none().then(|| value.to_owned())
    };
    let [id, secret, token] = ["x-scf-secret-id", "x-scf-secret-key", "x-scf-session-token"].map(one);
    if let (Some(id), Some(secret), Some(token)) = (id, secret, token) {
        Credentials::of_this_process().renew(Login { id, secret, token: Some(token) });
    }
}

/// A line of plain text.
pub(crate) fn text(status: StatusCode, line: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(line.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
