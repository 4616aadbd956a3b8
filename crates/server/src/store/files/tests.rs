//! The file store against what happens to disks and processes.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use futures_util::{FutureExt as _, TryStreamExt as _};
use registry_proxy_core::body::BodyError;
use registry_proxy_core::cache::Kind;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::testing::contract::{content, store_contract};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
use tempfile::TempDir;

use super::*;

mod zoo;

/// Tells a child of a test which directory it writes to.
const CHILD: &str = "REGISTRY_PROXY_TEST_STORE";

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

/// Sets when a file was last used.
fn set_used(store: &FileStore, key: &Key, seconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: seconds, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    rustix::fs::utimensat(CWD, store.root.path_of(key), &times, AtFlags::empty()).unwrap();
}

#[tokio::test]
async fn the_order_of_use_outlives_the_process() {
    let (dir, store) = store();
    let [old, new] = [put(&store, &content(4, 10)).await, put(&store, &content(5, 10)).await];
    set_used(&store, &old, 1_000_000);
    set_used(&store, &new, 2_000_000);
    let validator = store.stat(&old).await.unwrap().unwrap().validator;
    store.used(&old);
    let noted = || std::fs::metadata(store.root.path_of(&old)).unwrap().atime();
    until("a note in the file", || noted() > 2_000_000).await;
    assert_eq!(store.stat(&old).await.unwrap().unwrap().validator, validator, "its bytes are what they were");
    let later = FileStore::open(dir.path(), 0).unwrap();
    let mut entries = entries(&later).await;
    entries.sort_by_key(|entry| entry.used);
    assert_eq!(entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&new, &old]);
    assert_eq!(entries[0].used, 2_000_000);
}

/// Whoever looks through everything does not make everything used.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn reading_alone_is_no_use() {
    let (_dir, store) = store();
    let blob = put(&store, &content(6, 300_000)).await;
    let record = Key::manifest(&Digest::sha256(b"m"));
    store.write(&record, Bytes::from_static(b"m"), Precondition::Always).await.unwrap();
    for key in [&blob, &record] {
        // Older than the last change: then the usual mount notes an access.
        set_used(&store, key, 1_000_000_000);
    }
    store.read(&record).await.unwrap().unwrap();
    let mut body = store.open(&blob, None).await.unwrap().unwrap().body;
    while let Some(piece) = body.chunk().await {
        piece.unwrap();
    }
    assert!(entries(&store).await.iter().all(|entry| entry.used == 1_000_000_000));
}

#[tokio::test]
async fn what_memory_knows_of_use_counts_before_it_is_noted() {
    let (_dir, store) = store();
    let key = put(&store, &content(6, 10)).await;
    store.used(&key);
    let noted = || std::fs::metadata(store.root.path_of(&key)).unwrap().atime();
    until("a note in the file", || noted() > 1_000_000).await;
    set_used(&store, &key, 1_000_000);
    assert!(entries(&store).await[0].used > 1_000_000);
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
    temp.file = File::options().read(true).write(true).open("/dev/full").unwrap();
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
async fn a_directory_that_may_not_be_written_is_denied_and_can_be_read() {
    let (dir, store) = store();
    let key = put(&store, &content(1, 10)).await;
    let status = child(dir.path(), "may_read_and_not_write", None).wait().unwrap();
    let shard = Path::new(key.as_str()).parent().unwrap().to_str().unwrap();
    for path in ["", TEMP, "v1", "v1/blobs", "v1/blobs/sha256", shard] {
        std::fs::set_permissions(dir.path().join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }
    assert!(status.success());
}

/// Permissions do not hold back root, so this thread becomes somebody else, and with it those for disks, which it starts.
#[test]
#[ignore = "run by a_directory_that_may_not_be_written_is_denied_and_can_be_read"]
fn may_read_and_not_write() {
    let store = of_the_parent();
    let key = Key::blob(&Digest::sha256(&content(1, 10)));
    let lease = Key::lease(&Digest::sha256(b"x"), 1);
    let root = store.root.path.clone();
    let blob = store.root.path_of(&key);
    std::fs::set_permissions(&blob, PermissionsExt::from_mode(0o444)).unwrap();
    let shard = blob.parent().unwrap().to_owned();
    let places = ["v1/blobs/sha256", "v1/blobs", TEMP, "v1", ""].map(|path| root.join(path));
    for path in std::iter::once(shard).chain(places) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65534)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(matches!(store.draft(&key, None).await, Err(StoreError::Denied(_))), "draft");
        let written = store.write(&lease, Bytes::from_static(b"x"), Precondition::Absent).await;
        assert!(matches!(written, Err(StoreError::Denied(_))), "write");
        assert!(matches!(store.remove(&key).await, Err(StoreError::Denied(_))), "remove");
        let found = store.open(&key, None).await.unwrap().unwrap();
        assert_eq!(found.body.collect(10).await.unwrap(), content(1, 10));
        store.used(&key);
    });
    let kind = FileStore::open(&root, 0).err().expect("nothing can be written there").kind();
    assert_eq!(kind, ErrorKind::PermissionDenied);
}

/// This test binary again, as another process that writes to the directory. `limit`: the longest file it may write.
fn child(root: &Path, test: &str, limit: Option<u32>) -> Child {
    let mut command = match limit {
        Some(blocks) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
            shell.arg(std::env::current_exe().unwrap());
            shell
        }
        None => Command::new(std::env::current_exe().unwrap()),
    };
    command.args(["--exact", &format!("store::files::tests::{test}"), "--ignored", "--nocapture"]);
    command.env(CHILD, root).stdout(Stdio::piped()).spawn().unwrap()
}

fn of_the_parent() -> FileStore {
    let root = std::env::var_os(CHILD).expect("a directory from the test that starts this");
    FileStore::open(Path::new(&root), 0).unwrap()
}

#[tokio::test]
async fn a_limit_in_the_middle_of_a_write_is_full_and_spoils_nothing() {
    let (dir, store) = store();
    let key = put(&store, &content(1, 1000)).await;
    let tag = Key::lease(&Digest::sha256(b"x"), 1);
    store.write(&tag, content(2, 1000), Precondition::Always).await.unwrap();
    let mut child = child(dir.path(), "writes_more_than_it_may", Some(16));
    assert!(child.wait().unwrap().success());
    assert_eq!(store.read(&tag).await.unwrap(), Some(content(2, 1000)));
    assert_eq!(entries(&store).await.len(), 2);
    let found = store.open(&key, None).await.unwrap().unwrap();
    assert_eq!(found.body.collect(1000).await.unwrap(), content(1, 1000));
}

#[tokio::test]
#[ignore = "run by a_limit_in_the_middle_of_a_write_is_full_and_spoils_nothing"]
async fn writes_more_than_it_may() {
    let store = of_the_parent();
    let tag = Key::lease(&Digest::sha256(b"x"), 1);
    let written = store.write(&tag, content(3, 100_000), Precondition::Always).await;
    assert!(matches!(written, Err(StoreError::Full)), "{written:?}");
    let draft = store.draft(&Key::blob(&Digest::sha256(b"x")), None).await.unwrap();
    draft.write_at(0, content(4, 5000)).await.unwrap();
    let written = draft.write_at(5000, content(4, 100_000)).await;
    assert!(matches!(written, Err(StoreError::Full)), "{written:?}");
}

#[tokio::test]
async fn whatever_is_killed_all_that_can_be_seen_is_whole() {
    let (dir, store) = store();
    let mut won = HashSet::new();
    let mut litter_seen = 0;
    let known = known_blobs();
    for round in 0..40_u64 {
        let mut children = [(); 2].map(|()| child(dir.path(), "writes_until_it_is_killed", None));
        let mut lines = children.each_mut().map(|child| BufReader::new(child.stdout.take().unwrap()).lines());
        // Killed somewhere behind the first things it wrote.
        for lines in &mut lines {
            for _ in 0..3 + round % 4 {
                note(&mut won, &lines.next().expect("a line").unwrap());
            }
        }
        // The line comes at the same place of the work each time; the end must not.
        std::thread::sleep(Duration::from_micros(round * 317 % 9000));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for line in lines.into_iter().flatten() {
            note(&mut won, &line.unwrap());
        }
        litter_seen += litter(dir.path());
        let entries = entries(&store).await;
        let mut blobs = 0;
        for entry in &entries {
            match entry.key.kind().unwrap() {
                Kind::Blob(_) => {
                    let found = store.open(&entry.key, None).await.unwrap().unwrap();
                    let bytes = found.body.collect(u64::MAX).await.unwrap();
                    assert!(
                        known.iter().any(|(key, whole)| *key == entry.key && *whole == bytes),
                        "{} bytes",
                        bytes.len()
                    );
                    blobs += 1;
                }
                Kind::Lease { .. } | Kind::Link { .. } => {
                    let record = store.read(&entry.key).await.unwrap().unwrap();
                    let whole = std::str::from_utf8(&record).unwrap();
                    assert_eq!(whole, whole[..10].repeat(500), "a record of {} bytes", record.len());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(blobs > 0, "nothing was committed");
        store.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(litter(dir.path()), 0);
        store.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(self::entries(&store).await.len(), entries.len(), "a sweep takes litter only");
    }
    assert!(litter_seen > 0, "no process was killed in the middle of anything");
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

#[tokio::test]
async fn the_lease_of_a_process_that_was_killed_is_taken_over_at_once_and_no_other() {
    let (dir, store) = store();
    let lease = Key::lease(&Digest::sha256(b"held"), 1);
    let take = async || store.write(&lease, content(5, 10), Precondition::Absent).await.unwrap();
    let mut child = child(dir.path(), "holds_a_lease_until_it_is_killed", None);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("held")), "it says so");
    assert!(!take().await, "its process lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let other = FileStore::open(dir.path(), 0).unwrap();
    assert!(take().await, "its process is gone");
    assert!(!other.write(&lease, content(6, 10), Precondition::Absent).await.unwrap(), "and this one lives");
    store.write(&lease, content(7, 10), Precondition::Always).await.unwrap();
    assert!(!other.write(&lease, content(6, 10), Precondition::Absent).await.unwrap(), "when it is renewed, too");
    store.remove(&lease).await.unwrap();
    assert!(other.write(&lease, content(6, 10), Precondition::Absent).await.unwrap());
    // As builds wrote it that locked none.
    let earlier = Key::lease(&Digest::sha256(b"earlier"), 1);
    let path = dir.path().join(earlier.as_str());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"1700000000").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(!store.write(&earlier, content(8, 10), Precondition::Absent).await.unwrap(), "it expires by itself");
}

#[tokio::test]
#[ignore = "run by the_lease_of_a_process_that_was_killed_is_taken_over_at_once_and_no_other"]
#[expect(clippy::print_stdout, reason = "it tells its parent")]
async fn holds_a_lease_until_it_is_killed() {
    let store = of_the_parent();
    let lease = Key::lease(&Digest::sha256(b"held"), 1);
    assert!(store.write(&lease, content(4, 10), Precondition::Absent).await.unwrap());
    println!("held");
    std::future::pending::<()>().await;
}

/// What the children write.
fn known_blobs() -> [(Key, Bytes); 3] {
    [1, 2, 3].map(|number| {
        let bytes = content(number, 1_000_000);
        (Key::blob(&Digest::sha256(&bytes)), bytes)
    })
}

/// Remembers a record that somebody says to have won; nobody else may have.
fn note(won: &mut HashSet<String>, line: &str) {
    if line.starts_with("won ") {
        assert!(won.insert(line.to_owned()), "{line}: twice");
    }
}

#[tokio::test]
#[ignore = "run by whatever_is_killed_all_that_can_be_seen_is_whole"]
#[expect(clippy::print_stdout, reason = "it tells its parent")]
async fn writes_until_it_is_killed() {
    let store = of_the_parent();
    let known = known_blobs();
    let mine = format!("{:010}", std::process::id());
    for number in 0..u64::MAX {
        let (key, bytes) = &known[usize::try_from(number % 3).unwrap()];
        let draft = store.draft(key, (number % 2 == 0).then_some(bytes.len() as u64)).await.unwrap();
        draft.write_at(600_000, bytes.slice(600_000..)).await.unwrap();
        draft.write_at(0, bytes.slice(..600_000)).await.unwrap();
        if number % 4 != 3 {
            draft.commit(bytes.len() as u64).await.unwrap();
        }
        drop(draft);
        let epoch = u32::try_from(number).unwrap();
        // Not a lease: those of the dead are taken over.
        let raced =
            Key::link("raced", &RepositoryName::parse("a").unwrap(), &Digest::sha256(&epoch.to_ne_bytes()));
        let record = Bytes::from(mine.repeat(500));
        let is_won = store.write(&raced, record.clone(), Precondition::Absent).await.unwrap();
        println!("{} {epoch}", if is_won { "won" } else { "lost" });
        let tag = Key::lease(&Digest::sha256(b"overwritten"), 0);
        store.write(&tag, record, Precondition::Always).await.unwrap();
    }
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
