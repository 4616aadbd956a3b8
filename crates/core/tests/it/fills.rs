//! Blobs that arrive: fetched once, shared while they do, verified before they end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::testing::{Answer, Fault, HookedStore, Pause, Pauses};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, Setup, noise};

const SIZE: usize = 3_000_000;

fn content() -> bytes::Bytes {
    static CONTENT: std::sync::OnceLock<bytes::Bytes> = std::sync::OnceLock::new();
    CONTENT.get_or_init(|| noise(SIZE)).clone()
}

/// A blob in `a/b`: its path and digest.
fn blob(lab: &Fixture) -> String {
    let digest = lab.registry.put_blob("a/b", content());
    format!("/v2/a/b/blobs/{digest}")
}

fn gets(lab: &Fixture) -> usize {
    lab.net.sent("GET", "/blobs/").len()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clients_make_one_download() {
    let lab = Fixture::caching("");
    let few = noise(300_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", few.clone()));
    lab.net.fault("GET", "/blobs/", 1, Fault::Late(Duration::from_secs(1)));
    let all = join_all((0..100).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200 && seen.body == few));
    assert_eq!(gets(&lab), 1);
    assert_eq!(all.iter().filter(|seen| seen.done() == "filled").count(), 1);
    assert_eq!(all.iter().filter(|seen| seen.done() == "joined").count(), 99);
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_late_reads_from_the_beginning() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(5)));
    let late = async {
        lab.wait(2).await;
        lab.get(&path).await
    };
    let (first, late) = tokio::join!(async { lab.get(&path).await }, late);
    assert_eq!((first.body, late.body.clone()), (content(), content()));
    assert_eq!((late.done(), gets(&lab)), ("joined", 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_changes_nothing() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(2)));
    tokio::select! {
        _ = async { lab.get(&path).await } => panic!("it cannot be here yet"),
        () = lab.wait(1) => {}
    }
    lab.wait(5).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
    assert_eq!(gets(&lab), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_before_the_answer_is_replaced() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::Late(Duration::from_secs(5)));
    let leaves = async {
        tokio::select! {
            _ = async { lab.get(&path).await } => panic!("it cannot be here yet"),
            () = lab.wait(2) => {}
        }
    };
    let stays = async {
        lab.wait(1).await;
        lab.get(&path).await
    };
    let ((), stays) = tokio::join!(leaves, stays);
    assert_eq!((stays.status.as_u16(), stays.body.clone(), stays.done()), (200, content(), "filled"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_fails_promotes_one_and_no_more() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    // Late, so that all are waiting when it fails.
    lab.net.fault("GET", "/blobs/", 99, Fault::SayLate(Duration::from_secs(1), Answer::new(500)));
    let all = join_all((0..20).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 504), "{all:?}");
    assert_eq!(gets(&lab), 2);
    lab.net.heal();
    assert_eq!(lab.get(&path).await.body, content(), "and nobody is stuck");
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_are_never_had_whole_and_never_kept() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let mut wrong = content().to_vec();
    wrong[SIZE / 2] ^= 1;
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).body(wrong)));
    let all = join_all((0..3).map(|_| async { lab.get(&path).await })).await;
    // Either it was known before the first byte, or the end is missing.
    for seen in &all {
        let is_short = seen.end.is_err() && seen.body.len() < SIZE;
        assert!(seen.status == 504 || is_short, "{} {:?} after {}", seen.status, seen.end, seen.body.len());
    }
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.clone(), seen.done()), (content(), "filled"), "the next one asks again");
}

#[tokio::test(start_paused = true)]
async fn a_blob_shorter_than_promised_is_not_kept() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 99, Fault::EndAfter(1_000_000));
    // Each new try brings a third, so it gets there; what comes is whole.
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.body), (200, content()));
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_fill_has_brought_is_not_fetched_again() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(2_000_000));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(500)));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err(), "{:?}", seen.end);
    lab.net.heal();
    lab.net.forget();
    lab.wait(60).await;
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.clone(), seen.done()), (content(), "filled"));
    let ranges: Vec<String> =
        lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect();
    assert_eq!(ranges, ["bytes=2000000-2999999"]);
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn ranges_of_a_cold_blob_cost_what_they_are_and_the_rest_later() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let range = |text: &str| lab.get(&path).header("range", text);
    let seen = range("bytes=1000000-1099999").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(1_000_000..1_100_000)));
    let seen = range("bytes=-1000").await;
    assert_eq!(seen.body, content().slice(SIZE - 1000..));
    lab.wait(1).await;
    lab.net.forget();
    // Inside what is here: nobody is asked.
    let seen = range("bytes=1000010-1000019").await;
    assert_eq!(
        (seen.status.as_u16(), seen.body.clone(), gets(&lab)),
        (206, content().slice(1_000_010..1_000_020), 0)
    );
    // And the whole fetches only what is not.
    let seen = lab.get(&path).await;
    assert_eq!(seen.body, content());
    let ranges: Vec<String> =
        lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect();
    assert_eq!(ranges, ["bytes=0-999999", "bytes=1100000-2998999"]);
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn ranges_of_a_blob_that_arrives_are_served_from_it_where_they_are_near() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(5)));
    let ranges = async {
        lab.wait(1).await;
        let here = lab.get(&path).header("range", "bytes=100-199").await;
        let begun = lab.now();
        let near = lab.get(&path).header("range", "bytes=1500000-1500099").await;
        (here, near, lab.now().since(begun))
    };
    let (_, (here, near, waited)) = tokio::join!(async { lab.get(&path).await }, ranges);
    assert_eq!((here.done(), here.body.clone()), ("joined", content().slice(100..200)));
    assert_eq!((near.done(), near.body.clone()), ("joined", content().slice(1_500_000..1_500_100)));
    assert!(waited >= Duration::from_secs(3), "it waited for the fill");
    assert_eq!(gets(&lab), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_way_is_widened_by_ranges() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=4");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    let begun = lab.now();
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.body), (200, content()));
    assert!(gets(&lab) > 4, "{}", gets(&lab));
    // The first stream stood still for twenty seconds, and still has to bring its own part.
    assert!(lab.now().since(begun) < Duration::from_secs(26), "{:?}", lab.now().since(begun));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_while_others_are_being_written_leaves_no_hole() {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let pause: Pause = Arc::new(|| Box::pin(tokio::time::sleep(Duration::from_millis(300))));
    let store = Arc::new(HookedStore::new(Arc::new(memory), Pauses(pause)));
    let text = "[cache.fill]\npart_size='64KiB'\nparts=4";
    let lab = Fixture::set_up(&Setup { text, store: Some(store), ..Setup::default() });
    let few = noise(300_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", few.clone()));
    // The first stream is slow, and one of the parts beside it is refused for good.
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 1, Fault::SayLate(Duration::from_millis(1050), Answer::new(404)));
    let seen = lab.get(&path).await;
    assert!(
        seen.status == 200 && seen.body == few,
        "the first stream brings it all the same: {}",
        seen.body.len()
    );
    assert!(gets(&lab) > 1, "a part was tried: {}", gets(&lab));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

/// Whatever it is asked for, it sends the whole.
fn ignores_ranges(answer: &mut Answer) {
    *answer = Answer::new(200).header("content-length", &SIZE.to_string()).body(content());
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_ranges_is_read_once() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(10)));
    lab.net.fault("GET", "/blobs/", 99, Fault::change(ignores_ranges));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content());
    assert!(gets(&lab) <= 8, "tried, and no more: {}", gets(&lab));
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn what_a_range_has_left_is_fetched_also_where_there_are_no_more_ranges() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    let part = lab.get(&path).header("range", "bytes=1000000-1099999").await;
    assert_eq!(part.body, content().slice(1_000_000..1_100_000));
    lab.wait(1).await;
    lab.net.fault("GET", "/blobs/", 99, Fault::change(ignores_ranges));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
    assert!(gets(&lab) <= 4, "{}", gets(&lab));
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_refused_leave_the_first_stream_alone() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(429)));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn without_leave_for_a_part_the_stream_is_not_cut() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=8\nparts_per_upstream=1");
    let path = blob(&lab);
    let other = lab.registry.put_blob("a/b", noise(2_000_001));
    // One part is all that this upstream may be asked for at once, and this one has it.
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(20)));
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1000, Duration::from_secs(20)));
    let first = async { lab.get(&format!("/v2/a/b/blobs/{other}")).await };
    let second = async {
        lab.wait(1).await;
        lab.net.forget();
        lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(100_000, Duration::from_secs(3)));
        let seen = lab.get(&path).await;
        let digest = path.rsplit('/').next().unwrap();
        (seen, lab.net.sent("GET", digest).len())
    };
    let (first, (second, asked)) = tokio::join!(first, second);
    assert_eq!(first.body.len(), 2_000_001);
    assert_eq!((second.body.len(), asked), (SIZE, 1));
}

#[tokio::test(start_paused = true)]
async fn an_empty_blob_passes_and_a_range_of_it_is_416() {
    let lab = Fixture::caching("");
    let digest = lab.registry.put_blob("a/b", noise(0));
    let path = format!("/v2/a/b/blobs/{digest}");
    for _ in 0..2 {
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (200, 0));
        assert_eq!(lab.get(&path).header("range", "bytes=0-0").await.status, 416);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_miss_ask_once() {
    let lab = Fixture::caching("");
    let path = format!("/v2/a/b/blobs/sha256:{}", "5".repeat(64));
    lab.net.fault("GET", "/blobs/", 99, Fault::SayLate(Duration::from_secs(1), Answer::new(404)));
    let begun = lab.now();
    let all = join_all((0..100).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 404), "{:?}", all.last());
    assert_eq!((gets(&lab), lab.now().since(begun).as_secs()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_kept_nobody_waits_for_another() {
    let store = MemoryStore::new(1_000_000, Arc::new(TokioClock::start()));
    let lab = Fixture::set_up(&Setup { store: Some(Arc::new(store)), ..Setup::default() });
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 99, Fault::Late(Duration::from_secs(2)));
    let begun = lab.now();
    let all = join_all((0..20).map(|_| async { lab.get(&path).await })).await;
    assert!(all.iter().all(|seen| seen.status == 200 && seen.body == content()));
    assert!(lab.now().since(begun) < Duration::from_secs(6), "{:?}", lab.now().since(begun));
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_is_let_go_after_its_time() {
    let store = Arc::new(MemoryStore::new(8_000_000, Arc::new(TokioClock::start())));
    let lab = Fixture::set_up(&Setup { store: Some(store.clone()), ..Setup::default() });
    let free = || async { registry_proxy_core::platform::Store::free(&*store).await.unwrap() };
    let before = free().await.unwrap();
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(1_000_000));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(500)));
    assert!(lab.get(&path).await.end.is_err());
    assert!(free().await.unwrap() + 3_000_000 <= before, "it is kept for the next who comes");
    lab.wait(11 * 60).await;
    assert!(lab.proxy.janitor().expect("a cache").once(false).await);
    assert!(free().await.unwrap() + 100_000 > before, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_blob_that_arrives_slowly_is_fetched_by_itself() {
    let lab = Fixture::caching("[cache.fill]\nparts=1");
    let large = noise(12_000_000);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", large.clone()));
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(1_000_000, Duration::from_secs(20)));
    let ranges = async {
        lab.wait(1).await;
        let begun = lab.now();
        let end = lab.get(&path).header("range", "bytes=-1000").await;
        // Of this one the beginning is here, and the rest is far behind what has arrived.
        lab.get(&path).header("range", "bytes=10000000-10000099").await;
        let part = lab.get(&path).header("range", "bytes=10000000-10999999").await;
        (end, part, lab.now().since(begun))
    };
    let (whole, (end, part, waited)) = tokio::join!(async { lab.get(&path).await }, ranges);
    assert!(whole.body == large);
    assert_eq!((end.status.as_u16(), end.body.clone()), (206, large.slice(large.len() - 1000..)));
    assert!(part.status == 206 && part.body == large.slice(10_000_000..11_000_000));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_is_passed_by() {
    let store = registry_proxy_core::cache::MemoryStore::new(
        1_000_000,
        std::sync::Arc::new(crate::clock::TokioClock::start()),
    );
    let lab = Fixture::set_up(&crate::fixture::Setup {
        store: Some(std::sync::Arc::new(store)),
        ..crate::fixture::Setup::default()
    });
    let path = blob(&lab);
    for _ in 0..2 {
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.body.clone(), seen.done()), (200, content(), "relayed"));
    }
}

mod instances {
    //! Several processes on one store.

    use std::sync::Arc;

    use registry_proxy_core::Proxy;
    use registry_proxy_core::cache::{Key, MemoryStore};
    use registry_proxy_core::digest::Digest;
    use registry_proxy_core::platform::{Store, When};

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
        assert!(waited >= Duration::from_secs(15) && waited < Duration::from_secs(18), "{waited:?}");
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
            std::str::from_utf8(&record).unwrap().parse::<u64>().unwrap()
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
            store.write(&key, until.to_string().into(), When::Absent).await.unwrap();
            let begun = lab.now();
            assert_eq!(lab.get(&path).await.body, content());
            let waited = lab.now().since(begun).as_secs();
            assert!((at_least..at_least + 2).contains(&waited), "{until}: {waited} s");
        }
    }
}

mod upstreams {
    //! One blob at several upstreams, of which one is wrong or away.

    use registry_proxy_core::testing::Registry;

    use super::*;
    use crate::fixture::upstream;

    const OTHER: &str = "https://other.example.net";

    fn two() -> (Fixture, String, String) {
        let other = format!("[[upstream]]\nname='other.example'\nurls=['{OTHER}']");
        let lab = Fixture::caching(&format!("{}\n{other}", upstream("")));
        let digest = lab.registry.put_blob("a/b", content());
        let registry = Registry::default();
        registry.put_blob("a/b", content());
        lab.net.serve(OTHER, registry);
        (lab, format!("/v2/a/b/blobs/{digest}"), format!("/v2/other.example/a/b/blobs/{digest}"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_of_another_upstream_is_not_believed() {
        let (lab, path, other) = two();
        let wrong = bytes::Bytes::from(vec![7; 100]);
        let answer = Answer::new(206).header("content-range", "bytes 0-99/100").body(wrong.clone());
        lab.net.fault("GET", OTHER, 1, Fault::Say(answer));
        let seen = lab.get(&other).header("range", "bytes=0-99").await;
        assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, wrong));
        lab.wait(1).await;
        let seen = lab.get(&path).header("range", "bytes=0-99").await;
        assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(..100)));
        let seen = lab.get(&path).header("range", "bytes=2000-2099").await;
        assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(2000..2100)), "no 416 either");
        let seen = lab.get(&path).await;
        assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_one_upstream_is_not_anothers() {
        let (lab, path, other) = two();
        lab.net.fault("GET", OTHER, 99, Fault::SayLate(Duration::from_secs(1), Answer::new(500)));
        let fails = join_all((0..4).map(|_| async { lab.get(&other).await }));
        let waits = async {
            lab.wait(0).await;
            lab.get(&path).await
        };
        let (failed, seen) = tokio::join!(fails, waits);
        assert!(failed.iter().all(|seen| seen.status == 504 || seen.status == 200), "{failed:?}");
        assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
    }
}
