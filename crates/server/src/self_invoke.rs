//! Invokes this Lambda function again, for work that should not delay an answer.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Invoke, InvokeError};
use reqsign_aws_v4::{Credential, EnvCredentialProvider, RequestSigner};
use reqsign_core::{Context, OsEnv, Signer};

use crate::transport::address_guard::Admits;
use crate::transport::dial::Dialer;

/// How long a connection to the API may take to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// Requests asynchronous invocations from the Lambda API, with the function's own role.
pub(crate) struct SelfInvoker {
    address: String,
    signer: Signer<Credential>,
    client: Client<HttpsConnector<Dialer>, Full<Bytes>>,
}

impl SelfInvoker {
    /// Reads the environment; `None`: the function's name or region is missing.
    pub(crate) fn from_environment() -> Result<Option<Self>, ConfigError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(name), Some(region)) = (variable("AWS_LAMBDA_FUNCTION_NAME"), variable("AWS_REGION")) else {
            return Ok(None);
        };
        let base = variable("AWS_ENDPOINT_URL_LAMBDA")
            .unwrap_or_else(|| format!("https://lambda.{region}.amazonaws.com"));
        let base = base.trim_end_matches('/');
        let context = Context::new().with_env(OsEnv);
        let tls = crate::tls::client(&UpstreamConfig::default(), false)?;
        let dialer = Dialer::new(&UpstreamConfig::default(), Admits::Everything, None, CONNECT)?;
        Ok(Some(Self {
            address: format!("{base}/2015-03-31/functions/{name}/invocations"),
            signer: Signer::new(context, EnvCredentialProvider::new(), RequestSigner::new("lambda", &region)),
            client: Client::builder(TokioExecutor::new()).build(HttpsConnector::from((dialer, tls))),
        }))
    }
}

#[async_trait]
impl Invoke for SelfInvoker {
    async fn invoke(&self, event: String) -> Result<(), InvokeError> {
        let wrong = |what: String| InvokeError(what.into());
        // Lambda requires a signed body; the signer uses this header's hash.
        let hash = Digest::sha256(event.as_bytes());
        let request = Request::post(&self.address)
            .header("x-amz-content-sha256", hash.encoded())
            .header("content-type", "application/json")
            // Asynchronous: returns before the invocation runs.
            .header("x-amz-invocation-type", "Event")
            .body(Full::new(Bytes::from(event)))
            .map_err(|error| wrong(error.to_string()))?;
        let (mut head, body) = request.into_parts();
        self.signer.sign(&mut head, None).await.map_err(|error| wrong(error.to_string()))?;
        let sent = self.client.request(Request::from_parts(head, body)).await;
        let status = sent.map_err(|error| InvokeError(error.into()))?.status();
        match status {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(()),
            StatusCode::FORBIDDEN => {
                Err(wrong("the role lacks lambda:InvokeFunction on this function".to_owned()))
            }
            status => Err(wrong(format!("the Lambda API answered {status}"))),
        }
    }
}
