//! Killed while much goes: a cache that is too large for its limit is made smaller at the start, or somebody throws
//! all of it away.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use registry_proxy_core::cache::Key;
use registry_proxy_core::digest::Digest;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Chance, Crowd, Remains, Tally, all_come, keys, rounds, stock};
use crate::disks::until;
use crate::fixture::{Setup, Shelf, fetch_all, kept, leases, noise, one_upstream, size, soon, tags, unnamed};

/// Images that lie in the cache at first, each with a layer of its own.
const IMAGES: u64 = 150;
/// Bytes of a layer.
const LAYER: usize = 50_000;
/// What the cache may hold: less than the images, more than what clients want meanwhile.
const MAX_BYTES: u64 = 5_000_000;
/// The killing comes within this, in microseconds from when the first manifest is gone.
const LIFE_MICROS: u64 = 15_000;
/// So many of what was torn are asked for, and so many of all images.
const ASKED: usize = 20;

/// What makes content go.
#[derive(Debug, Clone, Copy)]
enum Remover {
    /// The janitor, as there is too much.
    Limit,
    /// A person, again and again.
    Purge,
}

/// A folder with images in it, as the product itself has put them there.
struct Larder {
    folder: tempfile::TempDir,
    shelf: Shelf,
    images: Vec<[String; 2]>,
}

impl Larder {
    async fn stocked(chance: &mut Chance) -> Self {
        let (folder, shelf) = (tempfile::tempdir().unwrap(), Shelf::default());
        let image = |number| shelf.image(&format!("i{number}"), &noise(chance.next(), LAYER));
        let images: Vec<_> = (0..IMAGES).map(image).collect();
        let upstream = shelf.serve(Duration::ZERO).await;
        let config = one_upstream(&keys(folder.path(), ""), upstream.address, "");
        let mut product = Setup::new().start(&config).await;
        fetch_all(product.address, &images.concat()).await;
        // It ends when all of it is kept.
        product.signal(Signal::TERM);
        assert!(product.wait().await.success());
        assert_eq!(
            (kept(folder.path()).len(), tags(folder.path(), &shelf).len()),
            (2 * images.len(), images.len())
        );
        Self { folder, shelf, images }
    }

    /// The same once more. No file of it is ever changed where it lies, so that a second name does.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for part in ["blobs", "manifests", "tags", "links"] {
            link_all(&self.folder.path().join("v1").join(part), &copy.path().join("v1").join(part));
        }
        copy
    }

    /// Where its manifests lie.
    fn manifests(&self, folder: &Path) -> Vec<PathBuf> {
        let digest = |[manifest, _]: &[String; 2]| Digest::sha256(&self.shelf.at(manifest).unwrap());
        let place = |digest: Digest| folder.join(Key::manifest(&digest).as_str());
        self.images.iter().map(|image| place(digest(image))).collect()
    }
}

fn link_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_all(&entry.path(), &target);
        } else {
            std::fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

/// Has everything thrown away until nobody answers.
async fn purge(folder: PathBuf) {
    while let Ok(mut stream) = UnixStream::connect(folder.join("admin.sock")).await {
        let asked = stream.write_all(b"{\"purge\":{\"what\":\"all\",\"dry_run\":false}}\n").await;
        if asked.is_err() || stream.read_to_end(&mut Vec::new()).await.is_err() {
            return;
        }
    }
}

/// As if the crash had been hours ago.
fn age(folder: &Path) {
    let hours_ago = SystemTime::now() - Duration::from_hours(2);
    let times = std::fs::FileTimes::new().set_accessed(hours_ago).set_modified(hours_ago);
    for file in unnamed(folder).iter().chain(&leases(folder)) {
        std::fs::File::options().write(true).open(file).unwrap().set_times(times).unwrap();
    }
}

async fn kill_while(remover: Remover) {
    let rounds = rounds(1);
    let mut chance = Chance::seeded();
    let larder = Larder::stocked(&mut chance).await;
    let shelf = &larder.shelf;
    let upstream = shelf.serve(Duration::from_millis(1)).await;
    let (mut tally, mut whole) = (Tally::default(), 0);
    for round in 0..rounds {
        let folder = larder.copy();
        let limit = match remover {
            Remover::Limit => format!("max_size = {MAX_BYTES}"),
            Remover::Purge => String::new(),
        };
        let config = one_upstream(&keys(folder.path(), &limit), upstream.address, "");
        let manifests = larder.manifests(folder.path());
        let product = Setup::new().start(&config).await;
        let paths = stock(shelf, &mut chance);
        let crowd = Crowd::begin(&product, shelf, &paths, &mut chance);
        let purger = match remover {
            Remover::Limit => None,
            Remover::Purge => Some(tokio::spawn(purge(folder.path().to_owned()))),
        };
        until("something to go", || manifests.iter().any(|manifest| !manifest.exists())).await;
        // From here on the moment is a matter of chance.
        tokio::time::sleep(Duration::from_micros(chance.below(LIFE_MICROS))).await;
        drop(product);
        whole += crowd.end(round).await;
        if let Some(purger) = purger {
            soon("the purger's end", purger).await.unwrap();
        }
        let remains = Remains::of(folder.path(), shelf);
        tally.add(&remains, remains.torn.iter().any(|tag| tag.starts_with('i')));

        // The next start takes up where this one was stopped, and nobody meets what is torn.
        age(folder.path());
        let product = Setup::new().start(&config).await;
        let is_tidy = || unnamed(folder.path()).is_empty() && leases(folder.path()).is_empty();
        until("the litter to go", is_tidy).await;
        if matches!(remover, Remover::Limit) {
            until("room to be made", || size(folder.path()) <= MAX_BYTES).await;
        }
        let torn = remains.torn.iter().take(ASKED).map(|tag| format!("/v2/acme/app/manifests/{tag}"));
        let some = larder.images.iter().step_by(larder.images.len() / ASKED).flatten().cloned();
        let all: Vec<String> = paths.into_iter().chain(torn).chain(some).collect();
        all_come(&product, shelf, &all, round).await;
        drop(product);
        Remains::of(folder.path(), shelf);
    }
    eprintln!("killed while content went ({remover:?}): {tally}; {whole} answers");
    assert!(tally.removing > 0, "none fell into an eviction: {tally}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_room_is_made_it_makes_room_at_the_next_start() {
    kill_while(Remover::Limit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_everything_is_thrown_away_it_serves_nothing_torn() {
    kill_while(Remover::Purge).await;
}
