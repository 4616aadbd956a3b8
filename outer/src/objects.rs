//! An object store that speaks S3 and checks signatures, with one bucket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::http::{Body, Handler, Server};
use crate::{Context, Outcome};

/// Another loopback address: the store's host is not the registry's.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "the right secret";
/// Names and addresses of the object stores that others make, with spaces between; `cargo xtask test` starts them. Each
/// has a bucket called `bucket`, and the key above.
const VARIABLE: &str = "REGISTRY_PROXY_TEST_BUCKETS";

/// An object store that others make.
pub struct OtherStore {
    pub name: String,
    pub address: SocketAddr,
}

impl OtherStore {
    /// All of them.
    pub fn all() -> Outcome<Vec<Self>> {
        let named = std::env::var(VARIABLE).ok().filter(|named| !named.is_empty());
        let named = named.context("no object store of others is named: `cargo xtask test` starts some")?;
        let words: Vec<&str> = named.split_whitespace().collect();
        let store = |pair: &[&str]| {
            let address = pair[1].trim_start_matches("http://").parse()?;
            Ok(Self { name: pair[0].to_owned(), address })
        };
        words.chunks_exact(2).map(store).collect()
    }

    /// As `cache.store` wants it; `prefix` is the caller's own.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://bucket/{prefix}?endpoint=http://{}", self.address)
    }
}

/// The store.
pub struct Objects {
    server: Server,
    _folder: TempDir,
}

struct Desk {
    service: S3Service,
    /// It looks and then writes. One conditional request at a time makes it as atomic as the real ones.
    turn: Mutex<()>,
}

impl Objects {
    pub fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("bucket"))?;
        let files = FileSystem::new(folder.path()).ok().context("the object store does not take its folder")?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let desk = Arc::new(Desk { service: builder.build(), turn: Mutex::default() });
        Ok(Self { server: Server::start(IpAddr::V4(ADDRESS), desk)?, _folder: folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// As `cache.store` wants it.
    pub fn url(&self) -> String {
        format!("s3://bucket/kept?endpoint=http://{}", self.address())
    }
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        let serve = async move {
            let is_conditional = request.headers().contains_key(header::IF_NONE_MATCH);
            let _turn = if is_conditional { Some(self.turn.lock().await) } else { None };
            let answer = hyper::service::Service::call(&self.service, request).await;
            let answer = answer.ok().context("the object store failed")?;
            Ok(answer.map(|body| body.map_err(std::io::Error::other).boxed()))
        };
        // As the real ones do, it comes to its end with what it has begun, though nobody waits: parts that are put together
        // stay together.
        let served = tokio::spawn(serve);
        async move { served.await.context("the object store panicked")? }.boxed()
    }
}
