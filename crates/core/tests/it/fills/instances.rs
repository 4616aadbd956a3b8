//! Several processes on one store.

use std::sync::Arc;

use registry_proxy_core::Proxy;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Precondition, Store};

use super::*;
use crate::clock::{EPOCH, TokioClock};
use crate::fixture::{Call, Setup};

fn two(store: &Arc<MemoryStore>) -> (Fixture, Arc<Proxy>) {
    let store = Arc::clone(store) as Arc<dyn Store>;
    let lab = Fixture::set_up(&Setup { store: Some(store), ..Setup::default() });
    let other = lab.beside("", lab.net.clone(), 9);
    (lab, other)
}

fn shared() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared())
}

#[tokio::test(start_paused = true)]
async fn one_fetches_and_the_other_has_it_from_the_store() {
    let store = shared();
    let (lab, other) = two(&store);
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(5)));
    let second = async {
        lab.wait(1).await;
        Call::new(&other, http::Method::GET, &path).await
    };
    let (first, second) = tokio::join!(async { lab.get(&path).await }, second);
    assert_eq!((first.body, second.body.clone()), (content(), content()));
    assert_eq!((second.done(), gets(&lab)), ("joined", 1));
    lab.wait(1).await;
    let digest = Digest::sha256(&content());
    assert_eq!(store.read(&Key::lease(&digest, 1)).await.unwrap(), None, "the lease is over");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_is_not_waited_for() {
    let store = shared();
    let (lab, other) = two(&store);
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(24)));
    let second = async {
        lab.wait(1).await;
        let begun = lab.now();
        let seen = Call::new(&other, http::Method::GET, &path).await;
        (seen, lab.now().since(begun))
    };
    let (first, (second, waited)) = tokio::join!(async { lab.get(&path).await }, second);
    assert_eq!((first.body, second.body.clone()), (content(), content()));
    assert_eq!((second.done(), gets(&lab)), ("filled", 2));
    // The lease says after two seconds that all is well, and after six that at this rate it takes longer than `fill.wait`.
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(7), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_its_holder_works_and_no_longer() {
    let store = shared();
    let (lab, _) = two(&store);
    let path = blob(&lab);
    let key = Key::lease(&Digest::sha256(&content()), 1);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(24)));
    let look = async {
        lab.wait(20).await;
        let record = store.read(&key).await.unwrap().expect("a lease");
        let (until, _) = std::str::from_utf8(&record).unwrap().split_once(' ').expect("how the fill gets on");
        until.parse::<u64>().unwrap()
    };
    let (_, until) = tokio::join!(async { lab.get(&path).await }, look);
    assert!(until > EPOCH + 20, "{}", until - EPOCH);
    lab.wait(30).await;
    assert_eq!(store.read(&key).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_one_that_died_runs_out() {
    for (until, at_least) in [(EPOCH + 5, 5), (EPOCH - 1, 0), (EPOCH + 1_000_000, 0)] {
        let store = shared();
        let (lab, _) = two(&store);
        let path = blob(&lab);
        let key = Key::lease(&Digest::sha256(&content()), 1);
        store.write(&key, until.to_string().into(), Precondition::Absent).await.unwrap();
        let begun = lab.now();
        assert_eq!(lab.get(&path).await.body, content());
        let waited = lab.now().since(begun).as_secs();
        assert!((at_least..at_least + 2).contains(&waited), "{until}: {waited} s");
    }
}
