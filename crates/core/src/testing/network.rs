//! Hosts in memory, reached through `Transport`. What goes wrong on the way is scripted; what was sent is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::{Pieces, Step};
use crate::body::Body;
use crate::platform::{Clock, Moment, Outgoing, Reach, RequestPurpose, Transport, TransportError, Unconnected};
use crate::upstream::is_private;

/// No body of a test is larger.
const BODY_BYTES: u64 = 64 << 20;

/// A request as it arrived at a host.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its method.
    pub method: Method,
    /// Its whole address.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Which upstream it was sent for.
    pub upstream: usize,
    /// Which addresses it might reach.
    pub reach: Reach,
    /// What it fetches.
    pub purpose: RequestPurpose,
    /// When it was sent.
    pub at: Moment,
}

impl Sent {
    /// A header as text; the empty text where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `https://host:port`
    pub fn origin(&self) -> &str {
        let host = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url.get(host..).and_then(|rest| rest.find('/')).map_or(self.url.len(), |at| host + at);
        self.url.get(..end).unwrap_or_default()
    }

    /// Path and query.
    pub fn path_and_query(&self) -> &str {
        self.url.get(self.origin().len()..).unwrap_or_default()
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.path_and_query().split('?').next().unwrap_or_default()
    }

    /// The first parameter of this name, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        crate::route::parameter(self.path_and_query().split_once('?').map(|(_, query)| query), name)
    }

    fn line(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

/// What a host answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without a length.
    pub headers: HeaderMap,
    /// The bytes.
    pub body: Bytes,
    /// The length that the headers claim.
    pub length: Option<u64>,
}

impl Answer {
    /// An empty answer.
    ///
    /// # Panics
    ///
    /// Where the status is none.
    pub fn new(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            length: Some(0),
        }
    }

    /// With one more header.
    ///
    /// # Panics
    ///
    /// Where it is no header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// With these bytes, and their length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.length = Some(self.body.len() as u64);
        self
    }

    /// Without a length, as a chunked body has none.
    pub fn without_length(mut self) -> Self {
        self.length = None;
        self
    }
}

/// A host.
pub trait Server: Send + Sync {
    /// What it says to a request.
    fn answer(&self, sent: &Sent) -> Answer;
}

impl<F: Fn(&Sent) -> Answer + Send + Sync> Server for F {
    fn answer(&self, sent: &Sent) -> Answer {
        self(sent)
    }
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// No connection comes about: it is refused.
    Refuse,
    /// No connection comes about, for this reason.
    Unconnected(Unconnected),
    /// The connection breaks before an answer.
    Drop,
    /// No answer ever begins.
    Silence,
    /// The answer begins after a while.
    Late(Duration),
    /// The body ends after so many bytes, as if that were all.
    EndAfter(usize),
    /// The connection breaks after so many bytes of the body.
    BreakAfter(usize),
    /// Nothing arrives for a while after so many bytes of the body.
    StallAfter(usize, Duration),
    /// As `StallAfter`, again and again: each stall comes so many bytes after the one before.
    Stalls(Vec<(usize, Duration)>),
    /// As over a long line: the answer begins after a while, and its body comes at so many bytes a second.
    Paced(Duration, u64),
    /// Another answer than the host's.
    Say(Answer),
    /// Another answer than the host's, after a while.
    SayLate(Duration, Answer),
    /// The host's answer, changed.
    Change(Arc<dyn Fn(&mut Answer) + Send + Sync>),
    /// The same, and as `StallAfter` besides.
    ChangeAndStall(Arc<dyn Fn(&mut Answer) + Send + Sync>, usize, Duration),
}

impl Fault {
    /// The host's answer, changed.
    pub fn change(change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::Change(Arc::new(change))
    }
}

struct Script {
    method: &'static str,
    part: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    servers: Vec<(String, Arc<dyn Server>)>,
    scripts: Vec<Script>,
    private: Vec<String>,
    log: Vec<Sent>,
    /// Bytes that went out for an address.
    taken: Vec<(String, Arc<AtomicU64>)>,
}

/// Hosts, faults and the log.
pub struct Network {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl Network {
    /// Without any host.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Puts a host behind all addresses that begin so; the longest beginning wins.
    pub fn serve(&self, beginning: &str, server: impl Server + 'static) {
        self.state().servers.push((beginning.to_owned(), Arc::new(server)));
    }

    /// Lets an origin's name resolve to a private address.
    pub fn make_private(&self, origin: &str) {
        self.state().private.push(origin.to_owned());
    }

    /// Scripts a fault for the next so many requests with this method (`*`: any) whose address contains `part`.
    /// Faults of the same request are used up in the order they were scripted.
    pub fn fault(&self, method: &'static str, part: &str, times: usize, fault: Fault) {
        self.state().scripts.push(Script { method, part: part.to_owned(), fault, times });
    }

    /// Forgets the faults that are left.
    pub fn heal(&self) {
        self.state().scripts.clear();
    }

    /// All that was sent.
    pub fn log(&self) -> Vec<Sent> {
        self.state().log.clone()
    }

    /// What was sent to addresses that contain this, by this method (`*`: any).
    pub fn sent(&self, method: &str, part: &str) -> Vec<Sent> {
        let state = self.state();
        let fits = |sent: &&Sent| (method == "*" || sent.method == method) && sent.url.contains(part);
        state.log.iter().filter(fits).cloned().collect()
    }

    /// Method and address of all that was sent.
    pub fn lines(&self) -> Vec<String> {
        self.state().log.iter().map(Sent::line).collect()
    }

    /// Bytes of bodies that hosts at addresses that contain this have sent, as far as anybody read them.
    pub fn delivered(&self, part: &str) -> u64 {
        let state = self.state();
        let of = state.taken.iter().filter(|(url, _)| url.contains(part));
        of.map(|(_, bytes)| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Forgets what was sent.
    pub fn forget(&self) {
        let mut state = self.state();
        state.log.clear();
        state.taken.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the host is at a private address, by its name or by what the test says of it.
    fn is_private(&self, sent: &Sent) -> bool {
        let named = url::Url::parse(&sent.url).ok().and_then(|url| match url.host()? {
            url::Host::Ipv4(v4) => Some(v4.into()),
            url::Host::Ipv6(v6) => Some(v6.into()),
            url::Host::Domain(_) => None,
        });
        named.is_some_and(is_private) || self.state().private.iter().any(|origin| origin == sent.origin())
    }

    /// Writes the request down; finds its host and its fault.
    fn take(&self, sent: &Sent) -> (Option<Arc<dyn Server>>, Option<Fault>) {
        let mut state = self.state();
        state.log.push(sent.clone());
        let mut servers: Vec<_> = state.servers.iter().filter(|(begin, _)| sent.url.starts_with(begin)).collect();
        servers.sort_by_key(|(begin, _)| begin.len());
        let server = servers.last().map(|(_, server)| Arc::clone(server));
        let script = state.scripts.iter_mut().find(|script| {
            script.times > 0
                && (script.method == "*" || sent.method == script.method)
                && sent.url.contains(&script.part)
        });
        let fault = script.map(|script| {
            script.times -= 1;
            script.fault.clone()
        });
        (server, fault)
    }
}

fn unconnected(why: Unconnected) -> TransportError {
    TransportError::Connect { why, source: "at 10.0.0.5:443".into() }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError> {
        let (head, body) = outgoing.request.into_parts();
        let at = self.clock.now();
        let body = body.collect(BODY_BYTES).await.map_err(|error| TransportError::Broken(error.into()))?;
        let sent = Sent {
            method: head.method,
            url: head.uri.to_string(),
            headers: head.headers,
            body,
            upstream: outgoing.upstream,
            reach: outgoing.reach,
            purpose: outgoing.purpose,
            at,
        };
        if outgoing.reach == Reach::Public && self.is_private(&sent) {
            let host = sent.origin().into();
            return Err(TransportError::AddressRefused { host, address: [10, 0, 0, 5].into() });
        }
        let (server, fault) = self.take(&sent);
        match &fault {
            Some(Fault::Refuse) => return Err(unconnected(Unconnected::Refused)),
            Some(Fault::Unconnected(why)) => return Err(unconnected(*why)),
            Some(Fault::Drop) => return Err(TransportError::Broken("connection reset".into())),
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Late(duration) | Fault::SayLate(duration, _) | Fault::Paced(duration, _)) => {
                self.clock.sleep(*duration).await;
            }
            _ => {}
        }
        let Some(server) = server else { return Err(unconnected(Unconnected::NotResolved)) };
        let mut answer = server.answer(&sent);
        match &fault {
            Some(Fault::Say(other) | Fault::SayLate(_, other)) => answer = other.clone(),
            Some(Fault::Change(change) | Fault::ChangeAndStall(change, ..)) => change(&mut answer),
            _ => {}
        }
        Ok(self.respond(&sent, answer, fault.as_ref()))
    }
}

impl Network {
    fn respond(&self, sent: &Sent, answer: Answer, fault: Option<&Fault>) -> Response<Body> {
        let bytes = answer.body;
        let split = |at: &usize| (bytes.slice(..bytes.len().min(*at)), bytes.slice(bytes.len().min(*at)..));
        let steps: Vec<Step> = match fault {
            Some(Fault::EndAfter(at)) => Pieces::cut(&split(at).0).collect(),
            Some(Fault::BreakAfter(at)) => Pieces::cut(&split(at).0).chain([Step::Break]).collect(),
            Some(Fault::StallAfter(at, duration) | Fault::ChangeAndStall(_, at, duration)) => {
                let (before, after) = split(at);
                Pieces::cut(&before).chain([Step::Wait(*duration)]).chain(Pieces::cut(&after)).collect()
            }
            Some(Fault::Stalls(stalls)) => {
                let mut rest = bytes;
                let mut steps = Vec::new();
                for (after, duration) in stalls {
                    steps.extend(Pieces::cut(&rest.split_to(rest.len().min(*after))));
                    steps.push(Step::Wait(*duration));
                }
                steps.into_iter().chain(Pieces::cut(&rest)).collect()
            }
            Some(Fault::Paced(_, rate)) => Pieces::paced(&bytes, *rate).collect(),
            _ => Pieces::cut(&bytes).collect(),
        };
        let body = if sent.method == Method::HEAD {
            Body::Empty
        } else {
            let taken = Arc::<AtomicU64>::default();
            self.state().taken.push((sent.url.clone(), Arc::clone(&taken)));
            Body::stream(Pieces::new(steps, Arc::clone(&self.clock), taken), answer.length)
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response.headers_mut().extend(answer.length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        response
    }
}
