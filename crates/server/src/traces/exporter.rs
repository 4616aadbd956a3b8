//! Sends spans to the collector over this server's own transport: the same TLS, the same way out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport as _};
use registry_proxy_core::{Body, Config};
use tokio::runtime::Handle;

use super::environment::{Endpoint, TraceVariables};
use crate::transport::HyperTransport;

/// Most bytes of a collector's answer.
const ANSWER_BYTES: u64 = 64 << 10;

/// The collector.
pub(super) struct Collector {
    transport: Arc<HyperTransport>,
    /// Sends: the exporter has a thread of its own, without a runtime.
    runtime: Handle,
    timeout: Duration,
    is_failing: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    pub(super) fn new(
        endpoint: &Endpoint,
        environment: &TraceVariables,
        runtime: &Handle,
    ) -> Result<Self, ConfigError> {
        let collector = UpstreamConfig {
            name: "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            urls: vec![endpoint.url.clone()],
            ca_file: environment.certificate(),
            ..UpstreamConfig::default()
        };
        let transport = HyperTransport::new(&Config { upstream: vec![collector], ..Config::default() })?;
        Ok(Self {
            transport: Arc::new(transport),
            runtime: runtime.clone(),
            timeout: environment.timeout(),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Says that spans are lost, and that they are taken again: once each, however long it lasts.
    fn note(&self, failure: Option<&str>) {
        match (failure, self.is_failing.swap(failure.is_some(), Ordering::Relaxed)) {
            (Some(error), false) => tracing::warn!(error, "the collector does not take spans; they are dropped"),
            (None, true) => tracing::info!("the collector takes spans again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outgoing = Outgoing {
            request: request.map(Body::from),
            upstream: 0,
            // The operator has named the address.
            reach: Reach::Configured,
            purpose: RequestPurpose::Api,
        };
        let (transport, timeout) = (Arc::clone(&self.transport), self.timeout);
        let sent = self.runtime.spawn(async move {
            tokio::time::timeout(timeout, async {
                let (head, body) = transport.send(outgoing).await?.into_parts();
                Ok::<_, HttpError>(Response::from_parts(head, body.collect(ANSWER_BYTES).await?))
            })
            .await
            .unwrap_or_else(|_| Err("the collector did not answer in time".into()))
        });
        let answer = sent.await.unwrap_or_else(|error| Err(error.into()));
        let failure = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        self.note(failure.as_deref());
        answer
    }
}
