//! Registries whose answers break off, in each way that they can: the Worker's client sees it. workerd ends a chunked answer
//! with a proper last chunk, whatever became of it; so nothing leaves without a Content-Length.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{Body, Handler, Server, empty, text};
use registry_proxy_outer::worker::Setup;
use registry_proxy_outer::{Outcome, digest};

use crate::stage::turn;

const LENGTH: usize = 3_000_000;
/// What comes before it ends.
const COMES: usize = 1_000_000;
const PIECE: usize = 64 << 10;

/// A registry. The repository says how its answers end.
struct Breaking(Bytes);

/// What becomes of an answer with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing: it says its length, and comes.
    Whole,
    /// It says no length, and comes.
    Chunked,
    /// It says its length, and the connection is cut.
    Cut,
    /// It says no length, and the connection is cut.
    ChunkedCut,
    /// It says no length, and ends as if that were all.
    ChunkedShort,
    /// The same, and nothing else says the length either.
    Unmeasured,
}

impl Way {
    const ALL: [(&str, Self); 6] = [
        ("whole", Self::Whole),
        ("chunked", Self::Chunked),
        ("cut", Self::Cut),
        ("chunked-cut", Self::ChunkedCut),
        ("chunked-short", Self::ChunkedShort),
        ("unmeasured", Self::Unmeasured),
    ];

    fn is_well(self) -> bool {
        matches!(self, Self::Whole | Self::Chunked)
    }
}

impl Handler for Breaking {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move { Ok(self.answer(&request)) }.boxed()
    }
}

impl Breaking {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let name = request.uri().path().split('/').nth(3).unwrap_or_default();
        let Some((_, way)) = Way::ALL.into_iter().find(|(way, _)| *way == name) else {
            return text(StatusCode::OK, "{}");
        };
        if request.uri().path().contains("/manifests/") {
            let manifest =
                Bytes::from(format!(r#"{{"schemaVersion":2,"layers":[],"note":"{}"}}"#, "x".repeat(5000)));
            let mut response = Self::send(way, &manifest, 1000);
            let kind = HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return response;
        }
        let is_part = request.headers().contains_key(header::RANGE);
        match (request.method(), is_part) {
            (&Method::HEAD, _) if way == Way::Unmeasured => empty(StatusCode::METHOD_NOT_ALLOWED),
            (&Method::HEAD, _) => {
                let mut response = empty(StatusCode::OK);
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(LENGTH));
                response
            }
            // Of what broke there is no rest, or the Worker would go on with it.
            (_, true) if way != Way::Unmeasured => text(StatusCode::NOT_FOUND, "{}"),
            (_, true | false) => Self::send(way, &self.0, COMES),
        }
    }

    fn send(way: Way, bytes: &Bytes, comes: usize) -> Response<Body> {
        let end = if way.is_well() { bytes.len() } else { comes.min(bytes.len() - 1) };
        let starts = (0..end).step_by(PIECE);
        let mut frames: Vec<std::io::Result<Frame<Bytes>>> =
            starts.map(|start| Ok(Frame::data(bytes.slice(start..end.min(start + PIECE))))).collect();
        if matches!(way, Way::Cut | Way::ChunkedCut) {
            frames.push(Err(std::io::Error::other("cut")));
        }
        // What came before it is sent before it breaks: hyper sends what it has where a body makes it wait.
        let frames = stream::iter(frames).then(|frame| async {
            if frame.is_err() {
                tokio::task::yield_now().await;
            }
            frame
        });
        let mut response = Response::new(http_body_util::BodyExt::boxed(StreamBody::new(frames)));
        if matches!(way, Way::Whole | Way::Cut) {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        response
    }
}

#[test]
fn a_client_sees_each_way_in_which_a_registrys_answer_breaks() -> Outcome {
    let _turn = turn();
    let blob = Bytes::from((0..LENGTH).map(|at| u8::try_from(at * 7 % 251)).collect::<Result<Vec<_>, _>>()?);
    let path = |name: &str| format!("/v2/library/{name}/blobs/{}", digest::of_bytes(&blob));
    let registry = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Breaking(blob.clone())))?;
    let bucket = tempfile::tempdir()?;
    for setup in [Setup::new(), Setup::new().bucket(bucket.path())] {
        let worker = setup.upstream("reg.test", registry.address()).start()?;
        // What breaks first: what is whole is in the bucket from then on, and is the same blob.
        for (name, way) in Way::ALL.into_iter().rev() {
            for path in [path(name), format!("/v2/library/{name}/manifests/v1")] {
                let pulled = worker.pull(&path)?;
                let is_ok = pulled.head.starts_with("http/1.1 200 ");
                ensure(!pulled.header("content-length").is_empty(), format_args!("{path}: {}", pulled.head))?;
                equal(
                    &format!("{path}: whether it came whole\n{}", pulled.head),
                    &(is_ok && pulled.is_whole),
                    &way.is_well(),
                )?;
                if is_ok && path.contains("/blobs/") {
                    equal("content-length", &pulled.header("content-length"), &LENGTH.to_string().as_str())?;
                }
                if way.is_well() && path.contains("/blobs/") {
                    equal("digest", &pulled.digest, &digest::of_bytes(&blob))?;
                }
            }
        }
    }
    Ok(())
}
