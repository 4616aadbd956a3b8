//! A front before a registry that does what registries are reported to do: for real clients, a few rows of the core's table
//! of registries (`crates/core/src/testing/zoo/registries.toml`), which has the sources.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::Registry;
use crate::Outcome;
use crate::http::{Body, Handler, Server, connector, empty};

/// To requests of this method whose path contains this, a registry does that.
pub type Behaviour = (Method, &'static str, Does);

/// What a registry does.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    /// Answers with this status.
    Refuse(u16),
    /// The same, until it has given this to a GET.
    RefuseUntilGiven(u16),
    /// Does not look at `Range` until it has given this to a GET.
    IgnoreRangeUntilGiven,
    /// Leaves this header out of its answer.
    LeaveOut(&'static str),
    /// Leaves the unit out of `Content-Range`.
    LeaveOutTheUnit,
    /// Adds this header to its answer.
    Add(&'static str, &'static str),
    /// Redirects to the registry behind.
    Redirect,
}

/// A registry that behaves so.
pub struct Reported {
    front: Server,
}

struct Desk {
    registry: SocketAddr,
    behaviours: &'static [Behaviour],
    client: Client<HttpConnector, Empty<Bytes>>,
    given: Mutex<HashSet<String>>,
}

impl Reported {
    /// Before an open registry, of which it is only read.
    pub fn start(registry: &Registry, behaviours: &'static [Behaviour]) -> Outcome<Self> {
        let client = Client::builder(TokioExecutor::new()).build(connector());
        let desk = Desk { registry: registry.address(), behaviours, client, given: Mutex::default() };
        Ok(Self { front: Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(desk))? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            let (head, _) = request.into_parts();
            let path = head.uri.path().to_owned();
            let target = format!("http://{}{}", self.registry, head.uri);
            let is_given = self.given.lock().unwrap_or_else(PoisonError::into_inner).contains(&path);
            let does: Vec<Does> = self
                .behaviours
                .iter()
                .filter(|(method, part, _)| *method == head.method && path.contains(part))
                .map(|(_, _, does)| *does)
                .collect();
            let mut headers = HeaderMap::new();
            for name in [header::ACCEPT, header::RANGE] {
                headers.extend(head.headers.get(&name).map(|value| (name, value.clone())));
            }
            for does in &does {
                match does {
                    Does::Refuse(status) => return Ok(empty(StatusCode::from_u16(*status)?)),
                    Does::RefuseUntilGiven(status) if !is_given => {
                        return Ok(empty(StatusCode::from_u16(*status)?));
                    }
                    Does::IgnoreRangeUntilGiven if !is_given => {
                        headers.remove(header::RANGE);
                    }
                    Does::Redirect => {
                        let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
                        response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&target)?);
                        return Ok(response);
                    }
                    Does::RefuseUntilGiven(_)
                    | Does::IgnoreRangeUntilGiven
                    | Does::LeaveOut(_)
                    | Does::LeaveOutTheUnit
                    | Does::Add(..) => {}
                }
            }
            let mut asked = Request::new(Empty::new());
            *asked.method_mut() = head.method.clone();
            *asked.uri_mut() = target.parse::<Uri>()?;
            *asked.headers_mut() = headers;
            let mut response = self.client.request(asked).await?;
            for does in &does {
                answer_so(*does, response.headers_mut())?;
            }
            if head.method == Method::GET && response.status().is_success() {
                self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
            }
            Ok(response.map(|body| body.map_err(std::io::Error::other).boxed()))
        }
        .boxed()
    }
}

fn answer_so(does: Does, headers: &mut HeaderMap) -> Outcome {
    match does {
        Does::LeaveOut(name) => {
            headers.remove(name);
        }
        Does::LeaveOutTheUnit => {
            let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
            if let Some(range) = range.map(|range| range.replace("bytes ", "")) {
                headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range)?);
            }
        }
        Does::Add(name, value) => {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Does::Refuse(_) | Does::RefuseUntilGiven(_) | Does::IgnoreRangeUntilGiven | Does::Redirect => {}
    }
    Ok(())
}
