//! Disks that are full or read-only, and upstreams that send other bytes than they should: clients get what they
//! asked for, or are told that they did not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use registry_proxy_core::digest::Digest;

use crate::fixture::{
    Client, Product, Setup, Shelf, Whole, attempt, kept, noise, one_upstream, place_of, soon, within,
};

/// Bytes of the smallest disk.
const DISK_BYTES: usize = 24 << 20;

/// A cache in this folder.
pub(crate) fn keys(folder: &Path) -> String {
    format!("[cache]\nstore = 'file://{}'\nmin_free = 0\n[cache.fill]\nwait = '100ms'", folder.display())
}

/// A GET; `None`: no whole answer came.
pub(crate) async fn get(product: &Product, path: &str) -> Option<Whole> {
    soon("an answer or its end", attempt(product.address, path, "")).await
}

/// Asks until it is answered whole, at most so often; how often it was.
pub(crate) async fn served_within(product: &Product, shelf: &Shelf, path: &str, most: usize) -> usize {
    let bytes = shelf.at(path).unwrap();
    for times in 1..=most {
        if let Some(answer) = get(product, path).await.filter(|answer| answer.status < 500) {
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body == bytes, "{path}: {} other bytes of {}", answer.body.len(), bytes.len());
            return times;
        }
    }
    panic!("{path}: not whole in {most} times\n{}", product.log());
}

/// Waits for what happens in another process.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// How a disk is made small.
#[derive(Debug, Clone, Copy)]
enum Small {
    /// A file system in memory, in a mount namespace of the process's own.
    Mount,
    /// No file may be longer: it is what a full disk looks like from within, and needs no rights.
    Limit,
}

impl Small {
    fn words(self, folder: &Path) -> Vec<String> {
        let script = match self {
            Self::Mount => {
                format!("mount -t tmpfs -o size={DISK_BYTES} none {} && exec \"$0\" \"$@\"", folder.display())
            }
            // In blocks of 512 bytes, and far below a blob.
            Self::Limit => "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"".to_owned(),
        };
        let shell = ["sh", "-c", &script].map(str::to_owned);
        let namespace: &[&str] = match self {
            Self::Mount if rustix::process::geteuid().is_root() => &["unshare", "--mount"],
            Self::Mount => &["unshare", "--mount", "--map-root-user"],
            Self::Limit => &[],
        };
        namespace.iter().map(|word| (*word).to_owned()).chain(shell).collect()
    }

    /// A disk with an end, if this machine lets us have one; otherwise files with an end.
    fn best(folder: &Path) -> Self {
        let words = Self::Mount.words(folder);
        let tried = std::process::Command::new(&words[0]).args(&words[1..]).arg("true").output();
        if tried.as_ref().is_ok_and(|output| output.status.success()) {
            return Self::Mount;
        }
        eprintln!("nothing can be mounted here, so files are limited instead: {tried:?}");
        Self::Limit
    }
}

async fn is_right_without_room(small: Small, folder: &Path) {
    let shelf = Shelf::default();
    let paths: Vec<String> = (0..8).map(|number| shelf.blob(&noise(number, 10 << 20))).collect();
    let small_paths: Vec<String> = (0..8).map(|number| shelf.blob(&noise(100 + number, 1 << 20))).collect();
    let longest = shelf.blob(&noise(200, 2 * DISK_BYTES));
    let manifests = shelf.manifest("latest", &[], "");
    let upstream = shelf.serve(Duration::ZERO).await;
    let setup = Setup::new().wrapped(small.words(folder));
    let product = setup.start(&one_upstream(&keys(folder), upstream.address, "")).await;
    for _ in 0..2 {
        let clients: Vec<_> = small_paths
            .iter()
            .chain(&paths)
            .chain([&longest])
            .chain(&manifests)
            .map(|path| {
                let (path, address) = (path.clone(), product.address);
                tokio::spawn(async move {
                    let answer = within(Duration::from_mins(1), "an answer", attempt(address, &path, "")).await;
                    (path, answer)
                })
            })
            .collect();
        for client in clients {
            let (path, answer) = client.await.unwrap();
            let answer = answer.unwrap_or_else(|| panic!("{small:?}: {path} not whole\n{}", product.log()));
            assert!(answer.status == 200 && answer.body == shelf.at(&path).unwrap(), "{small:?}: {path}");
        }
    }
    assert!(product.metric("registry_proxy_store_failures_total", "why=\"cache full\"").await > 0, "{small:?}");
    assert!(product.log().contains("the cache has no room left"), "{}", product.log());
    // What did fit is there, and is right.
    assert!(!kept(&product.sees(folder)).is_empty(), "{small:?}: nothing was kept");
    assert!(product.metric("registry_proxy_requests_total", "outcome=\"hit\"").await > 0, "{small:?}");
}

#[tokio::test]
async fn on_a_full_disk_clients_get_the_right_bytes() {
    let folder = tempfile::tempdir().unwrap();
    is_right_without_room(Small::best(folder.path()), folder.path()).await;
}

#[tokio::test]
async fn where_files_may_not_grow_clients_get_the_right_bytes() {
    let folder = tempfile::tempdir().unwrap();
    is_right_without_room(Small::Limit, folder.path()).await;
}

#[tokio::test]
async fn wrong_bytes_of_the_right_length_are_never_served_whole_and_never_cached() {
    for length in [100, 5000, 100 << 10, 3 << 20] {
        let (folder, shelf) = (tempfile::tempdir().unwrap(), Shelf::default());
        let right = noise(1, length);
        let digest = Digest::sha256(&right);
        let mut wrong = right.to_vec();
        wrong[length - 1] ^= 1;
        let path = shelf.false_blob(&digest, &wrong);
        let upstream = shelf.serve(Duration::ZERO).await;
        let product = Product::start(&one_upstream(&keys(folder.path()), upstream.address, "")).await;
        for time in 1..=2 {
            let answer = get(&product, &path).await;
            assert!(answer.is_none_or(|answer| answer.status >= 500), "{length} wrong bytes came whole");
            product.wait_for_lines("the blob from the upstream does not match its digest", time).await;
        }
        // Of a range alone it cannot be told, and it is not kept either. With the rest of it, it can: then the end is
        // withheld where nothing of it has gone yet.
        let half = length / 2;
        let range = async |range: String| {
            let header = format!("Range: {range}\r\n");
            soon("a range", attempt(product.address, &path, &header)).await.map(|answer| answer.status)
        };
        assert_eq!(range(format!("bytes=0-{}", half - 1)).await, Some(206), "{length}");
        let rest = range(format!("bytes={half}-")).await;
        assert!(rest.is_none_or(|status| status == 206 || status >= 500), "{length}: {rest:?}");
        let answer = get(&product, &path).await;
        assert!(answer.is_none_or(|answer| answer.status >= 500), "{length} wrong bytes came whole out of ranges");
        assert!(kept(folder.path()).is_empty(), "{length} wrong bytes are kept");
        // Once the upstream has the right ones, so has everybody. The second try after the wrong parts may still be
        // bringing what the upstream had before; whoever comes after it gets the right ones.
        shelf.false_blob(&digest, &right);
        served_within(&product, &shelf, &path, 2).await;
        until("the right bytes to be kept", || place_of(folder.path(), &digest).exists()).await;
        assert_eq!(kept(folder.path()), [digest]);
    }
}

/// Takes the right to write from directories, or gives it back.
fn set_writable(folder: &Path, is_writable: bool) {
    let mode = if is_writable { 0o700 } else { 0o500 };
    std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_writable(&path, is_writable);
        }
    }
}

/// Gives it back, or the folder could not be removed.
struct Writable<'a>(&'a Path);

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        set_writable(self.0, true);
    }
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_any_more_costs_no_answer() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Shelf::default());
    let [old, new] = [1, 2].map(|number| shelf.blob(&noise(number, 1 << 20)));
    let manifests = shelf.manifest("latest", &[], "");
    let upstream = shelf.serve(Duration::ZERO).await;
    // To root permissions say nothing, unless it has not got the right to pass them over.
    let setup = if rustix::process::geteuid().is_root() {
        Setup::new().wrapped(["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"])
    } else {
        Setup::new()
    };
    let product = setup.start(&one_upstream(&keys(folder.path()), upstream.address, "")).await;
    served_within(&product, &shelf, &old, 1).await;
    until("the blob to be kept", || kept(folder.path()).len() == 1).await;
    let _writable = Writable(folder.path());
    set_writable(folder.path(), false);
    let asked = upstream.seen().len();
    served_within(&product, &shelf, &old, 1).await;
    assert_eq!(upstream.seen().len(), asked, "what is kept can be read all the same");
    for _ in 0..2 {
        served_within(&product, &shelf, &new, 1).await;
        for path in &manifests {
            served_within(&product, &shelf, path, 1).await;
        }
    }
    product.wait_for_line("the cache cannot be written; continuing without it").await;
    assert!(product.metric("registry_proxy_store_failures_total", "why=\"cache not writable\"").await > 0);
    let (head, _) = Client::connect(product.address).await.get(&new).await;
    assert_eq!(head.get("x-registry-proxy"), Some("relayed; why=\"cache cannot take it\""), "{}", head.text);
    assert_eq!(kept(folder.path()).len(), 1);
    // Once it may be written, new content is kept.
    set_writable(folder.path(), true);
    served_within(&product, &shelf, &new, 1).await;
    until("the new blob to be kept", || kept(folder.path()).len() >= 2).await;
}
