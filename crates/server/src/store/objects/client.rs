//! Requests of `OpenDAL` over the HTTP client that the rest of the server uses: hyper and rustls, and the proxies that the
//! environment names (`HTTPS_PROXY`, `NO_PROXY`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyDataStream, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter};
use registry_proxy_core::config::{ConfigError, Upstream};

use super::sign::Signing;
use crate::transport::dial::{Dialer, InTime};
use crate::transport::guard::Admits;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long it may take with everything: name, proxy and TLS.
const READY: Duration = Duration::from_secs(10);
/// Idle connections are kept for less time than load balancers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// The client, with the machine's roots.
pub(super) fn transport() -> Result<HttpTransporter, ConfigError> {
    let dialer = Dialer::new(&Upstream::default(), Admits::Everything, None, CONNECT)?;
    let tls = crate::tls::client(&Upstream::default(), false)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(InTime::new(connector.wrap_connector(dialer.clone()), READY));
    Ok(HttpTransporter::new(Hyper { client, ways: dialer }))
}

/// The same, with a signature on everything.
pub(super) fn signed(transport: HttpTransporter, signing: Arc<Signing>) -> HttpTransporter {
    HttpTransporter::new(Signed { transport, signing })
}

struct Signed {
    transport: HttpTransporter,
    signing: Arc<Signing>,
}

impl HttpTransport for Signed {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (mut parts, body) = request.into_parts();
        self.signing.request(&mut parts).await.map_err(unsigned)?;
        self.transport.fetch(Request::from_parts(parts, body)).await
    }
}

/// Without credentials there is nothing to ask for again.
pub(super) fn unsigned(error: reqsign_core::Error) -> Error {
    let is_ours = matches!(
        error.kind(),
        reqsign_core::ErrorKind::CredentialInvalid | reqsign_core::ErrorKind::PermissionDenied
    );
    let kind = if is_ours { ErrorKind::PermissionDenied } else { ErrorKind::Unexpected };
    let is_temporary = error.is_retryable();
    Error::new(kind, "a request was not signed").set_source(error).with_temporary(is_temporary)
}

struct Hyper {
    client: Client<InTime<HttpsConnector<Dialer>>, Full<Bytes>>,
    ways: Dialer,
}

impl HttpTransport for Hyper {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let mut request = request.map(|body| Full::new(body.to_bytes()));
        let login = self.ways.login_for(request.uri());
        request.headers_mut().extend(login.map(|login| (PROXY_AUTHORIZATION, login)));
        let response = self.client.request(request).await.map_err(failed)?;
        let length = http_body::Body::size_hint(response.body()).exact();
        Ok(response.map(|body| {
            let pieces = BodyDataStream::new(body).map_ok(Buffer::from).map_err(failed);
            HttpBody::new(pieces, length)
        }))
    }
}

/// A connection that failed may succeed the next time.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the object store was not reached").set_source(error).set_temporary()
}
