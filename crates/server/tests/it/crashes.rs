//! A process that is killed at any moment, again and again: while blobs come and are put away, while room is made,
//! while somebody throws everything away.
//!
//! `REGISTRY_PROXY_CRASHES` says how often in all (50), `REGISTRY_PROXY_CRASH_SEED` repeats what a run did by chance,
//! as far as threads and disks do. Each test prints in the midst of what it killed.

mod remains;
mod removals;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use registry_proxy_core::digest::Digest;
use tokio::task::JoinHandle;

use self::remains::{Remains, Tally};
use crate::fixture::{Product, Setup, Shelf, attempt, noise, one_upstream, soon};

/// Clients at once.
const CLIENTS: usize = 6;
/// Manifests that each round has, each under a tag and its digest.
const MANIFESTS: usize = 4;
/// The killing comes within this, in milliseconds from when clients begin.
const LIFE_MILLIS: u64 = 250;
/// Behind so many rounds the folder is emptied, or checking it takes ever longer.
const FOLDER_ROUNDS: usize = 10;
/// A process that was killed leaves its lease behind; who comes next waits this long for nobody.
const WAIT: Duration = Duration::from_millis(100);

/// Numbers that a seed gives.
struct Chance(u64);

impl Chance {
    /// By the seed that is wanted, or by the time. It is printed.
    fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let seed = number("REGISTRY_PROXY_CRASH_SEED").unwrap_or_else(|| u64::try_from(now).unwrap());
        eprintln!("REGISTRY_PROXY_CRASH_SEED={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.next() % all.len() as u64).unwrap()]
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// How many fifths of all the killing a test does.
fn rounds(fifths: usize) -> usize {
    let all = usize::try_from(number("REGISTRY_PROXY_CRASHES").unwrap_or(50)).unwrap();
    (all * fifths).div_ceil(5)
}

/// Puts what one round is about on the shelf; its paths.
fn stock(shelf: &Shelf, chance: &mut Chance) -> Vec<String> {
    let mut paths = Vec::new();
    let mut digests = Vec::new();
    for length in [0, 1 << 10, 60 << 10, 300 << 10, 700 << 10, 3 << 20] {
        let bytes = noise(chance.next(), 1 + length + usize::try_from(chance.below(5000)).unwrap());
        paths.push(shelf.blob(&bytes));
        digests.push(Digest::sha256(&bytes));
    }
    for _ in 0..MANIFESTS {
        // Long ones: a moment that falls into the writing of a short one is a rare one.
        paths.extend(shelf.manifest(&format!("t{}", chance.next()), &digests, &"x".repeat(100_000)));
    }
    paths
}

/// Asks for one thing after another until nobody answers; whatever came whole must be right.
async fn pull(address: SocketAddr, shelf: Shelf, paths: Arc<Vec<String>>, seed: u64, whole: Arc<AtomicUsize>) {
    let mut chance = Chance(seed | 1);
    loop {
        let path = chance.one_of(&paths);
        let bytes = shelf.at(path).unwrap();
        let is_part = path.contains("/blobs/") && chance.below(4) == 0;
        let first = if is_part { usize::try_from(chance.below(bytes.len() as u64)).unwrap() } else { 0 };
        let range = if is_part { format!("Range: bytes={first}-\r\n") } else { String::new() };
        let Some(answer) = soon("an answer or its end", attempt(address, path, &range)).await else { return };
        let expected = if is_part { (206, &bytes[first..]) } else { (200, &bytes[..]) };
        assert!(
            (answer.status, &answer.body[..]) == expected,
            "{path} {range}: {} other bytes",
            answer.body.len()
        );
        whole.fetch_add(1, Ordering::Relaxed);
    }
}

/// Clients, each asking until nobody answers.
struct Crowd {
    clients: Vec<JoinHandle<()>>,
    whole: Arc<AtomicUsize>,
}

impl Crowd {
    fn begin(product: &Product, shelf: &Shelf, paths: &[String], chance: &mut Chance) -> Self {
        let (paths, whole) = (Arc::new(paths.to_vec()), Arc::<AtomicUsize>::default());
        let client = |seed| pull(product.address, shelf.clone(), Arc::clone(&paths), seed, Arc::clone(&whole));
        let clients = (0..CLIENTS).map(|_| tokio::spawn(client(chance.next()))).collect();
        Self { clients, whole }
    }

    /// Waits for all of them; how many right answers they had.
    async fn end(self, round: usize) -> usize {
        for client in self.clients {
            soon("a client's end", client).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        self.whole.load(Ordering::Relaxed)
    }
}

/// What a process was killed over is here, or comes again.
async fn all_come(product: &Product, shelf: &Shelf, paths: &[String], round: usize) {
    let all = paths.iter().map(|path| async move {
        let answer = soon("an answer", attempt(product.address, path, "")).await;
        let answer = answer.unwrap_or_else(|| panic!("{path} not whole, round {round}\n{}", product.log()));
        assert!(answer.status == 200 && answer.body == shelf.at(path).unwrap(), "{path}: {}", answer.status);
    });
    join_all(all).await;
}

/// A cache in this folder.
fn keys(folder: &Path, more: &str) -> String {
    let wait = WAIT.as_millis();
    let store = folder.display();
    format!("[cache]\nstore = 'file://{store}'\nmin_free = 0\n{more}\n[cache.fill]\nwait = '{wait}ms'")
}

fn empty(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::create_dir(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_what_is_cached_and_served_is_right() {
    let rounds = rounds(3);
    let mut chance = Chance::seeded();
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::default();
    let upstream = shelf.serve(Duration::from_millis(1)).await;
    let config = one_upstream(&keys(folder.path(), ""), upstream.address, "");
    let (mut tally, mut whole) = (Tally::default(), 0);
    let mut before: Vec<String> = Vec::new();
    for round in 0..rounds {
        if round % FOLDER_ROUNDS == 0 {
            empty(folder.path());
        }
        let product = Setup::new().start(&config).await;
        all_come(&product, &shelf, &before, round).await;
        let paths = stock(&shelf, &mut chance);
        let crowd = Crowd::begin(&product, &shelf, &paths, &mut chance);
        // The moment is a matter of chance, and nothing is waited for.
        tokio::time::sleep(Duration::from_millis(chance.below(LIFE_MILLIS))).await;
        drop(product);
        whole += crowd.end(round).await;
        tally.add(&Remains::of(folder.path(), &shelf), false);
        before = paths;
    }
    eprintln!("killed while blobs came: {tally}; {whole} answers");
    assert!(whole > rounds && tally.kept > rounds, "it was killed before it did anything");
    assert!(tally.filling + tally.committing > rounds / 10, "{tally}");
}
