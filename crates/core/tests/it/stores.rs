//! The memory store: the contract, and its bound.

use std::sync::Arc;

use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Store, StoreError, When};
use registry_proxy_core::testing::contract::{content, store_contract};

use crate::clock::TokioClock;

fn store(capacity: u64) -> MemoryStore {
    MemoryStore::new(capacity, Arc::new(TokioClock::start()))
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract() {
    store_contract(|| Arc::new(store(1 << 30))).await;
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
    assert!(matches!(store.write(&two, content(3, 501), When::Always).await, Err(StoreError::Full)));
    assert!(store.write(&two, content(3, 500), When::Always).await.unwrap());
    assert!(store.write(&two, content(4, 500), When::Always).await.unwrap(), "in place of the other");
    store.remove(&one).await.unwrap();
    assert_eq!(store.free().await.unwrap(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn memory_knows_the_order_of_use() {
    let store = store(1000);
    let leases = [0, 1].map(|epoch| Key::lease(&Digest::sha256(b""), epoch));
    for lease in &leases {
        store.write(lease, content(1, 10), When::Always).await.unwrap();
    }
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    store.used(&leases[0]);
    let entries: Vec<_> = futures_util::TryStreamExt::try_collect(store.list("")).await.unwrap();
    let used: Vec<u64> = entries.iter().map(|entry: &registry_proxy_core::platform::Entry| entry.used).collect();
    assert_eq!(used[0], used[1] + 5);
}
