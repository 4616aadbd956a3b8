//! Requests for logins: over the connections that upstreams have, each with a deadline, and with answers of limited length.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, USER_AGENT as USER_AGENT_HEADER};
use http::{HeaderValue, Method, Request, Response, Uri};
use registry_proxy_core::config::{ConfigError, Egress, UpstreamConfig};
use registry_proxy_core::platform::{NotIssued, Outgoing, Reach, RequestPurpose, Transport as _};
use registry_proxy_core::upstream::USER_AGENT;
use registry_proxy_core::{Body, Config};

use super::destination::{self, Destination};
use crate::transport::HyperTransport;

/// Time limit of one request: metadata services answer in milliseconds, and where there is none nothing answers at all.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer. Tokens have a few KiB.
pub(super) const ANSWER_BYTES: u64 = 64 << 10;
/// Most characters of a foreign text that are logged.
const SHOWN: usize = 200;
/// The place of the metadata services among the connections; then follow those of each upstream.
const METADATA: usize = 0;

/// Sends the requests of one upstream's login.
#[derive(Clone)]
pub(super) struct CloudClient {
    transport: Arc<HyperTransport>,
    /// The place of the cloud's services among the connections; that of the registry itself follows.
    services: usize,
}

impl fmt::Debug for CloudClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudClient").finish_non_exhaustive()
    }
}

impl CloudClient {
    /// A client for each upstream, in the order of the configuration.
    pub(super) fn for_each_upstream(config: &Config) -> Result<Vec<Self>, ConfigError> {
        let metadata = UpstreamConfig {
            name: "metadata".to_owned(),
            proxy: Some(Egress::Direct),
            ..UpstreamConfig::default()
        };
        let mut places = vec![metadata];
        for upstream in &config.upstream {
            places.push(UpstreamConfig {
                name: upstream.name.clone(),
                proxy: upstream.proxy.clone(),
                ca_file: upstream.ca_file.clone(),
                ..UpstreamConfig::default()
            });
            places.push(UpstreamConfig { max_connections: 0, ..upstream.clone() });
        }
        let config = Config { upstream: places, ..config.clone() };
        let transport = Arc::new(HyperTransport::new(&config)?);
        let services = (1..config.upstream.len()).step_by(2);
        Ok(services.map(|services| Self { transport: Arc::clone(&transport), services }).collect())
    }

    /// Sends a request to a metadata service or a service of the cloud.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, NotIssued> {
        let place = match destination::of(request.uri()) {
            Some(Destination::Metadata) => METADATA,
            Some(Destination::Service) => self.services,
            None => {
                let why = "plain HTTP is for metadata services and this machine only";
                return Err(NotIssued(format!("{} is not asked: {why}", shown_host(request.uri()))));
            }
        };
        self.send_to(place, request).await
    }

    /// Sends a request to the registry itself, as requests for images go there.
    pub(super) async fn send_to_registry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, NotIssued> {
        if destination::of(request.uri()).is_none() {
            let host = shown_host(request.uri());
            return Err(NotIssued(format!("{host} gets no identity: it is asked over plain HTTP")));
        }
        self.send_to(self.services + 1, request).await
    }

    async fn send_to(&self, place: usize, mut request: Request<Bytes>) -> Result<Response<Bytes>, NotIssued> {
        let host = shown_host(request.uri());
        let length = request.body().len();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        headers.remove(CONTENT_LENGTH);
        if length == 0 && *request.method() != Method::GET {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = request.map(|body| if body.is_empty() { Body::Empty } else { Body::from(body) });
        let outgoing =
            Outgoing { request, upstream: place, reach: Reach::Configured, purpose: RequestPurpose::Api };
        let answered = tokio::time::timeout(REQUEST_DEADLINE, async {
            let sent = self.transport.send(outgoing).await;
            let (head, body) = sent.map_err(|error| NotIssued(format!("{host}: {error}")))?.into_parts();
            let body = body.collect(ANSWER_BYTES).await.map_err(|error| NotIssued(format!("{host}: {error}")))?;
            Ok(Response::from_parts(head, body))
        });
        answered.await.unwrap_or_else(|_| Err(NotIssued(format!("{host}: no answer in time"))))
    }
}

/// The host of an address, for messages: paths and queries may contain secrets.
fn shown_host(uri: &Uri) -> String {
    uri.authority().map_or_else(|| "an address without a host".to_owned(), ToString::to_string)
}

/// A text of another's for the log: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// What an answer other than 200 is reported as.
pub(super) fn refused(who: &str, response: &Response<Bytes>) -> NotIssued {
    NotIssued(format!("{who} answers {}: {}", response.status(), shown(&String::from_utf8_lossy(response.body()))))
}
