//! A way to the proxy that breaks: the first answer with each blob ends after so many bytes, as where a connection is
//! lost. What clients ask for then is written down.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::{Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::Outcome;
use crate::http::{Body, Handler, Server, connector};

/// The way.
pub struct Cutter {
    server: Server,
    knife: Arc<Knife>,
}

struct Knife {
    proxy: SocketAddr,
    after_bytes: usize,
    client: Client<HttpConnector, Incoming>,
    cut: Mutex<BTreeSet<String>>,
    ranges: Mutex<Vec<String>>,
}

impl Cutter {
    /// Leads to `proxy`; each blob that is longer is cut once, after so many bytes.
    pub fn start(proxy: SocketAddr, after_bytes: usize) -> Outcome<Self> {
        let client = Client::builder(TokioExecutor::new()).build(connector());
        let (cut, ranges) = (Mutex::default(), Mutex::default());
        let knife = Arc::new(Knife { proxy, after_bytes, client, cut, ranges });
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&knife))?;
        Ok(Self { server, knife })
    }

    /// `IP:PORT`, as it stands in image names.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many blobs were cut.
    pub fn cuts(&self) -> usize {
        self.knife.cut.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The ranges of blobs that clients asked for, in order.
    pub fn ranges(&self) -> Vec<String> {
        self.knife.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Knife {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move { self.pass(request).await }.boxed()
    }
}

impl Knife {
    async fn pass(&self, mut request: Request<Incoming>) -> Outcome<Response<Body>> {
        let path = request.uri().path().to_owned();
        let is_blob = request.method() == Method::GET && path.contains("/blobs/");
        if let Some(range) = request.headers().get(header::RANGE).filter(|_| is_blob) {
            let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            ranges.push(range.to_str()?.to_owned());
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() = format!("http://{}{target}", self.proxy).parse::<Uri>()?;
        let response = self.client.request(request).await?;
        let is_long = hyper::body::Body::size_hint(response.body()).lower() > self.after_bytes as u64;
        let is_cut = is_blob && is_long && self.cut.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
        let after_bytes = self.after_bytes;
        Ok(response.map(|body| {
            let body = body.map_err(io::Error::other).boxed();
            if is_cut { cut(body, after_bytes) } else { body }
        }))
    }
}

/// So many bytes of it, and then an error.
fn cut(body: Body, after_bytes: usize) -> Body {
    let frames = stream::unfold((body, after_bytes), |(mut body, left)| async move {
        if left == 0 {
            // What there is goes out first: a server that is told of the end at once keeps it to itself.
            tokio::task::yield_now().await;
            return Some((Err(io::Error::other("cut")), (body, 0)));
        }
        let data = match body.frame().await? {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Some((Err(error), (body, 0))),
        };
        let data = data.slice(..data.len().min(left));
        let left = left - data.len();
        Some((Ok(Frame::data(data)), (body, left)))
    });
    StreamBody::new(frames).boxed()
}
