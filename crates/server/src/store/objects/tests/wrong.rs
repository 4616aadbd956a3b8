//! Bytes that are not what they should be: on their way to a bucket, in it, and on their way back.

use opendal::{Buffer, HttpBody, HttpTransport};
use registry_proxy_core::config::Sources;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::{Config, Cx, Proxy};

use super::*;
use crate::assemble;

/// A transport that changes a byte of each large body.
struct Damaging(HttpTransporter);

impl HttpTransport for Damaging {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let request = request.map(|body| {
            let mut bytes = body.to_vec();
            if let Some(byte) = bytes.get_mut(500) {
                *byte ^= 1;
            }
            Buffer::from(bytes)
        });
        self.0.fetch(request).await
    }
}

/// Why a blob of this length is not kept.
async fn why_not_kept(store: &ObjectStore, key: &Key, length: usize) -> String {
    let draft = store.draft(key, Some(length as u64)).await.unwrap();
    draft.write_at(0, content(1, length)).await.unwrap();
    let refused = draft.commit(length as u64).await.unwrap_err();
    std::error::Error::source(&refused).unwrap().to_string()
}

#[tokio::test]
async fn bytes_that_change_on_their_way_to_a_bucket_are_refused_there() {
    let server = Server::start().await;
    let address = BucketAddress::parse(&server.url("p"), |_| None).unwrap();
    let credentials = Arc::<Credentials>::default();
    credentials.renew(Login { id: ACCESS_KEY.to_owned(), secret: SECRET_KEY.to_owned(), token: None });
    let way = HttpTransporter::new(Damaging(client::transport().unwrap()));
    let scratch = FileStore::open(&server.dir.path().join("scratch"), 0).unwrap();
    let store = ObjectStore::over(address, credentials, way, scratch).unwrap();
    for length in [1000, PART_BYTES + 1000] {
        let key = Key::blob(&Digest::sha256(&content(1, length)));
        let why = why_not_kept(&store, &key, length).await;
        assert!(why.contains("BadDigest"), "{length} bytes: {why}");
    }
}

#[tokio::test]
async fn a_bucket_that_has_less_than_it_took_has_stored_nothing() {
    let server = Server::start().await;
    *server.manner.lock().unwrap() = Manner::Cuts;
    let store = server.store("p", SECRET_KEY);
    for length in [1000, PART_BYTES + 1000] {
        let key = Key::blob(&Digest::sha256(&content(1, length)));
        let why = why_not_kept(&store, &key, length).await;
        assert_eq!(why, format!("{length} bytes were written to the bucket, and it has {} bytes", length / 2));
        assert!(store.stat(&key).await.unwrap().is_none(), "{length} bytes");
    }
    let key = Key::blob(&Digest::sha256(&content(1, 1000)));
    let mut upload = store.upload(&key).await.unwrap();
    upload.part(content(1, 1000)).await.unwrap();
    assert!(upload.commit().await.is_err());
    assert!(store.stat(&key).await.unwrap().is_none());
}

/// A registry with one blob, whatever it is asked for.
async fn registry(blob: Bytes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let blob = blob.clone();
            let serve = service_fn(move |_: Request<hyper::body::Incoming>| {
                let answer = Response::new(Full::new(blob.clone()));
                async { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve));
        }
    });
    address
}

fn proxy(registry: SocketAddr, store: &Arc<ObjectStore>) -> Proxy {
    let text =
        format!("[[upstream]]\nname = 'reg.test'\nurls = ['http://{registry}']\ninsecure = true\ndefault = true");
    let sources = Sources { text: Some(&text), variables: vec![], read: &|_| Ok(String::new()) };
    let store = Arc::clone(store) as Arc<dyn Store>;
    assemble::proxy(&Config::load(&sources).unwrap(), Some(store), Notifications::default()).unwrap()
}

/// What a client gets, and from where, as the answer says; `None`: it was cut off.
async fn pull(proxy: &Proxy, digest: &Digest) -> Option<(Bytes, String)> {
    let request = Request::get(format!("/v2/a/b/blobs/{digest}")).header("host", "proxy.test");
    let cx = Cx { peer: Some([127, 0, 0, 1].into()), introduced: None, is_tls: false, id: 1 };
    let answer = proxy.handle(&cx, request.body(Body::Empty).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let outcome = answer.headers()["x-registry-proxy"].to_str().unwrap().to_owned();
    Some((answer.into_body().collect(u64::MAX).await.ok()?, outcome))
}

/// A wrong object costs one client its connection, and no client after it anything: the registry's bytes take its place.
pub(super) async fn heals(store: &Arc<ObjectStore>) {
    let blob = content(7, 300_000);
    let digest = Digest::sha256(&blob);
    let key = Key::blob(&digest);
    let registry = registry(blob.clone()).await;
    let mut holed = blob.to_vec();
    holed[100_000..200_000].fill(0);
    for (what, wrong) in [("holed", holed.into()), ("short", blob.slice(..100_000)), ("empty", Bytes::new())] {
        let first = proxy(registry, store);
        let (bytes, outcome) = pull(&first, &digest).await.unwrap();
        assert!(bytes == blob && outcome.starts_with("filled"), "{what}: {outcome}");
        first.close(Duration::from_secs(20)).await;
        assert!(pull(&first, &digest).await.unwrap().1.starts_with("hit"), "{what}");
        // Somebody else puts it there; to the store that is a blob like any other.
        store.bucket.operator.write(key.as_str(), wrong).await.unwrap();
        let second = proxy(registry, store);
        let mut cut_off = 0;
        let (bytes, outcome) = loop {
            match pull(&second, &digest).await {
                Some(answer) => break answer,
                None => cut_off += 1,
            }
            assert!(cut_off < 2, "{what}: it is served again and again");
        };
        assert!(bytes == blob && outcome.starts_with("filled"), "{what}: {outcome}");
        second.close(Duration::from_secs(20)).await;
        let kept = store.open(&key, None).await.unwrap().unwrap().body.collect(u64::MAX).await.unwrap();
        assert!(kept == blob, "{what}: what is stored now");
        store.remove(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_object_cuts_one_client_off_and_is_fetched_anew() {
    let server = Server::start().await;
    heals(&Arc::new(server.store("p", SECRET_KEY))).await;
}
