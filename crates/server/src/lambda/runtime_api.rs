//! The Lambda runtime API, version 2018-06-01: gets the next event, sends a streamed or a whole answer, reports a failure.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use registry_proxy_core::Body;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};

/// Longest event: six megabytes of body in base64, and headers.
const MAX_EVENT_BYTES: usize = 16 << 20;
/// Content type of an answer that begins with a prelude: status and headers.
const INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";
/// Separates the prelude from the body.
const SEPARATOR: Bytes = Bytes::from_static(&[0; 8]);

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
/// Identifies this attempt. A retried event has the same request id, and this tells a late answer from the one that is due
/// (aws/aws-lambda-rust-runtime#1159).
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const DEADLINE: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Why a call of the runtime API failed.
type Trouble = String;

/// An event and its ids.
pub(super) struct Invocation {
    id: String,
    /// Sent back with the answer, if it came with the event.
    token: Option<HeaderValue>,
    /// When the platform stops the invocation, since 1970.
    pub(super) deadline: Duration,
    pub(super) event: Bytes,
}

/// A client of the runtime API. It has one connection, so that the next event is requested only after the last byte of the
/// previous answer, even if the platform acknowledges an answer before it has all of it.
pub(super) struct RuntimeApi {
    /// `HOST:PORT`
    authority: String,
    /// Path before the API's own: emulators have one.
    prefix: String,
    connection: Mutex<Option<SendRequest<BoxedBody>>>,
}

type BoxedBody = UnsyncBoxBody<Bytes, Infallible>;

impl RuntimeApi {
    /// `HOST:PORT` as the platform sets it, or a URL as emulators do.
    pub(super) fn at(address: &str) -> Result<Self, Trouble> {
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let wrong = |what: &str| format!("AWS_LAMBDA_RUNTIME_API={address}: {what}; expected HOST:PORT");
        let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let authority = url.authority().filter(|authority| authority.port().is_some());
        let authority = authority.ok_or_else(|| wrong("no port"))?.as_str().to_owned();
        let prefix = format!("{}/2018-06-01/runtime/invocation", url.path().trim_end_matches('/'));
        Ok(Self { authority, prefix, connection: Mutex::default() })
    }

    /// Waits for the next event, without a time limit.
    pub(super) async fn next(&self) -> Result<Invocation, Trouble> {
        let request = self.request(Method::GET, "next");
        let response = self.ask(request, Full::default()).await?;
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = id.ok_or("an event without a request id")?.to_owned();
        let token = response.headers().get(INVOCATION_ID).cloned();
        let deadline = response.headers().get(DEADLINE).and_then(|at| at.to_str().ok()?.parse().ok());
        let deadline = Duration::from_millis(deadline.unwrap_or(0));
        let body = Limited::new(response.into_body(), MAX_EVENT_BYTES).collect().await;
        let event = body.map_err(|error| format!("an event was not received: {error}"))?.to_bytes();
        Ok(Invocation { id, token, deadline, event })
    }

    /// Streams a response as the answer to an event. Returns when the last chunk has been sent.
    pub(super) async fn respond(&self, invocation: &Invocation, response: Response<Body>) -> Result<(), Trouble> {
        let (head, body) = response.into_parts();
        let prelude = Bytes::from(prelude(head.status.as_u16(), &head.headers).to_string());
        let request = self
            .reply(invocation, "response")
            .header(RESPONSE_MODE, "streaming")
            .header(TRANSFER_ENCODING, "chunked")
            .header(CONTENT_TYPE, INTEGRATION)
            .header(TRAILER, ERROR_TYPE)
            .header(TRAILER, ERROR_BODY);
        let (end, ended) = oneshot::channel();
        let answer = Answer { before: vec![SEPARATOR, prelude], body: Some(body), _end: end };
        self.ask(request, answer).await?;
        // Nothing is ever sent on this channel: the body drops its end when it is done.
        let _ = ended.await;
        Ok(())
    }

    /// Answers an event with one JSON value.
    pub(super) async fn answer(&self, invocation: &Invocation, value: &Value) -> Result<(), Trouble> {
        let request = self.reply(invocation, "response");
        let request = request.header(CONTENT_TYPE, "application/json");
        self.ask(request, Full::from(value.to_string())).await.map(drop)
    }

    /// Reports that an event failed.
    pub(super) async fn fail(&self, invocation: &Invocation, kind: &str, what: &str) -> Result<(), Trouble> {
        tracing::error!(kind, error = what, "an event failed");
        let request = self.reply(invocation, "error").header(ERROR_TYPE, kind);
        let error = json!({ "errorType": kind, "errorMessage": what, "stackTrace": [] });
        self.ask(request, Full::from(error.to_string())).await.map(drop)
    }

    fn reply(&self, invocation: &Invocation, what: &str) -> http::request::Builder {
        let request = self.request(Method::POST, &format!("{}/{what}", invocation.id));
        match &invocation.token {
            Some(id) => request.header(INVOCATION_ID, id),
            None => request,
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("{}/{path}", self.prefix)).header(HOST, &self.authority)
    }

    async fn ask<B>(&self, request: http::request::Builder, body: B) -> Result<Response<Incoming>, Trouble>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = request.body(body.boxed_unsync()).map_err(|error| error.to_string())?;
        let doing = format!("{} {}", request.method(), request.uri().path());
        let failed = |error: &dyn std::error::Error| with_sources(&doing, error);
        let mut connection = self.connection.lock().await;
        let mut kept = connection.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        // A ready connection has sent all of the previous answer.
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await.map_err(|error| failed(&*error))?,
        };
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        *connection = Some(sender);
        if !response.status().is_success() {
            return Err(format!("{doing}: {}", response.status()));
        }
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<BoxedBody>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The requests on it see its errors.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn with_sources(doing: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{doing}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Status and headers in the platform's format. Framing headers are left out: the platform frames the answer itself.
fn prelude(status: u16, headers: &HeaderMap) -> Value {
    let mut fields = Map::new();
    for name in headers.keys().filter(|name| ![CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(name)) {
        // A header has one value here: join several lines into a list (RFC 9110 section 5.3).
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        fields.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(", ").into());
    }
    json!({ "statusCode": status, "headers": fields, "cookies": [] })
}

/// Prelude and body; if the body breaks, trailers with the error, so that it does not look complete.
struct Answer {
    /// Separator and prelude, in reverse order. Each is a chunk of its own, as emulators expect.
    before: Vec<Bytes>,
    body: Option<Body>,
    /// Dropped with the body, which ends `respond`.
    _end: oneshot::Sender<Infallible>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(piece) = self.before.pop() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = match std::task::ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                tracing::warn!(%error, "a response body broke off");
                self.body = None;
                Some(Ok(Frame::trailers(trailers(&error.to_string()))))
            }
            None => {
                self.body = None;
                None
            }
        };
        Poll::Ready(frame)
    }
}

fn trailers(what: &str) -> HeaderMap {
    let body = json!({ "errorType": "BodyBroke", "errorMessage": what }).to_string();
    let mut trailers = HeaderMap::new();
    trailers.insert(ERROR_TYPE, HeaderValue::from_static("BodyBroke"));
    if let Ok(body) = HeaderValue::from_str(&BASE64_STANDARD.encode(body)) {
        trailers.insert(ERROR_BODY, body);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    /// A platform that gives one event after the other, some with such an id; what is said with each answer.
    async fn platform(ids: Vec<Option<&'static str>>) -> (RuntimeApi, Arc<Mutex<Vec<(String, Option<String>)>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = RuntimeApi::at(&listener.local_addr().unwrap().to_string()).unwrap();
        let said = Arc::<Mutex<Vec<_>>>::default();
        let (ids, log) = (Arc::new(Mutex::new(ids.into_iter())), Arc::clone(&said));
        let serving = async move {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(move |request: Request<Incoming>| {
                let (ids, log) = (Arc::clone(&ids), Arc::clone(&log));
                async move {
                    let mut response = Response::builder();
                    if request.method() == Method::GET {
                        response = response.header(REQUEST_ID, "r1");
                        if let Some(id) = ids.lock().await.next().flatten() {
                            response = response.header(INVOCATION_ID, id);
                        }
                    } else {
                        let id = request.headers().get(INVOCATION_ID);
                        let id = id.map(|id| id.to_str().unwrap().to_owned());
                        log.lock().await.push((request.uri().path().to_owned(), id));
                        request.into_body().collect().await.unwrap();
                    }
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        };
        tokio::spawn(serving);
        (api, said)
    }

    #[tokio::test]
    async fn the_id_of_an_invocation_is_said_again_with_whatever_becomes_of_it() {
        let (api, said) = platform(vec![Some("i1"), Some("i2"), Some("i3"), None]).await;
        api.respond(&api.next().await.unwrap(), Response::new(Body::Empty)).await.unwrap();
        api.answer(&api.next().await.unwrap(), &Value::Null).await.unwrap();
        api.fail(&api.next().await.unwrap(), "Broken", "it broke").await.unwrap();
        // Older platforms say none, and want none.
        api.respond(&api.next().await.unwrap(), Response::new(Body::Empty)).await.unwrap();
        let path = |what: &str| format!("/2018-06-01/runtime/invocation/r1/{what}");
        let id = |id: &str| Some(id.to_owned());
        let expected = [
            (path("response"), id("i1")),
            (path("response"), id("i2")),
            (path("error"), id("i3")),
            (path("response"), None),
        ];
        assert_eq!(*said.lock().await, expected);
    }
}
