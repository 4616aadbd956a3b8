//! Clients that ask and do not read, many at once: what they cost in memory, whether others are served meanwhile, and
//! whether it is given back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use registry_proxy_core::digest::Digest;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::disks::until;
use crate::fixture::{
    Client, Exchange, Product, Request as Asked, Setup, Shelf, Upstream, blob_path, content, h2_with_window, kept,
    noise, one_upstream, soon, within,
};

/// What all of them may take together, above what it has at rest.
const MOST_KIB: u64 = 128 << 10;
/// Streams that are served at once on one connection.
const STREAMS: usize = 100;
const LIMITS: &str = "[limits]\nconnections = 5000\nconnections_per_address = 5000";

/// As many files as we may have open.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// A product that has a blob of 8 MiB in its cache.
struct Cached {
    product: Product,
    path: String,
    bytes: Bytes,
    _upstream: Upstream,
}

async fn cached() -> Cached {
    raise_open_files();
    let (setup, shelf, bytes) = (Setup::new(), Shelf::default(), noise(1, 8 << 20));
    let path = shelf.blob(&bytes);
    let upstream = shelf.serve(Duration::ZERO).await;
    let folder = setup.path().join("cache");
    let keys = format!("{LIMITS}\n[cache]\nstore = 'file://{}'\nmin_free = 0", folder.display());
    let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
    let (_, body) = Client::connect(product.address).await.get(&path).await;
    assert!(body == bytes, "other bytes");
    until("the blob to be kept", || kept(&folder).contains(&Digest::sha256(&bytes))).await;
    // Everything that is set up once is.
    let mut sender = h2_with_window(Client::connect(product.address).await.wire, 1 << 20).await;
    let answer = soon("an answer", sender.send_request(ask(&path))).await.unwrap();
    assert!(soon("a body", answer.into_body().collect()).await.unwrap().to_bytes() == bytes, "other bytes");
    Cached { product, path, bytes, _upstream: upstream }
}

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://127.0.0.1{path}")).body(Empty::new()).unwrap()
}

/// Answers whose bodies nobody reads, with what keeps their connections open.
struct Unread {
    answers: Vec<Response<Incoming>>,
    /// Requests that the product has not taken up.
    _waiting: JoinSet<Result<Response<Incoming>, hyper::Error>>,
    _senders: Vec<SendRequest<Empty<Bytes>>>,
}

/// So many connections with so many requests each, of which so many get an answer's head.
async fn unread(address: SocketAddr, path: &str, connections: usize, streams: usize, window: u32) -> Unread {
    let (mut senders, mut asking, mut answers) = (Vec::new(), JoinSet::new(), Vec::new());
    let served = streams.min(STREAMS);
    for _ in 0..connections {
        let mut sender = h2_with_window(Client::connect(address).await.wire, window).await;
        for _ in 0..streams {
            asking.spawn(sender.send_request(ask(path)));
        }
        for _ in 0..served {
            let answer = soon("a head", asking.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), 200);
            answers.push(answer);
        }
        senders.push(sender);
    }
    Unread { answers, _waiting: asking, _senders: senders }
}

/// Somebody else is served as if nothing were.
async fn others_are_served(cached: &Cached) {
    let begun = Instant::now();
    let mut client = Client::connect(cached.product.address).await;
    assert_eq!(client.get("/v2/").await.0.status, 200);
    let (head, body) = client.get(&cached.path).await;
    assert_eq!((head.status, body == cached.bytes), (200, true));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

fn above(product: &Product, rest_kib: u64) -> u64 {
    product.peak_memory_kib().saturating_sub(rest_kib)
}

async fn costs(connections: usize, streams: usize, window: u32) {
    let cached = cached().await;
    let rest_kib = cached.product.memory_kib();
    let unread = unread(cached.product.address, &cached.path, connections, streams, window).await;
    others_are_served(&cached).await;
    let took_kib = above(&cached.product, rest_kib);
    assert_eq!(unread.answers.len(), connections * streams.min(STREAMS));
    // Those that wait for disks, one a core, and a few more: they stay for ten seconds after their work.
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let threads = cached.product.threads();
    assert!(threads <= 32 + cores + 10, "{threads} threads");
    assert!(took_kib < MOST_KIB, "{took_kib} KiB above {rest_kib}");
    drop(unread);
    let back = || cached.product.memory_kib() < rest_kib + MOST_KIB / 4;
    within(Duration::from_secs(30), "memory given back", async {
        while !back() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_few_connections_that_nobody_reads_cost_little() {
    costs(64, 256, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_streams_of_many_connections_that_nobody_reads_cost_little() {
    costs(1024, 16, 0).await;
}

/// What the client's windows take is on its side; what they do not is on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_read_a_little_cost_little() {
    costs(64, 32, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_http_1_1_that_nobody_reads_cost_little() {
    let cached = cached().await;
    let rest_kib = cached.product.memory_kib();
    let mut unread = Vec::new();
    for _ in 0..256 {
        let mut client = Client::connect_narrow(cached.product.address).await;
        client.ask("GET", &cached.path, "").await;
        assert_eq!(client.head().await.status, 200);
        unread.push(client);
    }
    others_are_served(&cached).await;
    let took_kib = above(&cached.product, rest_kib);
    assert!(took_kib < 32 << 10, "{took_kib} KiB above {rest_kib}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_cost_less_than_48_kib_each() {
    const EACH: u64 = 2048;
    let cached = cached().await;
    let rest_kib = cached.product.memory_kib();
    let (mut plain, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        let mut client = Client::connect(cached.product.address).await;
        assert_eq!(client.get("/v2/").await.0.status, 200);
        plain.push(client);
        let mut sender = h2_with_window(Client::connect(cached.product.address).await.wire, 1 << 20).await;
        let answer = soon("an answer", sender.send_request(ask("/v2/"))).await.unwrap();
        assert_eq!(soon("a body", answer.into_body().collect()).await.unwrap().to_bytes(), "{}");
        senders.push(sender);
    }
    let took_kib = above(&cached.product, rest_kib);
    assert!(took_kib / (2 * EACH) < 48, "{took_kib} KiB for {} connections", 2 * EACH);
}

/// A registry whose every tag is another manifest, of 4 MiB or of 2 KiB.
async fn manifests() -> Upstream {
    Upstream::start(|asked: Asked, exchange: Exchange| async move {
        let length = if asked.path.contains("large") { (4 << 20) - 1000 } else { 2000 };
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let text = format!("{}{}", asked.path, "x".repeat(length));
        let body = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"layers\":[],\"annotations\":{{\"a\":\"{text}\"}}}}"
        );
        exchange.answer("200 OK", &format!("Content-Type: {kind}\r\n"), body.as_bytes()).await
    })
    .await
}

/// Where manifests are kept.
#[derive(Debug, Clone, Copy)]
enum Store {
    None,
    Memory,
    Files,
}

impl Store {
    const ALL: [Self; 3] = [Self::None, Self::Memory, Self::Files];

    fn keys(self, setup: &Setup) -> String {
        match self {
            Self::None => String::new(),
            Self::Memory => "[cache]\nstore = 'memory:'\ntag_ttl = '1h'".to_owned(),
            Self::Files => {
                let folder = setup.path().join("cache");
                format!("[cache]\nstore = 'file://{}'\nmin_free = 0\ntag_ttl = '1h'", folder.display())
            }
        }
    }
}

/// Twelve large manifests, each asked for from many places: as many answers as have room, and the others wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_that_nobody_reads_cost_no_more_than_their_bound_and_small_ones_are_served() {
    raise_open_files();
    for store in Store::ALL {
        let (setup, upstream) = (Setup::new(), manifests().await);
        let keys = format!("{LIMITS}\n{}", store.keys(&setup));
        let product = setup.start(&one_upstream(&keys, upstream.address, "")).await;
        let path = |name: &str| format!("/v2/acme/app/manifests/{name}");
        let mut other = Client::connect(product.address).await;
        for name in ["small".to_owned()].into_iter().chain((0..12).map(|number| format!("large-{number}"))) {
            assert_eq!(other.get(&path(&name)).await.0.status, 200, "{store:?}");
        }
        let rest_kib = product.memory_kib();
        let (mut senders, mut asking) = (Vec::new(), JoinSet::new());
        for connection in 0..32 {
            // One address has no more than its quarter.
            let source = [127, 0, 1, 1 + connection % 8];
            let mut sender = h2_with_window(Client::connect_from(source, product.address).await.wire, 0).await;
            for stream in 0..8 {
                let name = format!("large-{}", (connection + stream) % 12);
                asking.spawn(sender.send_request(ask(&path(&name))));
            }
            senders.push(sender);
        }
        let mut answers = Vec::new();
        for _ in 0..14 {
            let answer = soon("a head", asking.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), 200, "{store:?}");
            answers.push(answer);
        }
        let begun = Instant::now();
        let mut other = Client::connect(product.address).await;
        for name in ["small", "small-too"] {
            assert_eq!(other.get(&path(name)).await.0.status, 200, "{store:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{store:?}: {:?}", begun.elapsed());
        // Whoever takes nothing makes way for those who wait.
        for _ in 0..14 {
            let answer = soon("room", asking.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), 200, "{store:?}");
        }
        let took_kib = above(&product, rest_kib);
        assert!(took_kib < MOST_KIB, "{store:?}: {took_kib} KiB above {rest_kib}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relayed_blobs_that_nobody_reads_cost_no_more_than_what_has_begun() {
    raise_open_files();
    let upstream = Upstream::of_blob(content(8 << 20)).await;
    let product = Product::start(&one_upstream(LIMITS, upstream.address, "")).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 200);
    let rest_kib = product.memory_kib();
    let _unread = unread(product.address, &blob_path(), 8, 32, 1000).await;
    assert_eq!(Client::connect(product.address).await.get(&blob_path()).await.0.status, 200);
    let took_kib = above(&product, rest_kib);
    assert!(took_kib < MOST_KIB, "{took_kib} KiB above {rest_kib}");
}
