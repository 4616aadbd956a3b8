//! When content was last used: the order of eviction.

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use super::*;

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
