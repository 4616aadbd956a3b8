//! Every exchange, held to the rules.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout_at};

use super::ledger::{Exchange, Ledger, Limit};
use super::rules::Rules;
use super::turnstile::{Stay, Turnstile};
use crate::http::{Body, Handler, Pace, Server, connector, empty, text};
use crate::{Context, Outcome};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The platform's end of it. Clients ask here.
pub struct Gateway {
    server: Server,
    desk: Arc<Desk>,
}

struct Desk {
    rules: Rules,
    ledger: Arc<Ledger>,
    function: OnceLock<Function>,
    /// A connection for each request: a frozen process closes none of those that it would have closed.
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What stands behind it.
struct Function {
    address: SocketAddr,
    turnstile: Arc<Turnstile>,
}

impl Gateway {
    /// Listens; behind it there is nothing yet.
    pub fn start(rules: Rules) -> Outcome<Self> {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector());
        let desk = Arc::new(Desk { rules, ledger: Arc::default(), function: OnceLock::new(), client });
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&desk))?;
        Ok(Self { server, desk })
    }

    /// Says where the function listens, and what freezes it.
    pub fn attach(&self, address: SocketAddr, turnstile: Arc<Turnstile>) {
        // A second function behind one gateway is a mistake in a test, and is not asked.
        let _ = self.desk.function.set(Function { address, turnstile });
    }

    /// `IP:PORT`, as it stands in image names.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn rules(&self) -> &Rules {
        &self.desk.rules
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.desk.ledger
    }
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            let what = format!("{} {}", request.method(), request.uri());
            let wall = self.rules.wall;
            match tokio::time::timeout(wall, Arc::clone(&self).exchange(request, &what)).await {
                Ok(answer) => answer,
                Err(_) => Ok(self.refuse(Limit::Wall, &what, format!("no answer within {wall:?}"))),
            }
        }
        .boxed()
    }
}

impl Desk {
    async fn exchange(self: Arc<Self>, request: Request<Incoming>, what: &str) -> Outcome<Response<Body>> {
        let rules = &self.rules;
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        if rules.target.is_some_and(|most| target.len() > most) {
            self.ledger.note_breach(Limit::Target, what, format!("{} bytes", target.len()));
            return Ok(text(StatusCode::BAD_REQUEST, "InvalidArgument"));
        }
        if rules.request_headers.is_some_and(|most| size(&head.headers) > most) {
            self.ledger.note_breach(Limit::RequestHeaders, what, format!("{} bytes", size(&head.headers)));
            return Ok(text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers too large"));
        }
        let most = rules.request_body.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let Ok(body) = Limited::new(body, most).collect().await else {
            self.ledger.note_breach(Limit::RequestBody, what, format!("over {most} bytes"));
            return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "request too large"));
        };
        let function = self.function.get().context("there is no function behind the gateway")?;
        let mut asked = Request::new(Full::new(body.to_bytes()));
        *asked.method_mut() = head.method.clone();
        *asked.uri_mut() = format!("http://{}{target}", function.address).parse::<Uri>()?;
        *asked.headers_mut() = head.headers;
        // What a client sends under these names is not the platform's word.
        for (name, value) in rules.adds {
            asked.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let wrote = asked.headers().get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let wrote = wrote.collect::<Vec<_>>().join(", ");
        if let Some(chain) = rules.forwarded_for(&wrote) {
            asked.headers_mut().insert(FORWARDED_FOR, chain.parse()?);
        }
        for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::EXPECT] {
            asked.headers_mut().remove(name);
        }
        let stay = function.turnstile.enter();
        let answer = match self.client.request(asked).await {
            Ok(answer) => answer,
            Err(error) => return Ok(self.refuse(Limit::Answer, what, format!("no answer: {error:?}"))),
        };
        let ending = Ending {
            ledger: Arc::clone(&self.ledger),
            exchange: Exchange {
                method: head.method.to_string(),
                path: target.to_owned(),
                status: answer.status().as_u16(),
                bytes: 0,
            },
            _stay: stay,
        };
        self.answer(&head.method, answer, ending, what).await
    }

    /// What becomes of the function's answer.
    async fn answer(
        &self,
        method: &Method,
        answer: Response<Incoming>,
        ending: Ending,
        what: &str,
    ) -> Outcome<Response<Body>> {
        let rules = &self.rules;
        let (head, body) = answer.into_parts();
        if rules.answer_headers.is_some_and(|most| size(&head.headers) > most) {
            let detail = format!("{} bytes of headers", size(&head.headers));
            return Ok(self.refuse(Limit::AnswerHeaders, what, detail));
        }
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let is_head = method == Method::HEAD;
        if let (false, Some(length), Some(most)) = (is_head, length, rules.whole_body)
            && length > most
        {
            return Ok(self.refuse(Limit::WholeBody, what, format!("{length} bytes")));
        }
        let flow = Flow {
            body,
            pace: rules.throttle.map(|(after, rate)| (after, Pace::new(rate))),
            // One that says its length has been held to that above.
            most: if length.is_none() { rules.streamed_body } else { None },
            ending,
            what: what.to_owned(),
            deadline: Instant::now() + rules.wall,
        };
        let body = if is_head {
            empty(StatusCode::OK).into_body()
        } else if rules.buffers {
            match flow.into_body().collect().await {
                Ok(whole) => Full::new(whole.to_bytes()).map_err(|never| match never {}).boxed(),
                // It has been written down.
                Err(_) => return Ok(text(StatusCode::from_u16(rules.refusal)?, "the platform refuses")),
            }
        } else {
            flow.into_body()
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        self.carry(&head.headers, response.headers_mut(), is_head)?;
        Ok(response)
    }

    /// The headers that arrive, under the names under which they do.
    fn carry(&self, from: &HeaderMap, to: &mut HeaderMap, is_head: bool) -> Outcome {
        let rules = &self.rules;
        for (name, value) in from {
            let is_framing = name == header::TRANSFER_ENCODING || name == header::CONNECTION;
            let is_lost_length = name == header::CONTENT_LENGTH && is_head && !rules.keeps_head_length;
            if is_framing || is_lost_length || rules.drops(name.as_str()) {
                continue;
            }
            match rules.renamed(name.as_str()) {
                Some(name) => to.append(name.parse::<HeaderName>()?, value.clone()),
                None => to.append(name, value.clone()),
            };
        }
        Ok(())
    }

    fn refuse(&self, limit: Limit, what: &str, detail: String) -> Response<Body> {
        self.ledger.note_breach(limit, what, detail);
        text(StatusCode::from_u16(self.rules.refusal).unwrap_or(StatusCode::BAD_GATEWAY), "the platform refuses")
    }
}

/// Names and values together.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// An answer's body on its way.
struct Flow {
    body: Incoming,
    /// From which byte on it is held back, and how.
    pace: Option<(u64, Pace)>,
    most: Option<u64>,
    ending: Ending,
    what: String,
    deadline: Instant,
}

impl Flow {
    fn into_body(self) -> Body {
        let frames = stream::unfold(Some(self), |flow| async move {
            let mut flow = flow?;
            let piece = loop {
                match timeout_at(flow.deadline, flow.body.frame()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(frame))) => match frame.into_data() {
                        Ok(piece) => break piece,
                        // No platform is known to pass trailers.
                        Err(_trailers) => {}
                    },
                    Ok(Some(Err(error))) => return Some((Err(io::Error::other(error)), None)),
                    Err(_) => {
                        flow.ending.ledger.note_breach(Limit::Wall, &flow.what, "its body took too long");
                        return Some((Err(io::Error::other("the platform's time is over")), None));
                    }
                }
            };
            match flow.pass(piece).await {
                Ok(piece) => Some((Ok(Frame::data(piece)), Some(flow))),
                Err(error) => Some((Err(error), None)),
            }
        });
        StreamBody::new(frames).boxed()
    }

    async fn pass(&mut self, piece: Bytes) -> io::Result<Bytes> {
        let length = piece.len() as u64;
        self.ending.exchange.bytes += length;
        let bytes = self.ending.exchange.bytes;
        if let Some(most) = self.most
            && bytes > most
        {
            self.ending.ledger.note_breach(Limit::StreamedBody, &self.what, format!("over {most} bytes"));
            return Err(io::Error::other("the platform cuts this body off"));
        }
        if let Some((after, pace)) = &self.pace
            && bytes > *after
        {
            pace.turn(length.min(bytes - after)).await;
        }
        Ok(piece)
    }
}

/// Written down when it is over, for whatever reason; only then may the process be frozen.
struct Ending {
    ledger: Arc<Ledger>,
    exchange: Exchange,
    _stay: Stay,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ledger.note(self.exchange.clone());
    }
}
