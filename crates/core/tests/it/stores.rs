//! The memory store: the contract, and its bound.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Precondition, Store, StoreError};
use registry_proxy_core::testing::contract::{content, store_contract, upload_contract};

use crate::clock::TokioClock;

fn store(capacity: u64) -> MemoryStore {
    MemoryStore::new(capacity, Arc::new(TokioClock::start()))
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract() {
    store_contract(|| Arc::new(store(1 << 30))).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract_of_uploads() {
    for part_bytes in [8 << 20, 4096] {
        upload_contract(|| {
            let store = store(1 << 30).in_parts_of(part_bytes);
            [Arc::new(store.again()), Arc::new(store)]
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn uploads_take_room_until_they_are_taken_back_or_swept() {
    let store = store(1000).in_parts_of(256);
    let key = Key::blob(&Digest::sha256(b"one"));
    let mut upload = store.upload(&key).await.unwrap();
    for number in 0..3 {
        upload.part(content(number, 256)).await.unwrap();
    }
    assert!(matches!(upload.part(content(3, 256)).await, Err(StoreError::Full)));
    assert_eq!(store.free().await.unwrap(), Some(232));
    let parked = upload.park();
    drop(upload);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(store.sweep(Duration::from_secs(61)).await.unwrap().count, 0, "not that old");
    let upload = store.resume_upload(&key, &parked).await.unwrap().unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(store.sweep(Duration::from_mins(1)).await.unwrap().count, 0, "somebody is at it");
    drop(upload);
    let swept = store.sweep(Duration::from_mins(1)).await.unwrap();
    assert_eq!((swept.count, swept.bytes), (1, 768));
    assert_eq!(store.free().await.unwrap(), Some(1000));
    assert!(store.resume_upload(&key, &parked).await.unwrap().is_none());

    let mut upload = store.upload(&key).await.unwrap();
    upload.part(content(0, 256)).await.unwrap();
    let parked = upload.park();
    upload.part(content(1, 256)).await.unwrap();
    store.resume_upload(&key, &parked).await.unwrap().unwrap().commit().await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(744), "the part behind the end is given back");
    assert!(upload.commit().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn memory_links_where_a_test_wants_it() {
    let key = Key::blob(&Digest::sha256(b"one"));
    assert!(!store(1).capabilities().links);
    let store = store(1).linking("https://store.test".parse().unwrap());
    let link = store.link(&key, Duration::from_mins(1)).await.unwrap().to_string();
    assert!(link.starts_with(&format!("https://store.test/{key}?sig=signed&expires=")), "{link}");
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_full_says_so_and_gives_back_what_is_freed() {
    let store = store(1000);
    let [one, two] = [b"one", b"two"].map(|name| Key::blob(&Digest::sha256(name)));
    assert!(matches!(store.draft(&one, Some(1001)).await, Err(StoreError::Full)));
    let draft = store.draft(&one, Some(600)).await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(400));
    assert!(matches!(store.draft(&two, Some(401)).await, Err(StoreError::Full)));
    let unknown = store.draft(&two, None).await.unwrap();
    unknown.write_at(0, content(1, 400)).await.unwrap();
    assert!(matches!(unknown.write_at(400, content(1, 1)).await, Err(StoreError::Full)));
    drop(unknown);
    draft.write_at(0, content(2, 500)).await.unwrap();
    draft.commit(500).await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(500), "what was promised and not used is free");
    drop(draft);
    assert_eq!(store.free().await.unwrap(), Some(500));
    assert!(matches!(store.write(&two, content(3, 501), Precondition::Always).await, Err(StoreError::Full)));
    assert!(store.write(&two, content(3, 500), Precondition::Always).await.unwrap());
    assert!(store.write(&two, content(4, 500), Precondition::Always).await.unwrap(), "in place of the other");
    store.remove(&one).await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn memory_knows_the_order_of_use() {
    let store = store(1000);
    let leases = [0, 1].map(|epoch| Key::lease(&Digest::sha256(b""), epoch));
    for lease in &leases {
        store.write(lease, content(1, 10), Precondition::Always).await.unwrap();
    }
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    store.used(&leases[0]);
    let entries: Vec<_> = futures_util::TryStreamExt::try_collect(store.list("")).await.unwrap();
    let used: Vec<u64> = entries.iter().map(|entry: &registry_proxy_core::platform::Entry| entry.used).collect();
    assert_eq!(used[0], used[1] + 5);
}

#[tokio::test(start_paused = true)]
async fn a_draft_takes_room_for_what_is_written_and_not_for_what_lies_before() {
    let store = store(1000);
    let key = Key::blob(&Digest::sha256(b"one"));
    let draft = store.draft(&key, None).await.unwrap();
    draft.write_at(1 << 40, content(1, 100)).await.unwrap();
    draft.write_at((1 << 40) + 100, content(2, 100)).await.unwrap();
    draft.write_at(50, content(3, 100)).await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(700));
    assert_eq!(draft.read_at(1 << 40, 100).await.unwrap(), content(1, 100));
    assert_eq!(draft.read_at((1 << 40) + 190, 100).await.unwrap(), content(2, 100).slice(90..));
    for nothing in [0, 49, 150, 1 << 39, (1 << 40) + 200] {
        assert!(draft.read_at(nothing, 100).await.is_err(), "{nothing}");
    }
    assert!(matches!(draft.write_at(200, content(4, 701)).await, Err(StoreError::Full)));
    assert!(draft.commit((1 << 40) + 200).await.is_err(), "most of it is not here");
    drop(draft);
    assert_eq!(store.free().await.unwrap(), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_draft_written_in_any_order_is_committed_as_one() {
    let (store, whole) = (store(1000), content(1, 1000));
    let key = Key::blob(&Digest::sha256(b"one"));
    for promised in [None, Some(1000)] {
        let draft = store.draft(&key, promised).await.unwrap();
        for (first, end) in [(600, 700), (0, 300), (900, 1000), (300, 600)] {
            draft.write_at(first, whole.slice(usize::try_from(first).unwrap()..end)).await.unwrap();
        }
        assert!(draft.commit(1000).await.is_err(), "there is a hole in it");
        draft.write_at(700, whole.slice(700..900)).await.unwrap();
        draft.commit(1000).await.unwrap();
        assert_eq!(draft.read_at(250, 1000).await.unwrap(), whole.slice(250..));
        let found = store.open(&key, None).await.unwrap().unwrap();
        assert_eq!(found.body.collect(u64::MAX).await.unwrap(), whole);
        store.remove(&key).await.unwrap();
        drop(draft);
        assert_eq!(store.free().await.unwrap(), Some(1000));
    }
}
