//! What every store promises, as one suite: run it against each of them, on whatever runtime it wants.

mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, TryStreamExt as _, future::BoxFuture};

pub use self::uploads::{upload_contract, upload_contract_but};
use crate::cache::{BLOBS, Key, LEASES};
use crate::digest::Digest;
use crate::name::RepositoryName;
use crate::platform::{Draft, Entry, Part, Precondition, Store, StoreError};

/// One promise: its name, and what holds a fresh store to it.
pub type ContractCheck = (&'static str, fn(Arc<dyn Store>) -> BoxFuture<'static, ()>);

/// All of them.
pub const CHECKS: [ContractCheck; 18] = [
    ("a record is read as it was written", |store| records(store).boxed()),
    ("of racing writers exactly one finds nothing there", |store| races(store).boxed()),
    ("a record that is overwritten is whole for every reader", |store| overwrites(store).boxed()),
    ("a blob is invisible until it is committed", |store| invisible(store).boxed()),
    ("a draft that is dropped leaves nothing to be seen", |store| dropped(store).boxed()),
    ("a draft is written in any order", |store| out_of_order(store).boxed()),
    ("a draft is read while it is written and after its commit", |store| tailed(store).boxed()),
    ("a commit of another length than was written is refused", |store| wrong_length(store).boxed()),
    ("a part of a blob is that part", |store| parts(store).boxed()),
    ("a long blob comes whole", |store| long(store).boxed()),
    ("a blob may be empty", |store| empty(store).boxed()),
    ("who reads a blob reads on while it is removed", |store| removed(store).boxed()),
    ("a list holds what is below its prefix", |store| listed(store).boxed()),
    ("a validator changes with the bytes, and only then", |store| marked(store).boxed()),
    ("two drafts of one key are both committed, and one is there whole", |store| twice(store).boxed()),
    ("what is used is the newest in the order of eviction", |store| ordered(store).boxed()),
    ("a sweep leaves drafts alone that are being written", |store| swept(store).boxed()),
    ("what a store cannot do is known before it is asked", |store| able(store).boxed()),
];

/// Holds fresh stores to everything.
///
/// # Panics
///
/// Where a promise is broken, with its name.
pub async fn store_contract(make: impl Fn() -> Arc<dyn Store>) {
    for (name, check) in CHECKS {
        hold(name, check(make())).await;
    }
}

/// Waits for a check, and puts its name before what it found.
async fn hold(name: &str, check: BoxFuture<'static, ()>) {
    let broken = std::panic::AssertUnwindSafe(check).catch_unwind().await.err();
    if let Some(cause) = broken {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        panic!("{name}: broken: {text}");
    }
}

/// Bytes that differ by their number and from place to place.
pub fn content(number: u64, length: usize) -> Bytes {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// What a step that cannot fail gives.
fn done<T>(what: Result<T, StoreError>) -> T {
    what.unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {}", source.unwrap_or_default())
    })
}

fn tag(name: &str) -> Key {
    let repository = RepositoryName::parse("library/alpine").expect("it is a name");
    Key::tag("docker.io", &repository, name)
}

async fn put(store: &dyn Store, bytes: &Bytes) -> Key {
    let key = Key::blob(&Digest::sha256(bytes));
    let draft = done(store.draft(&key, Some(bytes.len() as u64)).await);
    write(&*draft, 0, bytes).await;
    done(draft.commit(bytes.len() as u64).await);
    key
}

async fn write(draft: &dyn Draft, offset: u64, bytes: &Bytes) {
    done(draft.write_at(offset, bytes.clone()).await);
}

async fn get(store: &dyn Store, key: &Key, part: Option<Part>) -> Option<Bytes> {
    let found = done(store.open(key, part).await)?;
    let expected = found.body.length();
    let bytes = found.body.collect(u64::MAX).await.expect("a body that comes whole");
    assert_eq!(expected, Some(bytes.len() as u64), "the length that was promised");
    Some(bytes)
}

async fn tail(draft: &dyn Draft, mut offset: u64, end: u64) -> Bytes {
    let mut all = Vec::new();
    while offset < end {
        let most = usize::try_from(end - offset).expect("a length");
        let bytes = done(draft.read_at(offset, most).await);
        assert!(!bytes.is_empty() && bytes.len() <= most, "{} bytes of at most {most}", bytes.len());
        offset += bytes.len() as u64;
        all.extend_from_slice(&bytes);
    }
    all.into()
}

async fn list(store: &dyn Store, prefix: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = done(store.list(prefix).try_collect().await);
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

async fn records(store: Arc<dyn Store>) {
    let key = tag("3.20");
    assert_eq!(done(store.read(&key).await), None);
    for value in [&b"one"[..], b"", b"another that is longer", b"x"] {
        assert!(done(store.write(&key, Bytes::from_static(value), Precondition::Always).await));
        assert_eq!(done(store.read(&key).await).as_deref(), Some(value));
    }
    assert!(!done(store.write(&key, Bytes::from_static(b"late"), Precondition::Absent).await));
    assert_eq!(done(store.read(&key).await).as_deref(), Some(&b"x"[..]));
    done(store.remove(&key).await);
    done(store.remove(&key).await);
    assert_eq!(done(store.read(&key).await), None);
    assert!(done(store.write(&key, Bytes::from_static(b"new"), Precondition::Absent).await));
    let large = content(1, 3 << 20);
    assert!(done(store.write(&key, large.clone(), Precondition::Always).await));
    assert_eq!(done(store.read(&key).await), Some(large));
}

async fn races(store: Arc<dyn Store>) {
    for epoch in 0..8 {
        let key = Key::lease(&Digest::sha256(b"raced"), epoch);
        let writers = (0..8_u64).map(|number| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move { done(store.write(&key, content(number, 100), Precondition::Absent).await) }
        });
        let won = join_all(writers).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "winners of {won:?}");
        let winner = won.iter().position(|won| *won).expect("a winner");
        assert_eq!(done(store.read(&key).await), Some(content(winner as u64, 100)));
    }
}

async fn overwrites(store: Arc<dyn Store>) {
    let key = tag("latest");
    let length = |number: u64| usize::try_from(number + 1).expect("a length") * 5000;
    done(store.write(&key, content(0, length(0)), Precondition::Always).await);
    let steps = (0..24_u64).map(|number| {
        let (store, key) = (Arc::clone(&store), key.clone());
        async move {
            if number % 2 == 0 {
                done(store.write(&key, content(number, length(number)), Precondition::Always).await);
            } else {
                let found = done(store.read(&key).await).expect("a record");
                let is_whole = (0..24).any(|number| found == content(number, length(number)));
                assert!(is_whole, "a record of {} bytes that nobody wrote", found.len());
            }
        }
    });
    join_all(steps).await;
}

async fn invisible(store: Arc<dyn Store>) {
    let bytes = content(2, 10_000);
    let key = Key::blob(&Digest::sha256(&bytes));
    let draft = done(store.draft(&key, None).await);
    write(&*draft, 0, &bytes).await;
    assert_eq!(done(store.stat(&key).await), None);
    assert!(done(store.open(&key, None).await).is_none());
    assert_eq!(list(&*store, "").await, []);
    done(draft.commit(10_000).await);
    assert_eq!(done(store.stat(&key).await).map(|stat| stat.length), Some(10_000));
    assert_eq!(get(&*store, &key, None).await, Some(bytes));
    assert!(draft.commit(10_000).await.is_err(), "a second commit");
}

async fn dropped(store: Arc<dyn Store>) {
    let key = Key::blob(&Digest::sha256(b"dropped"));
    let draft = done(store.draft(&key, Some(1000)).await);
    write(&*draft, 0, &content(3, 500)).await;
    drop(draft);
    assert_eq!(done(store.stat(&key).await), None);
    assert!(done(store.open(&key, None).await).is_none());
    assert_eq!(list(&*store, "").await, []);
}

async fn out_of_order(store: Arc<dyn Store>) {
    let bytes = content(4, 1_000_000);
    let key = Key::blob(&Digest::sha256(&bytes));
    let draft = done(store.draft(&key, Some(1_000_000)).await);
    let mut offsets: Vec<usize> = (0..bytes.len()).step_by(77_777).collect();
    offsets.reverse();
    offsets.swap(1, 7);
    let writes = offsets.into_iter().map(|offset| {
        let piece = bytes.slice(offset..bytes.len().min(offset + 77_777));
        let draft = &draft;
        async move { write(&**draft, offset as u64, &piece).await }
    });
    join_all(writes).await;
    done(draft.commit(1_000_000).await);
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes, in order");
}

async fn tailed(store: Arc<dyn Store>) {
    let bytes = content(5, 600_000);
    let key = Key::blob(&Digest::sha256(&bytes));
    let draft = done(store.draft(&key, None).await);
    write(&*draft, 0, &bytes.slice(..200_000)).await;
    assert!(tail(&*draft, 0, 200_000).await == bytes[..200_000], "what was written");
    write(&*draft, 400_000, &bytes.slice(400_000..)).await;
    assert!(tail(&*draft, 500_000, 600_000).await == bytes[500_000..], "what was written behind a gap");
    write(&*draft, 200_000, &bytes.slice(200_000..400_000)).await;
    done(draft.commit(600_000).await);
    assert!(tail(&*draft, 0, 600_000).await == bytes, "what was committed");
    done(store.remove(&key).await);
    assert!(tail(&*draft, 1, 600_000).await == bytes[1..], "what was removed while it was read");
}

async fn wrong_length(store: Arc<dyn Store>) {
    let key = Key::blob(&Digest::sha256(b"wrong"));
    for length in [0, 99, 101] {
        let draft = done(store.draft(&key, Some(100)).await);
        write(&*draft, 0, &content(6, 100)).await;
        assert!(draft.commit(length).await.is_err(), "100 bytes as {length}");
        assert_eq!(done(store.stat(&key).await), None);
    }
}

async fn parts(store: Arc<dyn Store>) {
    let bytes = content(7, 900_000);
    let key = put(&*store, &bytes).await;
    for (first, end) in [(0, 900_000), (0, 1), (899_999, 900_000), (262_143, 262_145), (1, 800_001), (5, 5)] {
        let found = get(&*store, &key, Some(Part { first, end })).await.expect("a blob");
        let range = usize::try_from(first).expect("an offset")..usize::try_from(end).expect("an offset");
        assert!(found == bytes[range], "{first} to {end}");
    }
    let behind = get(&*store, &key, Some(Part { first: 899_990, end: 1_000_000 })).await;
    assert_eq!(behind.as_deref(), Some(&bytes[899_990..]), "what lies behind the end is not there");
    let found = done(store.open(&key, Some(Part { first: 1, end: 2 })).await).expect("a blob");
    assert_eq!(found.stat.length, 900_000, "the length of the whole");
    let nothing = Key::blob(&Digest::sha256(b"nothing"));
    assert!(done(store.open(&nothing, Some(Part { first: 0, end: 1 })).await).is_none());
}

async fn long(store: Arc<dyn Store>) {
    let bytes = content(8, 12_345_678);
    let key = put(&*store, &bytes).await;
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes");
}

async fn empty(store: Arc<dyn Store>) {
    let key = put(&*store, &Bytes::new()).await;
    assert_eq!(done(store.stat(&key).await).map(|stat| stat.length), Some(0));
    assert_eq!(get(&*store, &key, None).await, Some(Bytes::new()));
}

async fn removed(store: Arc<dyn Store>) {
    let bytes = content(9, 3_000_000);
    let key = put(&*store, &bytes).await;
    let mut body = done(store.open(&key, None).await).expect("a blob").body;
    let first = body.chunk().await.expect("a piece").expect("bytes");
    done(store.remove(&key).await);
    assert_eq!(done(store.stat(&key).await), None);
    assert!(done(store.open(&key, None).await).is_none());
    let rest = body.collect(u64::MAX).await.expect("the rest");
    assert!([first, rest].concat() == bytes, "the bytes");
    done(store.remove(&key).await);
}

async fn listed(store: Arc<dyn Store>) {
    let lease = Key::lease(&Digest::sha256(b"x"), 1);
    let mut expected = vec![(tag("a"), 1), (tag("b"), 22), (lease.clone(), 3)];
    for (key, size) in &expected {
        done(store.write(key, content(10, *size), Precondition::Always).await);
    }
    let blob = put(&*store, &content(11, 4444)).await;
    expected.push((blob.clone(), 4444));
    expected.sort();
    let found = |entries: Vec<Entry>| -> Vec<(Key, usize)> {
        entries.into_iter().map(|entry| (entry.key, usize::try_from(entry.size).expect("a size"))).collect()
    };
    assert_eq!(found(list(&*store, "").await), expected);
    assert_eq!(found(list(&*store, BLOBS).await), [(blob.clone(), 4444)]);
    assert_eq!(found(list(&*store, LEASES).await), [(lease, 3)]);
    assert_eq!(found(list(&*store, "v1/tags/docker.io/library/alpine/_/").await).len(), 2);
    let half = &blob.as_str()[..blob.as_str().len() - 20];
    assert_eq!(found(list(&*store, half).await), [(blob.clone(), 4444)]);
    assert_eq!(list(&*store, "v1/links/").await, []);
}

async fn marked(store: Arc<dyn Store>) {
    let key = put(&*store, &content(12, 1000)).await;
    let first = done(store.stat(&key).await).expect("a blob");
    assert_eq!(done(store.stat(&key).await), Some(first.clone()));
    assert_eq!(done(store.open(&key, None).await).map(|found| found.stat), Some(first.clone()));
    store.used(&key);
    assert_eq!(done(store.stat(&key).await), Some(first.clone()));
    let draft = done(store.draft(&key, None).await);
    write(&*draft, 0, &content(13, 1000)).await;
    done(draft.commit(1000).await);
    let second = done(store.stat(&key).await).expect("a blob");
    assert_eq!(second.length, 1000);
    assert_ne!(second.validator, first.validator);
}

async fn twice(store: Arc<dyn Store>) {
    let key = Key::blob(&Digest::sha256(b"twice"));
    for _ in 0..4 {
        let commits = (0..4_u64).map(|number| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move {
                let draft = done(store.draft(&key, Some(200_000)).await);
                write(&*draft, 100_000, &content(number, 200_000).slice(100_000..)).await;
                write(&*draft, 0, &content(number, 200_000).slice(..100_000)).await;
                done(draft.commit(200_000).await);
                assert!(tail(&*draft, 0, 200_000).await == content(number, 200_000), "its own bytes");
            }
        });
        join_all(commits).await;
        let found = get(&*store, &key, None).await.expect("a blob");
        assert!((0..4).any(|number| found == content(number, 200_000)), "one of them, whole");
    }
}

async fn ordered(store: Arc<dyn Store>) {
    let old = put(&*store, &content(14, 10)).await;
    let new = put(&*store, &content(15, 10)).await;
    store.used(&old);
    let entries = list(&*store, BLOBS).await;
    let used = |key: &Key| entries.iter().find(|entry| entry.key == *key).expect("an entry").used;
    assert!(used(&old) >= used(&new), "{entries:?}");
    store.used(&Key::blob(&Digest::sha256(b"never there")));
    assert_eq!(list(&*store, BLOBS).await.len(), 2);
}

async fn swept(store: Arc<dyn Store>) {
    let kept = put(&*store, &content(16, 1000)).await;
    let bytes = content(17, 300_000);
    let key = Key::blob(&Digest::sha256(&bytes));
    let draft = done(store.draft(&key, Some(300_000)).await);
    write(&*draft, 0, &bytes.slice(..150_000)).await;
    done(store.sweep(Duration::ZERO).await);
    write(&*draft, 150_000, &bytes.slice(150_000..)).await;
    done(store.sweep(Duration::ZERO).await);
    done(draft.commit(300_000).await);
    done(store.sweep(Duration::ZERO).await);
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes");
    assert_eq!(get(&*store, &kept, None).await, Some(content(16, 1000)));
}

async fn able(store: Arc<dyn Store>) {
    let key = put(&*store, &content(18, 10)).await;
    let link = store.link(&key, Duration::from_mins(1)).await;
    assert_eq!(link.is_ok(), store.capabilities().links, "links: {link:?}");
    let upload = store.upload(&key).await;
    assert_eq!(upload.is_ok(), store.capabilities().uploads, "uploads");
    if let Ok(upload) = upload {
        done(upload.abort().await);
    }
}
