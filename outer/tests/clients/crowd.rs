//! Many clients want one blob that nobody has yet: the upstream, which is slow, sends it once.
//!
//! `REGISTRY_PROXY_CROWD_MIB` says how large the blob is (64).

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Faucet;
use registry_proxy_outer::{Context, Failure, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::bucket::Bucket;
use crate::stage::engine_turn;

const CLIENTS: u32 = 100;
const BYTES_PER_SECOND: u64 = 20_000_000;
/// All have asked within this.
const ARRIVAL: Duration = Duration::from_secs(1);
/// Most memory for all of them, in KiB.
const MEMORY_KIB: u64 = 96 << 10;
/// The first byte is there this soon, once the upstream has sent one …
const FIRST_BYTE: Duration = Duration::from_millis(100);
/// … and where the machine has other things to do, later by what it takes for an answer that costs nothing, so many
/// times.
const TURNS: u32 = 2;
/// What else the machine does makes it later, and never sooner: once in so many rounds is enough.
const ROUNDS: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// What may be on its way on a connection that is given up for parallel ones: the kernel's queues on both ends.
const ON_ITS_WAY: u64 = 8 << 20;

/// What a client saw, to whom all arrived, byte by byte what the digest was made of.
struct Pulled {
    asked: Instant,
    first_byte: Instant,
}

fn faucet() -> Outcome<Arc<Faucet>> {
    let mebibytes = std::env::var("REGISTRY_PROXY_CROWD_MIB").map_or(Ok(64), |text| text.parse());
    Ok(Arc::new(Faucet::start(mebibytes?, BYTES_PER_SECOND)?))
}

/// Far more than a right run takes.
fn deadline(faucet: &Faucet) -> Duration {
    Duration::from_secs(60 + 4 * faucet.length() / BYTES_PER_SECOND)
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn pull(address: SocketAddr, faucet: Arc<Faucet>, begin: Instant) -> Outcome<Pulled> {
    tokio::time::sleep_until(begin.into()).await;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET /v2/reg.test/library/crowd/blobs/{} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
        faucet.digest()
    );
    let asked = Instant::now();
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 128 << 10];
    let mut start = 0;
    let end = loop {
        let length = stream.read(&mut buffer[start..]).await?;
        ensure(length > 0, format_args!("no head: {}", String::from_utf8_lossy(&buffer[..start])))?;
        start += length;
        let end = buffer[..start].windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end.map(|end| end + 4).filter(|end| *end < start) {
            break end;
        }
    };
    let first_byte = Instant::now();
    ensure(buffer.starts_with(b"HTTP/1.1 200 "), String::from_utf8_lossy(&buffer[..end]))?;
    ensure(faucet.has(0, &buffer[end..start]), "the first bytes are others")?;
    let mut offset = (start - end) as u64;
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            equal("bytes", &offset, &faucet.length())?;
            return Ok(Pulled { asked, first_byte });
        }
        ensure(faucet.has(offset, &buffer[..length]), format_args!("other bytes at {offset}"))?;
        offset += length as u64;
    }
}

/// Asks again and again for what costs nothing, and notes how long that takes.
async fn probe(address: SocketAddr, waits: Arc<Mutex<Vec<Duration>>>) -> Outcome {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let asked = Instant::now();
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut length = 0;
        while !buffer[..length].ends_with(b"ok\n") {
            let more = stream.read(&mut buffer[length..]).await?;
            ensure(more > 0, "the probe was cut off")?;
            length += more;
        }
        waits.lock().unwrap_or_else(PoisonError::into_inner).push(asked.elapsed());
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// What all but five of a hundred are below.
fn p95(mut waits: Vec<Duration>) -> Outcome<Duration> {
    waits.sort();
    waits.get(waits.len() * 95 / 100).copied().context("nothing was measured")
}

/// What was seen of a crowd.
struct Seen {
    pulled: Vec<Pulled>,
    /// How long an answer took that costs nothing, while the crowd came.
    probed: Vec<Duration>,
}

/// What was measured in a round.
struct Round {
    /// From the request, or the upstream's first byte, to the first byte.
    first_byte_p95: Duration,
    /// What costs nothing.
    turn_p95: Duration,
    peak_kib: u64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_byte_p95, turn_p95, peak_kib } = self;
        write!(f, "first byte p95 {first_byte_p95:?}, what costs nothing p95 {turn_p95:?}, peak {peak_kib} KiB")
    }
}

/// Clients that come one by one, in turn to each of these proxies.
fn crowd(faucet: &Arc<Faucet>, proxies: &[&Proxy], clients: u32) -> Outcome<Seen> {
    let probed = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    runtime()?.block_on(async {
        let pulls: Vec<_> = (0..clients)
            .zip(proxies.iter().cycle())
            .map(|(number, proxy)| {
                let pulling = pull(proxy.address(), Arc::clone(faucet), begin + ARRIVAL * number / clients);
                tokio::spawn(tokio::time::timeout(deadline(faucet), pulling))
            })
            .collect();
        let first = proxies.first().context("no proxy")?;
        let probing = tokio::spawn(probe(first.address(), Arc::clone(&probed)));
        tokio::time::sleep_until((begin + ARRIVAL).into()).await;
        probing.abort();
        let mut pulled = Vec::new();
        for pull in pulls {
            pulled.push(pull.await?.context("a pull")??);
        }
        let probed = std::mem::take(&mut *probed.lock().unwrap_or_else(PoisonError::into_inner));
        Ok::<_, Failure>(Seen { pulled, probed })
    })
}

fn sent_once(faucet: &Faucet) -> Outcome {
    let asked = faucet.asked();
    let whole = asked.iter().filter(|what| *what == "GET whole").count();
    equal("requests for all of it", &whole, &1)?;
    let sent = faucet.sent();
    ensure(
        (faucet.length()..faucet.length() + ON_ITS_WAY).contains(&sent),
        format_args!("the upstream sent {sent} bytes of {}: {asked:?}", faucet.length()),
    )
}

#[test]
fn a_hundred_clients_of_a_blob_that_is_not_here_cost_one_download() -> Outcome {
    // Times are measured: no engine beside it.
    let _turn = engine_turn();
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let round = round()?;
        eprintln!("{round}");
        if round.first_byte_p95 <= FIRST_BYTE + round.turn_p95 * TURNS {
            return Ok(());
        }
        late.push(round.to_string());
    }
    ensure(false, late.join("; "))
}

/// One crowd at a proxy that has nothing yet, with all that holds however busy the machine is.
fn round() -> Outcome<Round> {
    let (faucet, folder) = (faucet()?, tempfile::tempdir()?);
    let proxy = Setup::new()
        .cache(folder.path(), &[])
        .upstream("reg.test", faucet.address(), &["default = true"])
        .start()?;
    let seen = crowd(&faucet, &[&proxy], CLIENTS)?;
    sent_once(&faucet)?;
    let peak = proxy.service.peak_memory_kib()?;
    ensure(peak < MEMORY_KIB, format_args!("{peak} KiB of memory"))?;
    let begun = faucet.begun().context("it never began")?;
    let waits =
        seen.pulled.iter().map(|pulled| pulled.first_byte.saturating_duration_since(pulled.asked.max(begun)));
    Ok(Round { first_byte_p95: p95(waits.collect())?, turn_p95: p95(seen.probed)?, peak_kib: peak })
}

#[test]
fn four_processes_on_one_folder_cost_one_download() -> Outcome {
    let _turn = engine_turn();
    let (faucet, folder) = (faucet()?, tempfile::tempdir()?);
    // The others wait for the one that fetches, for longer than it takes.
    let seconds = deadline(&faucet).as_secs();
    let wait = format!("fill.wait = \"{seconds}s\"");
    let proxies = (0..4)
        .map(|_| {
            Setup::new()
                .cache(folder.path(), &[&wait])
                .config(format!("[timeouts]\nhead = \"{seconds}s\""))
                .upstream("reg.test", faucet.address(), &["default = true"])
                .start()
        })
        .collect::<Outcome<Vec<_>>>()?;
    crowd(&faucet, &proxies.iter().collect::<Vec<_>>(), 12)?;
    sent_once(&faucet)
}

/// Four processes on one bucket, each with some more lines in its config.
fn four_on_a_bucket(faucet: &Arc<Faucet>, bucket: &Bucket, lines: &str) -> Outcome {
    let proxies = (0..4)
        .map(|process| {
            let setup = Setup::new().config(lines).upstream("reg.test", faucet.address(), &["default = true"]);
            bucket.kept_by(setup, process).start()
        })
        .collect::<Outcome<Vec<_>>>()?;
    crowd(faucet, &proxies.iter().collect::<Vec<_>>(), 12).map(|_| ())
}

#[test]
fn four_processes_on_one_bucket_cost_one_download_where_it_ends_in_time() -> Outcome {
    let _turn = engine_turn();
    let (faucet, bucket) = (faucet()?, Bucket::start()?);
    let seconds = deadline(&faucet).as_secs();
    let lines = format!("[cache]\nfill.wait = \"{seconds}s\"\n[timeouts]\nhead = \"{seconds}s\"");
    four_on_a_bucket(&faucet, &bucket, &lines)?;
    sent_once(&faucet)
}

#[test]
fn four_processes_on_a_bucket_of_others_cost_one_download_where_it_ends_in_time() -> Outcome {
    let _turn = engine_turn();
    for bucket in Bucket::of_others()? {
        eprintln!("{}", bucket.name());
        let faucet = faucet()?;
        let seconds = deadline(&faucet).as_secs();
        let lines = format!("[cache]\nfill.wait = \"{seconds}s\"\n[timeouts]\nhead = \"{seconds}s\"");
        four_on_a_bucket(&faucet, &bucket, &lines)?;
        sent_once(&faucet)?;
    }
    Ok(())
}

#[test]
fn four_processes_on_one_bucket_cost_at_most_a_download_each_where_it_takes_longer() -> Outcome {
    let _turn = engine_turn();
    let (faucet, bucket) = (faucet()?, Bucket::start()?);
    // One connection is slower than this, whatever the machine can do.
    four_on_a_bucket(&faucet, &bucket, "[cache]\nfill.wait = \"1s\"\nfill.parts = 1")?;
    let whole = faucet.asked().iter().filter(|what| *what == "GET whole").count();
    ensure((2..=4).contains(&whole), format_args!("{whole} downloads by four processes: {:?}", faucet.asked()))?;
    let most = 4 * faucet.length() + ON_ITS_WAY;
    ensure(faucet.sent() < most, format_args!("the upstream sent {} bytes of {}", faucet.sent(), faucet.length()))
}
