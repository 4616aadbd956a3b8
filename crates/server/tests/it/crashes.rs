//! A process that is killed at any moment, again and again, on one folder.
//!
//! `REGISTRY_PROXY_CRASHES` says how often (50), `REGISTRY_PROXY_CRASH_SEED` repeats what a run did by chance, as far
//! as threads and disks do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_proxy_core::digest::Digest;

use crate::fixture::{Setup, Shelf, attempt, kept, noise, one_upstream, soon, unnamed};

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
async fn pull(
    address: std::net::SocketAddr,
    shelf: Shelf,
    paths: Arc<Vec<String>>,
    seed: u64,
    whole: Arc<AtomicUsize>,
) {
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

fn empty(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::create_dir(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_what_is_kept_and_served_is_right() {
    let rounds = usize::try_from(number("REGISTRY_PROXY_CRASHES").unwrap_or(50)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let seed = number("REGISTRY_PROXY_CRASH_SEED").unwrap_or_else(|| u64::try_from(now).unwrap());
    eprintln!("REGISTRY_PROXY_CRASH_SEED={seed}");
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::default();
    let upstream = shelf.serve(Duration::from_millis(1)).await;
    let keys = format!(
        "[cache]\nstore = 'file://{}'\nmin_free = 0\n[cache.fill]\nwait = '{}ms'",
        folder.path().display(),
        WAIT.as_millis()
    );
    let config = one_upstream(&keys, upstream.address, "");
    let whole = Arc::new(AtomicUsize::new(0));
    let (mut in_the_midst, mut stored) = (0, 0);
    let mut before: Vec<String> = Vec::new();
    for round in 0..rounds {
        if round % FOLDER_ROUNDS == 0 {
            empty(folder.path());
        }
        let product = Setup::new().start(&config).await;
        // What the last one was killed over is here, or comes again.
        for path in &before {
            let answer = soon("an answer", attempt(product.address, path, "")).await;
            let answer = answer.unwrap_or_else(|| panic!("{path} not whole, round {round}\n{}", product.log()));
            assert!(answer.status == 200 && answer.body == shelf.at(path).unwrap(), "{path}: {}", answer.status);
        }
        let paths = Arc::new(stock(&shelf, &mut chance));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (shelf, paths, whole) = (shelf.clone(), Arc::clone(&paths), Arc::clone(&whole));
                tokio::spawn(pull(product.address, shelf, paths, chance.next(), whole))
            })
            .collect();
        // The moment is a matter of chance, and nothing is waited for.
        tokio::time::sleep(Duration::from_millis(chance.below(LIFE_MILLIS))).await;
        drop(product);
        for client in clients {
            soon("a client's end", client).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        stored += kept(folder.path()).len();
        in_the_midst += usize::from(unnamed(folder.path()) > 0);
        before.clone_from(&paths);
    }
    let whole = whole.load(Ordering::Relaxed);
    eprintln!(
        "{rounds} rounds: {in_the_midst} killed in the midst of something, {stored} things kept, {whole} answers"
    );
    assert!(whole > rounds && stored > rounds, "it was killed before it did anything");
    assert!(in_the_midst > rounds / 10, "{in_the_midst} of {rounds} were killed in the midst of something");
}
