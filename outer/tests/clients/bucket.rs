//! An S3 server with one bucket: one in this process that checks signatures, or one that others make, which `cargo xtask
//! test` has started.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Request;
use http::header::IF_NONE_MATCH;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use registry_proxy_outer::objects::{ACCESS_KEY, OtherStore, SECRET_KEY};
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::{Context as _, Outcome};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

pub(crate) struct Bucket {
    name: String,
    address: SocketAddr,
    folder: TempDir,
    /// Of the one in this process.
    _runtime: Option<Runtime>,
}

impl Bucket {
    /// For people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Those that others make.
    pub(crate) fn of_others() -> Outcome<Vec<Self>> {
        let bucket = |OtherStore { name, address }| {
            Ok(Self { name, address, folder: tempfile::tempdir()?, _runtime: None })
        };
        OtherStore::all()?.into_iter().map(bucket).collect()
    }

    pub(crate) fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("objects/bucket"))?;
        let files = FileSystem::new(folder.path().join("objects")).ok().context("no folder for objects")?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        // It looks and then writes. One conditional request at a time makes it as atomic as the real ones.
        let turn = Arc::new(Mutex::new(()));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, turn) = (service.clone(), Arc::clone(&turn));
                let serve = service_fn(move |request: Request<Incoming>| {
                    let (service, turn) = (service.clone(), Arc::clone(&turn));
                    async move {
                        let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
                        let _turn = if is_conditional { Some(turn.lock().await) } else { None };
                        Service::call(&service, request).await
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve);
                tokio::spawn(connection);
            }
        });
        Ok(Self { name: "in this process".to_owned(), address, folder, _runtime: Some(runtime) })
    }

    /// A process that keeps its content here, and what is under way in a folder of its own.
    pub(crate) fn kept_by(&self, setup: Setup, process: usize) -> Setup {
        let scratch = self.folder.path().join(format!("process-{process}"));
        setup
            .variable("REGISTRY_PROXY_CACHE__STORE", format!("s3://bucket/cache?endpoint=http://{}", self.address))
            .variable("CACHE_DIRECTORY", scratch.display().to_string())
            .variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    }
}
