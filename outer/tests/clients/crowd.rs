//! Many clients want one blob that nobody has yet: the upstream, which is slow, sends it once.
//!
//! `REGISTRY_PROXY_CROWD_MIB` says how large the blob is (64).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use registry_proxy_outer::digest::Hasher;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Faucet;
use registry_proxy_outer::{Context, Failure, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

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
/// times: accepting, looking for the blob, reading the first piece and writing it are a turn each.
const TURNS: u32 = 4;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// What may be on its way on a connection that is given up for parallel ones: the kernel's queues on both ends.
const ON_ITS_WAY: u64 = 8 << 20;

/// What a client saw.
struct Pulled {
    asked: Instant,
    first_byte: Instant,
    digest: String,
}

fn faucet() -> Outcome<Faucet> {
    let mebibytes = std::env::var("REGISTRY_PROXY_CROWD_MIB").map_or(Ok(64), |text| text.parse());
    Faucet::start(mebibytes?, BYTES_PER_SECOND)
}

/// Far more than a right run takes.
fn deadline(faucet: &Faucet) -> Duration {
    Duration::from_secs(60 + 4 * faucet.length() / BYTES_PER_SECOND)
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn pull(address: SocketAddr, digest: String, begin: Instant) -> Outcome<Pulled> {
    tokio::time::sleep_until(begin.into()).await;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET /v2/reg.test/library/crowd/blobs/{digest} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
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
    let mut hasher = Hasher::new();
    hasher.update(&buffer[end..start]);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(Pulled { asked, first_byte, digest: hasher.finish() });
        }
        hasher.update(&buffer[..length]);
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

/// Clients that come one by one, in turn to each of these proxies.
fn crowd(faucet: &Faucet, proxies: &[&Proxy], clients: u32) -> Outcome<Seen> {
    let probed = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    runtime()?.block_on(async {
        let pulls: Vec<_> = (0..clients)
            .zip(proxies.iter().cycle())
            .map(|(number, proxy)| {
                let pulling =
                    pull(proxy.address(), faucet.digest().to_owned(), begin + ARRIVAL * number / clients);
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
    let (faucet, folder) = (faucet()?, tempfile::tempdir()?);
    let proxy = Setup::new()
        .cache(folder.path(), &[])
        .upstream("reg.test", faucet.address(), &["default = true"])
        .start()?;
    let seen = crowd(&faucet, &[&proxy], CLIENTS)?;
    for pulled in &seen.pulled {
        equal("digest", &pulled.digest.as_str(), &faucet.digest())?;
    }
    sent_once(&faucet)?;
    let begun = faucet.begun().context("it never began")?;
    let waits: Vec<_> = seen
        .pulled
        .iter()
        .map(|pulled| pulled.first_byte.saturating_duration_since(pulled.asked.max(begun)))
        .collect();
    let (late, turn, peak) = (p95(waits)?, p95(seen.probed)?, proxy.service.peak_memory_kib()?);
    eprintln!("first byte p95 {late:?}, what costs nothing p95 {turn:?}, peak memory {peak} KiB");
    ensure(
        late <= FIRST_BYTE + turn * TURNS,
        format_args!("5 % of first bytes came later than {late:?}, where a turn takes {turn:?}"),
    )?;
    ensure(peak < MEMORY_KIB, format_args!("{peak} KiB of memory"))
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
    for pulled in crowd(&faucet, &proxies.iter().collect::<Vec<_>>(), 12)?.pulled {
        equal("digest", &pulled.digest.as_str(), &faucet.digest())?;
    }
    sent_once(&faucet)
}
