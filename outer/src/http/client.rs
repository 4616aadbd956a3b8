//! A blocking client that follows no redirect and adds no header.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{Builder, Runtime};

use crate::image::tiers::patience;
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_mins(1);

/// The client; connections are kept while it lives.
pub struct Client {
    runtime: Runtime,
    client: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A request to be sent.
pub struct Question<'client> {
    client: &'client Client,
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// A whole answer. It is held in memory, so ask for small things only.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new() -> Outcome<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(super::connector()),
        })
    }

    pub fn get(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::GET, url)
    }

    pub fn head(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::HEAD, url)
    }

    pub fn post(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::POST, url)
    }

    pub fn put(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::PUT, url)
    }

    pub fn patch(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::PATCH, url)
    }

    pub fn delete(&self, url: impl Into<String>) -> Question<'_> {
        self.question(Method::DELETE, url)
    }

    fn question(&self, method: Method, url: impl Into<String>) -> Question<'_> {
        Question { client: self, method, url: url.into(), headers: Vec::new(), body: Bytes::new() }
    }
}

impl Question<'_> {
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization", format!("Basic {pair}"))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn ask(self) -> Outcome<Answer> {
        self.exchange(async |response| {
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        })
    }

    /// Asks, and leaves when the answer has begun.
    pub fn begin(self) -> Outcome<StatusCode> {
        self.exchange(async |response| Ok(response.status()))
    }

    fn exchange<T>(self, read: impl AsyncFnOnce(Response<Incoming>) -> Outcome<T>) -> Outcome<T> {
        let doing = format!("{} {}", self.method, self.url);
        let mut request = Request::builder().method(self.method).uri(&self.url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).context(&doing)?;
        let exchange = async {
            let response = self.client.client.request(request).await.context(&doing)?;
            read(response).await.context(&doing)
        };
        let within = async { tokio::time::timeout(patience(DEADLINE), exchange).await };
        self.client.runtime.block_on(within).context(&doing)?
    }
}

impl Answer {
    /// A header's text, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn location(&self) -> &str {
        self.header(header::LOCATION.as_str())
    }

    pub fn json(&self) -> Outcome<serde_json::Value> {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).context(format_args!("not JSON: {text}"))
    }

    /// Fails, and prints the answer, unless it has this status.
    pub fn expect_status(self, status: u16) -> Outcome<Self> {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2_000)]);
        crate::failure::ensure(
            self.status.as_u16() == status,
            format_args!("status {} instead of {status}: {text}\n{:#?}", self.status, self.headers),
        )?;
        Ok(self)
    }
}
