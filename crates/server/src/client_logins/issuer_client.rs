//! Asks an issuer, over connections as upstreams have them: the same certificates, and the same proxies of the environment.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT as USER_AGENT_HEADER};
use http::request::Builder;
use http::{HeaderValue, Request, Response};
use registry_proxy_core::config::UpstreamConfig;
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport as _};
use registry_proxy_core::upstream::USER_AGENT;
use registry_proxy_core::{Body, Config};
use url::Url;
use url::form_urlencoded::Serializer;

use super::device_flow::AskIssuer;
use crate::transport::HyperTransport;

/// Time limit of one request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer. Tokens have a few KiB.
const ANSWER_BYTES: u64 = 256 << 10;

pub(super) struct IssuerClient(HyperTransport);

impl IssuerClient {
    pub(super) fn new() -> Result<Self, String> {
        crate::egress::check().map_err(|error| error.to_string())?;
        let issuer = UpstreamConfig { name: "issuer".to_owned(), ..UpstreamConfig::default() };
        let config = Config { upstream: vec![issuer], ..Config::default() };
        HyperTransport::new(&config).map(Self).map_err(|error| error.to_string())
    }

    async fn send(&self, url: &Url, request: Builder, body: Body) -> Result<Response<Bytes>, String> {
        // Paths and queries may have secrets.
        let host = url.host_str().unwrap_or_default();
        let request = request
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        let request = request.body(body).map_err(|_| format!("{host}: the address cannot be asked"))?;
        // The user has named the issuer, so it may be a private one. No redirect is followed.
        let (upstream, reach, purpose) = (0, Reach::Configured, RequestPurpose::Api);
        let answered = tokio::time::timeout(REQUEST_DEADLINE, async {
            let sent = self.0.send(Outgoing { request, upstream, reach, purpose }).await;
            let (head, body) = sent.map_err(|error| format!("{host}: {error}"))?.into_parts();
            let body = body.collect(ANSWER_BYTES).await.map_err(|error| format!("{host}: {error}"))?;
            Ok(Response::from_parts(head, body))
        });
        answered.await.unwrap_or_else(|_| Err(format!("{host}: no answer in time")))
    }
}

#[async_trait]
impl AskIssuer for IssuerClient {
    async fn get(&self, url: &Url) -> Result<Response<Bytes>, String> {
        self.send(url, Request::get(url.as_str()), Body::Empty).await
    }

    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<Response<Bytes>, String> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(url.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(url, request, Body::from(Bytes::from(body))).await
    }
}
