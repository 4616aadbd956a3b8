//! The file store against what happens to disks.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use futures_util::{FutureExt as _, TryStreamExt as _};
use registry_proxy_core::body::BodyError;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::testing::contract::{content, store_contract};
use tempfile::TempDir;

use super::*;

mod processes;
mod use_times;
mod zoo;

fn store() -> (TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), 0).unwrap();
    (dir, store)
}

async fn put(store: &FileStore, bytes: &Bytes) -> Key {
    let key = Key::blob(&Digest::sha256(bytes));
    let draft = store.draft(&key, Some(bytes.len() as u64)).await.unwrap();
    draft.write_at(0, bytes.clone()).await.unwrap();
    draft.commit(bytes.len() as u64).await.unwrap();
    key
}

async fn entries(store: &FileStore) -> Vec<Entry> {
    store.list("").try_collect().await.unwrap()
}

/// Files that have no name.
fn litter(root: &Path) -> usize {
    std::fs::read_dir(root.join(TEMP)).unwrap().count()
}

/// Waits for what happens on another thread.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn files_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        Arc::new(FileStore::open(&dir.path().join(number.get().to_string()), 0).unwrap())
    })
    .await;
}

/// A directory as it would be where case is folded.
fn folded(path: &Path) -> FileStore {
    let mut store = FileStore::open(path, 0).unwrap();
    Arc::get_mut(&mut store.root).unwrap().path_encoding = PathEncoding::CaseFolded;
    store
}

#[tokio::test]
async fn files_keep_the_contract_where_case_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        Arc::new(folded(&dir.path().join(number.get().to_string())))
    })
    .await;
}

#[tokio::test]
async fn tags_that_differ_in_case_are_stored_apart_and_what_was_stored_before_is_still_found() {
    let (dir, store) = store();
    let name = RepositoryName::parse("a/b").unwrap();
    let tag = |tag: &str| Key::tag("up.test", &name, tag);
    store.write(&tag("latest"), "old".into(), Precondition::Always).await.unwrap();
    store.write(&tag("Old"), "nobody can tell whose".into(), Precondition::Always).await.unwrap();
    let blob = put(&store, &content(1, 100)).await;
    let store = folded(dir.path());
    for (key, record) in [("RC", "upper"), ("rc", "lower"), ("Rc", "mixed")] {
        store.write(&tag(key), record.into(), Precondition::Always).await.unwrap();
    }
    store.remove(&tag("Rc")).await.unwrap();
    let mut records = Vec::new();
    for key in ["latest", "RC", "rc", "Rc", "Old"] {
        records.push(store.read(&tag(key)).await.unwrap());
    }
    assert_eq!(records, [Some("old".into()), Some("upper".into()), Some("lower".into()), None, None]);
    let mut listed: Vec<Key> = entries(&store).await.into_iter().map(|entry| entry.key).collect();
    listed.sort();
    let mut expected = vec![blob, tag("latest"), tag("RC"), tag("rc")];
    expected.sort();
    assert_eq!(listed, expected);
    let folder = dir.path().join("v1/tags/up.test/a/b/_");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().to_ascii_lowercase());
    let files: Vec<_> = files.collect();
    let distinct: HashSet<_> = files.iter().collect();
    assert_eq!(distinct.len(), files.len(), "{files:?}");
}

#[tokio::test]
async fn a_small_record_takes_the_blocks_that_the_disk_gives_it() {
    let (_dir, store) = store();
    let digest = Digest::sha256(b"x");
    let link = Key::link("up.test", &RepositoryName::parse("a/b").unwrap(), &digest);
    store.write(&link, "shown".into(), Precondition::Always).await.unwrap();
    put(&store, &content(1, 100)).await;
    for entry in entries(&store).await {
        let file = std::fs::metadata(store.root.path_of(&entry.key)).unwrap();
        let expected = if entry.key == link { (5, (file.blocks() * 512).max(5)) } else { (100, 100) };
        assert_eq!((entry.size, entry.taken), expected, "{}", entry.key);
    }
}

#[tokio::test]
async fn a_directory_of_our_own_making_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("some/cache");
    let store = FileStore::open(&root, 0).unwrap();
    let key = put(&store, &content(1, 10)).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(store.root.path_of(&key).parent().unwrap()), 0o700);
    assert_eq!(mode(&store.root.path_of(&key)), 0o600);
}

#[tokio::test]
async fn a_draft_that_is_dropped_leaves_no_file() {
    let (dir, store) = store();
    let draft = store.draft(&Key::blob(&Digest::sha256(b"x")), Some(10)).await.unwrap();
    draft.write_at(0, content(1, 10)).await.unwrap();
    assert_eq!(litter(dir.path()), 1);
    drop(draft);
    until("the file's end", || litter(dir.path()) == 0).await;
    let key = Key::lease(&Digest::sha256(b"x"), 1);
    assert!(store.write(&key, Bytes::from_static(b"a"), Precondition::Absent).await.unwrap());
    assert!(!store.write(&key, Bytes::from_static(b"b"), Precondition::Absent).await.unwrap());
    until("the record's end", || litter(dir.path()) == 0).await;
}

#[tokio::test]
async fn a_file_cut_short_never_ends_as_if_it_were_whole() {
    let (_dir, store) = store();
    let bytes = content(2, 3_000_000);
    let key = put(&store, &bytes).await;
    let mut body = store.open(&key, None).await.unwrap().unwrap().body;
    let mut length = body.chunk().await.unwrap().unwrap().len() as u64;
    let file = File::options().write(true).open(store.root.path_of(&key)).unwrap();
    file.set_len(1_000_000).unwrap();
    let error = loop {
        match body.chunk().await.expect("an error before the end") {
            Ok(piece) => length += piece.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BodyError::Short { missing_bytes } if missing_bytes == 3_000_000 - length), "{error}");
    assert_eq!(store.stat(&key).await.unwrap().unwrap().length, 1_000_000, "the length that is there");
}

#[tokio::test]
async fn a_mark_changes_when_a_file_is_changed_in_place() {
    let (_dir, store) = store();
    let key = put(&store, &content(3, 1000)).await;
    let before = store.stat(&key).await.unwrap().unwrap();
    let file = File::options().write(true).open(store.root.path_of(&key)).unwrap();
    let stamp = file.metadata().unwrap().modified().unwrap();
    until("another time of change", || {
        file.write_all_at(b"rot", 500).unwrap();
        file.metadata().unwrap().modified().unwrap() != stamp
    })
    .await;
    let after = store.stat(&key).await.unwrap().unwrap();
    assert_eq!(after.length, before.length);
    assert_ne!(after.validator, before.validator);
}

#[tokio::test]
async fn litter_and_foreign_files_are_passed_over() {
    let (dir, store) = store();
    let key = put(&store, &content(7, 10)).await;
    let near = store.root.path_of(&key).parent().unwrap().to_owned();
    for path in
        [dir.path().join("README"), near.join("lost"), near.join(".hidden"), dir.path().join(TEMP).join("x")]
    {
        std::fs::write(path, "x").unwrap();
    }
    std::os::unix::fs::symlink("/", dir.path().join("v1/tags")).unwrap();
    std::fs::create_dir_all(store.root.path_of(&Key::blob(&Digest::sha256(b"a directory")))).unwrap();
    assert_eq!(entries(&store).await.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), [key]);
    assert_eq!(store.stat(&Key::blob(&Digest::sha256(b"a directory"))).await.unwrap(), None);
    assert!(store.open(&Key::blob(&Digest::sha256(b"a directory")), None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_list_outlives_files_that_vanish_under_it() {
    let (_dir, store) = store();
    let mut keys = HashSet::new();
    for number in 0..600 {
        let key = Key::lease(&Digest::sha256(&content(number, 8)), 0);
        std::fs::create_dir_all(store.root.path_of(&key).parent().unwrap()).unwrap();
        std::fs::write(store.root.path_of(&key), "x").unwrap();
        keys.insert(key);
    }
    let mut list = store.list("");
    list.try_next().await.unwrap().unwrap();
    std::fs::remove_dir_all(store.root.path.join("v1/leases")).unwrap();
    let rest: Vec<Entry> = list.try_collect().await.unwrap();
    assert!(rest.len() < 599, "{} of 600 were found after they were gone", rest.len());
}

#[tokio::test]
async fn a_sweep_removes_what_is_old_and_nobodys() {
    let (dir, store) = store();
    let live = store.draft(&Key::blob(&Digest::sha256(b"x")), None).await.unwrap();
    std::fs::write(dir.path().join(TEMP).join("dead"), "1234").unwrap();
    std::fs::create_dir_all(dir.path().join("v1/leases/sha256/abc")).unwrap();
    assert_eq!(store.sweep(Duration::from_hours(1)).await.unwrap(), Swept::default());
    assert_eq!(litter(dir.path()), 2);
    // Another process would see the lock as well as this second store does.
    let other = FileStore::open(dir.path(), 0).unwrap();
    until("the probe's end", || litter(dir.path()) == 2).await;
    assert_eq!(other.sweep(Duration::ZERO).await.unwrap(), Swept { count: 1, bytes: 4 });
    assert!(!dir.path().join("v1/leases/sha256/abc").exists());
    live.write_at(0, content(8, 10)).await.unwrap();
    live.commit(10).await.unwrap();
    assert_eq!(entries(&store).await.len(), 1);
}

#[tokio::test]
async fn directories_that_somebody_removed_come_back() {
    let (dir, store) = store();
    std::fs::remove_dir_all(dir.path().join("v1")).unwrap();
    put(&store, &content(9, 10)).await;
    assert_eq!(entries(&store).await.len(), 1);
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(store.draft(&Key::blob(&Digest::sha256(b"x")), None).await.is_err());
    assert!(!dir.path().exists(), "the root may be a mount that is gone");
}

#[tokio::test]
async fn too_little_room_is_told_before_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), u64::MAX).unwrap();
    let key = Key::blob(&Digest::sha256(b"x"));
    assert!(matches!(store.draft(&key, None).await, Err(StoreError::Full)));
    assert!(matches!(store.draft(&key, Some(1)).await, Err(StoreError::Full)));
    assert_eq!(store.free().await.unwrap(), Some(0));
    let store = FileStore::open(dir.path(), 0).unwrap();
    assert!(matches!(store.draft(&key, Some(1 << 60)).await, Err(StoreError::Full)));
    assert!(store.free().await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn a_disk_that_is_full_in_the_middle_of_a_draft_is_full() {
    let (_dir, store) = store();
    let key = Key::blob(&Digest::sha256(b"x"));
    let mut temp = TempFile::new(&store.root).unwrap();
    temp.file = File::options().read(true).write(true).open("/dev/full").unwrap().into();
    let root = Arc::clone(&store.root);
    let draft = FileDraft { root, key: key.clone(), temp: Arc::new(temp), reserved: 10 };
    assert!(matches!(draft.write_at(0, content(1, 10)).await, Err(StoreError::Full)));
    assert_eq!(store.stat(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_name_too_long_for_a_disk_is_absent_and_rests_nobody() {
    let (_dir, store) = store();
    let repository = RepositoryName::parse("a/b").unwrap();
    let key = Key::tag(&"u".repeat(300), &repository, "v1");
    assert_eq!(store.read(&key).await.unwrap(), None);
    assert_eq!(store.stat(&key).await.unwrap(), None);
    assert!(store.open(&key, None).await.unwrap().is_none());
    store.remove(&key).await.unwrap();
    for precondition in [Precondition::Always, Precondition::Absent] {
        // A store that is denied something is asked for the rest; one that failed is left alone.
        assert!(
            matches!(store.write(&key, content(1, 10), precondition).await, Err(StoreError::Denied(_))),
            "{precondition:?}"
        );
    }
}

#[test]
fn what_a_disk_says_is_understood() {
    for (errno, expected) in [
        (Errno::NOSPC, "cache full"),
        (Errno::DQUOT, "cache full"),
        (Errno::FBIG, "cache full"),
        (Errno::ROFS, "cache not writable"),
        (Errno::ACCESS, "cache not writable"),
        (Errno::PERM, "cache not writable"),
        (Errno::IO, "cache failed"),
        (Errno::ISDIR, "cache failed"),
    ] {
        assert_eq!(store_error(errno.into()).why(), expected, "{errno}");
    }
}

#[tokio::test]
async fn a_lease_is_held_until_its_file_is_gone_and_the_file_of_another_stays() {
    let (dir, store) = store();
    let other = FileStore::open(dir.path(), 0).unwrap();
    let lease = Key::lease(&Digest::sha256(b"held"), 1);
    assert!(store.write(&lease, content(5, 10), Precondition::Absent).await.unwrap());
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    // The disk hangs.
    for _ in 0..64 {
        let gate = Arc::clone(&gate);
        disk::run(move || drop(gate.lock().map(|gate| gate.recv())));
    }
    let mut removing = store.remove(&lease);
    assert!(removing.as_mut().now_or_never().is_none());
    let is_taken = other.leases.write(&other.root, &lease, b"other", Precondition::Absent).unwrap();
    assert!(!is_taken, "its file is there, and would be removed from under the other");
    drop(open);
    removing.await.unwrap();
    assert!(other.write(&lease, content(6, 10), Precondition::Absent).await.unwrap());
    assert!(!store.write(&lease, content(5, 10), Precondition::Absent).await.unwrap());
    // It had expired, and the other has written over it.
    assert!(store.write(&lease, content(5, 10), Precondition::Always).await.unwrap());
    assert!(other.write(&lease, content(6, 10), Precondition::Always).await.unwrap());
    store.remove(&lease).await.unwrap();
    assert_eq!(other.read(&lease).await.unwrap().unwrap(), content(6, 10));
    other.remove(&lease).await.unwrap();
    assert!(other.read(&lease).await.unwrap().is_none());
}

/// A disk of its own has a directory that only root may look into: `lost+found`.
#[test]
fn our_keys_are_listed_whatever_lies_beside_them() {
    let (dir, store) = store();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime().block_on(put(&store, &content(7, 10)));
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    let shard = format!("v1/blobs/sha256/{}", key.as_str().split('/').nth(3).unwrap());
    for path in ["", "v1", "v1/blobs", "v1/blobs/sha256", &shard] {
        std::fs::set_permissions(dir.path().join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(dir.path().join("lost+found"), PermissionsExt::from_mode(0o000)).unwrap();
    let nobody = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65534)).unwrap();
        }
        let everything = registry_proxy_core::cache::EVERYTHING;
        runtime().block_on(store.list(everything).try_collect::<Vec<Entry>>()).unwrap()
    });
    let found: Vec<Key> = nobody.join().unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, [key]);
}
