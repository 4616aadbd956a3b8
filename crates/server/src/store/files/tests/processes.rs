//! The store against other processes that write to it: limited, without permission, or killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use registry_proxy_core::cache::Kind;

use super::*;

/// Tells a child of a test which directory it writes to.
const CHILD: &str = "REGISTRY_PROXY_TEST_STORE";

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
    command.args(["--exact", &format!("store::files::tests::processes::{test}"), "--ignored", "--nocapture"]);
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
