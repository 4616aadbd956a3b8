//! The object store against a server that checks signatures.

mod addresses;
mod dialects;
mod others;
mod slow;
mod strict;
mod unfinished;
mod verify;
mod wrong;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::IF_NONE_MATCH;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::testing::contract::{content, store_contract, upload_contract, upload_contract_but};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::strict::{Strict, Uploads};
use super::client::SILENCE;
use super::credentials::Login;
use super::multipart::PART_BYTES;
use super::*;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "the right secret";

/// A server with one bucket, and a directory for drafts.
struct Server {
    address: SocketAddr,
    dir: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    /// Most objects and parts that were on their way at once.
    most_arriving: Arc<AtomicUsize>,
    unfinished: Uploads,
    manner: Arc<Mutex<Manner>>,
}

/// How it behaves.
#[derive(Clone, Copy, Default, PartialEq)]
enum Manner {
    #[default]
    Usual,
    /// It takes so long to put parts together.
    CompletesIn(Duration),
    /// Nobody hears that it has put parts together, whether or not it has.
    LosesCompletions { is_done: bool },
    /// It says yes to an object, and has half of it.
    Cuts,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("objects/bucket")).unwrap();
        let unfinished = Uploads::default();
        let files = FileSystem::new(dir.path().join("objects")).unwrap();
        let mut builder = S3ServiceBuilder::new(Strict::new(files, Arc::clone(&unfinished)));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // This server looks and then writes. One conditional request at a time makes it as atomic as the real ones.
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        let (arriving, most_arriving) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let most = Arc::clone(&most_arriving);
        let manner = Arc::<Mutex<Manner>>::default();
        let (mannered, objects) = (Arc::clone(&manner), dir.path().join("objects"));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, turn, noted) = (service.clone(), Arc::clone(&turn), Arc::clone(&noted));
                let (arriving, most) = (Arc::clone(&arriving), Arc::clone(&most));
                let (mannered, objects) = (Arc::clone(&mannered), objects.clone());
                let serve = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (service, turn) = (service.clone(), Arc::clone(&turn));
                    let (arriving, most) = (Arc::clone(&arriving), Arc::clone(&most));
                    noted.lock().unwrap().push(request.method().to_string());
                    let manner = *mannered.lock().unwrap();
                    let query = request.uri().query().unwrap_or_default();
                    let completes = request.method() == Method::POST && query.contains("uploadId=");
                    let makes_one = completes || request.method() == Method::PUT && !query.contains("uploadId=");
                    let file = objects.join(request.uri().path().trim_start_matches('/'));
                    async move {
                        match manner {
                            Manner::CompletesIn(time) if completes => tokio::time::sleep(time).await,
                            Manner::LosesCompletions { is_done: false } if completes => return Err("lost".into()),
                            _ => {}
                        }
                        let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
                        let _turn = if is_conditional { Some(turn.lock().await) } else { None };
                        let bodies = usize::from(request.method() == Method::PUT);
                        most.fetch_max(arriving.fetch_add(bodies, Ordering::Relaxed) + bodies, Ordering::Relaxed);
                        let answer = hyper::service::Service::call(&service, request).await;
                        arriving.fetch_sub(bodies, Ordering::Relaxed);
                        if manner == Manner::Cuts && makes_one {
                            let length = std::fs::metadata(&file).unwrap().len();
                            std::fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
                        }
                        match (manner, answer) {
                            (Manner::LosesCompletions { .. }, _) if completes => Err("lost".into()),
                            (_, answer) => {
                                answer.map_err(|_| Box::<dyn std::error::Error + Send + Sync>::from("it failed"))
                            }
                        }
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve),
                );
            }
        });
        Self { address, dir, asked, most_arriving, unfinished, manner }
    }

    fn url(&self, prefix: &str) -> Url {
        format!("s3://bucket/{prefix}?endpoint=http://{}", self.address).parse().unwrap()
    }

    fn store(&self, prefix: &str, secret: &str) -> ObjectStore {
        open(&self.url(prefix), secret, &self.dir.path().join("scratch")).unwrap()
    }
}

fn open(url: &Url, secret: &str, scratch: &Path) -> Result<ObjectStore, StoreError> {
    let credentials = Arc::<Credentials>::default();
    credentials.renew(Login { id: ACCESS_KEY.to_owned(), secret: secret.to_owned(), token: None });
    let transport = client::transport().unwrap();
    ObjectStore::over(
        BucketAddress::parse(url, |_| None)?,
        credentials,
        transport,
        FileStore::open(scratch, 0).unwrap(),
    )
}

async fn put(store: &ObjectStore, bytes: &Bytes) -> Key {
    let key = Key::blob(&Digest::sha256(bytes));
    let draft = store.draft(&key, Some(bytes.len() as u64)).await.unwrap();
    draft.write_at(0, bytes.clone()).await.unwrap();
    draft.commit(bytes.len() as u64).await.unwrap();
    key
}

async fn get(url: &Url) -> (StatusCode, Bytes) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer: Response<_> = client.get(url.as_str().parse().unwrap()).await.unwrap();
    (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn objects_keep_the_contract() {
    let server = Server::start().await;
    let number = std::cell::Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        Arc::new(server.store(&format!("some/prefix-{}", number.get()), SECRET_KEY))
    })
    .await;
}

#[tokio::test]
async fn objects_keep_the_contract_of_uploads() {
    let server = Server::start().await;
    let number = std::cell::Cell::new(0);
    upload_contract(|| {
        number.set(number.get() + 1);
        let prefix = format!("some/prefix-{}", number.get());
        [(); 2].map(|()| Arc::new(server.store(&prefix, SECRET_KEY)) as Arc<dyn Store>)
    })
    .await;
}

#[tokio::test]
async fn a_blob_of_several_parts_comes_back_whole() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let bytes = content(1, 2 * PART_BYTES + 12_345);
    let key = put(&store, &bytes).await;
    let found = store.open(&key, None).await.unwrap().unwrap();
    assert!(found.body.collect(u64::MAX).await.unwrap() == bytes, "the bytes");
}

#[tokio::test]
async fn opening_a_blob_is_one_request() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let key = put(&store, &content(2, 1000)).await;
    server.asked.lock().unwrap().clear();
    let found = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(*server.asked.lock().unwrap(), ["GET"]);
    assert_eq!(found.stat, store.stat(&key).await.unwrap().unwrap());
    let nothing = Key::blob(&Digest::sha256(b"nothing"));
    assert!(store.open(&nothing, None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_link_works_without_a_login_and_ends_with_its_life() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let key = put(&store, &content(2, 1000)).await;
    let link = store.link(&key, Duration::from_mins(1)).await.unwrap();
    assert_eq!(get(&link).await, (StatusCode::OK, content(2, 1000)));
    let mut bare = link.clone();
    bare.set_query(None);
    assert_eq!(get(&bare).await.0, StatusCode::FORBIDDEN, "the server asks for a signature");
    let short = store.link(&key, Duration::from_secs(1)).await.unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while get(&short).await.0 != StatusCode::FORBIDDEN {
        assert!(Instant::now() < end, "the link outlives its life");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_link_leads_by_the_public_way() {
    let server = Server::start().await;
    // Our own traffic goes by a name that a client may not know.
    let url = format!(
        "s3://bucket/p?endpoint=http://{}&public_endpoint=http://localhost:{}",
        server.address,
        server.address.port()
    );
    let store = open(&url.parse().unwrap(), SECRET_KEY, &server.dir.path().join("scratch")).unwrap();
    let key = put(&store, &content(2, 1000)).await;
    let link = store.link(&key, Duration::from_mins(1)).await.unwrap();
    assert_eq!(link.host_str(), Some("localhost"));
    assert_eq!(get(&link).await, (StatusCode::OK, content(2, 1000)));
}

async fn used(store: &ObjectStore, key: &Key) -> u64 {
    let entries: Vec<Entry> = store.list("v1/blobs/").try_collect().await.unwrap();
    entries.into_iter().find(|entry| entry.key == *key).unwrap().used
}

#[tokio::test]
async fn what_one_process_used_another_one_knows_and_so_does_the_next() {
    let server = Server::start().await;
    let one = server.store("p", SECRET_KEY);
    let key = put(&one, &content(2, 1000)).await;
    // As if it had been uploaded long ago.
    let object = server.dir.path().join("objects/bucket/p").join(key.as_str());
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(object).unwrap().set_modified(long_ago).unwrap();
    let other = server.store("p", SECRET_KEY);
    assert_eq!(used(&other, &key).await, 1_000_000_000, "nobody has used it");
    Store::used(&one, &key);
    let now = used(&one, &key).await;
    assert!(now > 1_700_000_000, "{now}");
    assert_eq!(used(&server.store("p", SECRET_KEY), &key).await, now, "a replica, or the next process");
    let everything: Vec<Entry> = one.list("").try_collect().await.unwrap();
    assert_eq!(everything.len(), 1, "times of use are no content: {everything:?}");
}

/// As if an object had been written at this time, in seconds since 1970.
fn date(server: &Server, path: &str, seconds: u64) {
    let object = server.dir.path().join("objects/bucket/p").join(path);
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(object).unwrap().set_modified(time).unwrap();
}

fn objects_of_processes(server: &Server) -> Vec<String> {
    let folder = server.dir.path().join("objects/bucket/p/v1/used");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[tokio::test]
async fn times_of_a_process_that_was_read_while_it_lived_are_taken_over_when_it_has_ended() {
    let server = Server::start().await;
    let [ended, heir] = [(); 2].map(|()| server.store("p", SECRET_KEY));
    let [key, other] = [put(&ended, &content(2, 1000)).await, put(&heir, &content(3, 1000)).await];
    for key in [&key, &other] {
        date(&server, key.as_str(), 1_000_000_000);
    }
    Store::used(&ended, &key);
    let now = used(&ended, &key).await;
    Store::used(&heir, &other);
    assert_eq!(used(&heir, &key).await, now, "it is read while it lives");
    let [first] = [objects_of_processes(&server)].map(|names| names.len());
    assert_eq!(first, 2);
    // It is the only one that was not written by the heir.
    heir.access_times.forget_last_exchange().await;
    for name in objects_of_processes(&server) {
        date(&server, &format!("v1/used/{name}"), now - 2 * 24 * 60 * 60);
    }
    used(&heir, &key).await;
    assert_eq!(objects_of_processes(&server).len(), 1, "the heir's own");
    assert_eq!(used(&server.store("p", SECRET_KEY), &key).await, now, "and it tells what the other one used");
}

#[tokio::test]
async fn who_serves_nothing_writes_nothing_and_usage_is_listed_at_once() {
    let server = Server::start().await;
    let one = server.store("p", SECRET_KEY);
    let key = put(&one, &content(2, 1000)).await;
    Store::used(&one, &key);
    let now = used(&one, &key).await;
    let [name] = objects_of_processes(&server).try_into().unwrap();
    date(&server, &format!("v1/used/{name}"), now - 2 * 24 * 60 * 60);
    let reader = server.store("p", SECRET_KEY);
    assert_eq!(used(&reader, &key).await, now);
    assert_eq!(objects_of_processes(&server), [name]);
    server.asked.lock().unwrap().clear();
    let _: Vec<Entry> = server.store("p", SECRET_KEY).list("v1/usage/1/").try_collect().await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 1, "the list alone");
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let server = Server::start().await;
    let store = server.store("p", "a wrong secret");
    let key = Key::lease(&Digest::sha256(b"x"), 1);
    assert!(matches!(store.read(&key).await, Err(StoreError::ReadDenied(_))), "read");
    let written = store.write(&key, Bytes::from_static(b"x"), Precondition::Absent).await;
    assert!(matches!(written, Err(StoreError::Denied(_))), "write");
    let draft = store.draft(&key, None).await.unwrap();
    draft.write_at(0, content(1, 10)).await.unwrap();
    assert!(matches!(draft.commit(10).await, Err(StoreError::Denied(_))), "commit");
    let listed: Result<Vec<_>, _> = store.list("").try_collect().await;
    assert!(matches!(listed, Err(StoreError::ReadDenied(_))), "list");
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("s3://bucket/?endpoint=http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&url, SECRET_KEY, scratch.path()).unwrap();
    let begun = Instant::now();
    assert!(store.read(&Key::lease(&Digest::sha256(b"x"), 1)).await.is_err());
    assert!(begun.elapsed() < REQUEST_TIMEOUT + SILENCE, "{:?}", begun.elapsed());
}

/// Time jumps to the next timer here, as nothing else happens.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_an_error_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("s3://bucket/?endpoint=http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(socket) = listener.accept().await {
            open.push(socket);
        }
        Ok::<_, Infallible>(())
    });
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&url, SECRET_KEY, scratch.path()).unwrap();
    let begun = Instant::now();
    assert!(store.read(&Key::lease(&Digest::sha256(b"x"), 1)).await.is_err());
    assert!(begun.elapsed() <= REQUEST_TIMEOUT + Duration::from_secs(1), "{:?}", begun.elapsed());
}
