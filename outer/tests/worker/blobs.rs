//! One blob at a time: lengths, ranges, two at once, wrong bytes, clients that leave, and what it takes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{Body, Client, Handler, Server, text};
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::registry::Faucet;
use registry_proxy_outer::worker::{Figures, Setup, Worker};
use registry_proxy_outer::{Outcome, digest};

use crate::stage::{turn, worker};

/// No limit to speak of.
const FAST: u64 = 2_000_000_000;
const LARGE_MIB: u64 = 286;
/// Through wasm 300 MB take some four seconds of the processor.
const MOST_PROCESSOR: Duration = Duration::from_secs(2);
/// And what is added to the memory: a stream's worth, far from the length of the blob.
const MOST_KIB: u64 = 64 << 10;
const KEPT_DEADLINE: Duration = Duration::from_mins(1);

fn path(faucet: &Faucet) -> String {
    format!("/v2/library/crowd/blobs/{}", faucet.digest())
}

/// Pulls a large blob and says what that took.
fn measure(what: &str, worker: &Worker, faucet: &Faucet) -> Outcome<(Figures, String)> {
    let before = worker.figures()?;
    let pulled = worker.pull(&path(faucet))?;
    let after = worker.figures()?;
    equal("length", &pulled.length, &faucet.length())?;
    equal("content-length", &pulled.header("content-length").to_owned(), &faucet.length().to_string())?;
    equal("digest", &pulled.digest, &faucet.digest().to_owned())?;
    let took = Figures {
        memory_kib: after.memory_kib,
        processor: after.processor.saturating_sub(before.processor),
        peak_kib: after.peak_kib.saturating_sub(before.peak_kib),
    };
    eprintln!(
        "{what}: {} MB in {:?}, processor {:?}, memory {} KiB more, {} KiB in all",
        pulled.length / 1_000_000,
        pulled.took,
        took.processor,
        took.peak_kib,
        after.peak_kib
    );
    Ok((took, pulled.done().to_owned()))
}

fn is_small(what: &str, took: Figures) -> Outcome {
    ensure(took.processor < MOST_PROCESSOR, format_args!("{what}: {:?} of the processor", took.processor))?;
    ensure(took.peak_kib < MOST_KIB, format_args!("{what}: {} KiB more memory", took.peak_kib))
}

#[test]
fn three_hundred_megabytes_take_little() -> Outcome {
    let _turn = turn();
    let (faucet, bucket) = (Faucet::start(LARGE_MIB, FAST)?, tempfile::tempdir()?);
    let relaying = Setup::new().upstream("reg.test", faucet.address()).start()?;
    let (took, done) = measure("relayed", &relaying, &faucet)?;
    equal("outcome", &done, &"relayed".to_owned())?;
    is_small("relayed", took)?;
    drop(relaying);
    let filling = worker(faucet.address(), bucket.path())?;
    let (_, done) = measure("cold, with what the emulated bucket takes", &filling, &faucet)?;
    equal("outcome", &done, &"filled".to_owned())?;
    drop(filling);
    let serving = worker(faucet.address(), bucket.path())?;
    let (took, done) = measure("from the bucket", &serving, &faucet)?;
    equal("outcome", &done, &"hit".to_owned())?;
    is_small("from the bucket", took)
}

#[test]
fn two_who_want_one_cold_blob_both_get_it() -> Outcome {
    let _turn = turn();
    let (faucet, bucket) = (Faucet::start(16, 8_000_000)?, tempfile::tempdir()?);
    let worker = worker(faucet.address(), bucket.path())?;
    let pulls: Vec<_> = thread::scope(|scope| {
        let pulls: Vec<_> = (0..2).map(|_| scope.spawn(|| worker.pull(&path(&faucet)))).collect();
        pulls.into_iter().map(|pull| pull.join().expect("a pull")).collect::<Outcome<_>>()
    })?;
    for pulled in &pulls {
        ensure(pulled.is_whole, &pulled.head)?;
        equal("digest", &pulled.digest, &faucet.digest().to_owned())?;
    }
    let fetched = faucet.asked().iter().filter(|what| *what == "GET whole").count();
    equal("each fetches for itself", &fetched, &2)?;
    let kept = worker.pull(&path(&faucet))?;
    equal("outcome", &kept.done().to_owned(), &"hit".to_owned())
}

#[test]
fn ranges_of_what_is_cached_come_from_the_bucket() -> Outcome {
    let _turn = turn();
    let (faucet, bucket) = (Faucet::start(4, FAST)?, tempfile::tempdir()?);
    let worker = worker(faucet.address(), bucket.path())?;
    // workerd ends connections that are idle for seconds: each question has its own.
    let part = |range: &str| Client::new()?.get(worker.url(&path(&faucet))).header("range", range).ask();
    let cold = part("bytes=1000-1999")?.expect_status(206)?;
    ensure(faucet.has(1000, &cold.body) && cold.body.len() == 1000, "another part")?;
    ensure(cold.header("x-registry-proxy").starts_with("relayed"), cold.header("x-registry-proxy"))?;
    ensure(worker.pull(&path(&faucet))?.is_whole, "it did not come")?;
    let asked = faucet.asked().len();
    let warm = part("bytes=70000-169999")?.expect_status(206)?;
    ensure(faucet.has(70_000, &warm.body) && warm.body.len() == 100_000, "another part")?;
    equal("content-range", &warm.header("content-range"), &"bytes 70000-169999/4194304")?;
    let end = part("bytes=-1000")?.expect_status(206)?;
    ensure(faucet.has(faucet.length() - 1000, &end.body) && end.body.len() == 1000, "another end")?;
    part(&format!("bytes={}-", faucet.length()))?.expect_status(416)?;
    let head = Client::new()?.head(worker.url(&path(&faucet))).ask()?.expect_status(200)?;
    equal("content-length of HEAD", &head.header("content-length"), &"4194304")?;
    equal("questions to the registry", &faucet.asked().len(), &asked)
}

/// Says that it has whatever is asked for, and sends something else.
struct Liar(Bytes);

impl Handler for Liar {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        let is_ping = request.uri().path() == "/v2/";
        async move {
            let body = Full::new(self.0.clone()).map_err(|never| match never {}).boxed();
            Ok(if is_ping { text(StatusCode::OK, "{}") } else { Response::new(body) })
        }
        .boxed()
    }
}

#[test]
fn bytes_with_another_digest_have_no_end_and_are_not_cached() -> Outcome {
    let _turn = turn();
    let bucket = tempfile::tempdir()?;
    let liar = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Liar(vec![7; 3_000_000].into())))?;
    let worker = worker(liar.address(), bucket.path())?;
    let path = format!("/v2/library/lie/blobs/{}", digest::of_bytes(b"the truth"));
    for _ in 0..2 {
        let pulled = worker.pull(&path)?;
        equal("outcome", &pulled.done().to_owned(), &"filled".to_owned())?;
        ensure(!pulled.is_whole, "wrong bytes came whole")?;
    }
    wait_until("the log should say so", KEPT_DEADLINE, || {
        Ok(worker.log().contains("did not match its digest").then_some(()))
    })
}

#[test]
fn a_client_that_leaves_does_not_stop_the_copy() -> Outcome {
    let _turn = turn();
    let (faucet, bucket) = (Faucet::start(16, 8_000_000)?, tempfile::tempdir()?);
    let worker = worker(faucet.address(), bucket.path())?;
    drop(worker.begin(&path(&faucet))?);
    let client = Client::new()?;
    wait_until("it should be kept", KEPT_DEADLINE, || {
        let head = client.head(worker.url(&path(&faucet))).ask()?.expect_status(200)?;
        Ok(head.header("x-registry-proxy").starts_with("hit").then_some(()))
    })?;
    let kept = worker.pull(&path(&faucet))?;
    equal("digest", &kept.digest, &faucet.digest().to_owned())
}
