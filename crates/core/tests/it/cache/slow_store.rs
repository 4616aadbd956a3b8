//! A store that is slower than the registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::StoreError;
use registry_proxy_core::testing::{Hook, HookedStore, Step};
use tokio::sync::Semaphore;

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, manifest_of};

/// A disk that writes eight records at once, each in ten milliseconds, and counts those that wait for it.
struct SlowDisk {
    turns: Semaphore,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Hook for SlowDisk {
    fn at(&self, step: Step, _key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            if step == Step::Write {
                let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(waiting, Ordering::SeqCst);
                let turn = self.turns.acquire().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(turn);
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrives_faster_than_the_store_writes_waits_and_is_stored_all_the_same() {
    const COUNT: usize = 2000;
    let inner = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let disk = SlowDisk { turns: Semaphore::new(8), waiting: AtomicUsize::new(0), most: AtomicUsize::new(0) };
    let store = Arc::new(HookedStore::new(inner, disk));
    let lab = Fixture::set_up(&Setup { text: "", store: Some(store.clone()), ..Setup::default() });
    let names: Vec<String> = (0..COUNT).map(|number| format!("v{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        lab.registry.put_manifest("a/b", name, OCI_MANIFEST, manifest_of(100 + number));
    }
    let fixture = &lab;
    // 64 clients, each of which asks again once it has an answer.
    let clients = names.chunks(COUNT / 64 + 1).map(|names| async move {
        for name in names {
            assert_eq!(fixture.get(&format!("/v2/a/b/manifests/{name}")).await.status, 200);
        }
    });
    join_all(clients).await;
    assert!(lab.proxy.flush(Duration::from_mins(1)).await, "all is written");
    let most = store.hook.most.load(Ordering::SeqCst);
    assert!(most <= 320, "{most} records wait for the disk: more than 256 and one for each client");
    let mut lab = lab;
    lab.restart("");
    lab.net.forget();
    for name in &names {
        let seen = lab.get(&format!("/v2/a/b/manifests/{name}")).await;
        assert_eq!(seen.header("x-registry-proxy"), "hit; why=\"tag is fresh\"", "{name}");
    }
}
