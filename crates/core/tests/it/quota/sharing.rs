//! Several instances on one store.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use registry_proxy_core::Proxy;
use registry_proxy_core::admin::{CacheAdmin, Command, Event, Purge};
use registry_proxy_core::cache::{Key, MemoryStore, USAGE};
use registry_proxy_core::platform::{Precondition, Store, StoreError, Tasks};
use registry_proxy_core::testing::{Hook, HookedStore, Step};

use super::{TO_NEXT_DAY, TO_NEXT_HOUR};
use crate::clock::{EPOCH, TokioClock};
use crate::fixture::{Call, Fixture, OCI_MANIFEST, Setup, manifest_of};

const DAY: u64 = EPOCH / 86_400;

/// What the store is asked about usage.
#[derive(Default)]
struct Asked {
    writes: AtomicU32,
    lists: AtomicU32,
    reads: AtomicU32,
}

/// Counts what a store that others share is asked, and makes it slow or broken.
struct Counting {
    asked: Asked,
    /// How long it takes for anything about usage; `None`: it fails.
    pause: Mutex<Option<Duration>>,
    /// The note that cannot be read, by how its key ends.
    unread: Mutex<Option<&'static str>>,
}

impl Counting {
    fn store() -> Arc<HookedStore<Self>> {
        let inner = MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared();
        let pause = Mutex::new(Some(Duration::ZERO));
        let counting = Self { asked: Asked::default(), pause, unread: Mutex::default() };
        Arc::new(HookedStore::new(Arc::new(inner), counting))
    }

    /// Writes, lists and reads since the last time.
    fn asked(&self) -> (u32, u32, u32) {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        (take(&self.asked.writes), take(&self.asked.lists), take(&self.asked.reads))
    }
}

impl Hook for Counting {
    fn at(&self, step: Step, key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let count = match step {
            Step::Write => Some(&self.asked.writes),
            Step::List => Some(&self.asked.lists),
            Step::Read => Some(&self.asked.reads),
            _ => None,
        };
        let count = count.filter(|_| key.starts_with(USAGE));
        let is_unread = step == Step::Read
            && self.unread.lock().expect("nobody panicked").is_some_and(|unread| key.ends_with(unread));
        Box::pin(async move {
            if let Some(count) = count {
                count.fetch_add(1, Ordering::Relaxed);
                if is_unread {
                    return Err(StoreError::failed("broken"));
                }
                let pause = *self.pause.lock().expect("nobody panicked");
                tokio::time::sleep(pause.ok_or_else(|| StoreError::failed("broken"))?).await;
            }
            Ok(())
        })
    }
}

/// A proxy on a store that counts, with `a/b:v1` at its registry, and another beside it.
fn two(text: &str) -> (Fixture, Arc<Proxy>, Arc<HookedStore<Counting>>) {
    let store = Counting::store();
    let lab = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(100));
    let other = lab.beside(text, lab.net.clone(), 1000);
    (lab, other, store)
}

async fn ask(proxy: &Arc<Proxy>) -> u16 {
    Call::new(proxy, Method::GET, "/v2/a/b/manifests/v1").await.status.as_u16()
}

async fn notes(store: &dyn Store) -> Vec<String> {
    let mut notes = Vec::new();
    let mut list = store.list(USAGE);
    while let Some(entry) = list.next().await {
        notes.push(entry.expect("an entry").key.to_string());
    }
    notes
}

#[tokio::test(start_paused = true)]
async fn instances_on_one_store_add_up_and_seldom_ask_it() {
    let (lab, other, store) = two("[quota.total]\nrequests_per_hour=100");
    assert_eq!((ask(&lab.proxy).await, ask(&other).await), (200, 200));
    lab.wait(1).await;
    assert_eq!(store.hook.asked(), (0, 2, 0), "each has looked once, and has nothing to tell");
    for _ in 0..49 {
        assert_eq!((ask(&lab.proxy).await, ask(&other).await), (200, 200));
    }
    lab.wait(1).await;
    assert_eq!(store.hook.asked(), (2, 0, 0), "each has written, once for all of them");
    assert_eq!(ask(&lab.proxy).await, 200, "nobody has looked yet");
    lab.wait(61).await;
    // Whoever comes then makes both write and look; that goes on beside the request.
    for proxy in [&lab.proxy, &other] {
        ask(proxy).await;
    }
    lab.wait(1).await;
    assert_eq!(store.hook.asked(), (2, 2, 2));
    assert_eq!((ask(&lab.proxy).await, ask(&other).await), (429, 429));
    for _ in 0..100 {
        lab.wait(1).await;
        assert_eq!((ask(&lab.proxy).await, ask(&other).await), (429, 429));
    }
    let (writes, lists, reads) = store.hook.asked();
    assert!(writes <= 2 && (2..=4).contains(&lists) && reads <= 2, "{writes} {lists} {reads}");
    lab.wait(TO_NEXT_HOUR).await;
    assert_eq!((ask(&lab.proxy).await, ask(&other).await), (200, 200), "the hour is over for all");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_the_store_grows_with_time_and_not_with_requests() {
    let (lab, _, store) = two("[quota.total]\nbytes_per_day='1TiB'");
    for _ in 0..600 {
        ask(&lab.proxy).await;
        lab.wait(1).await;
    }
    let (writes, lists, reads) = store.hook.asked();
    assert!((19..=21).contains(&writes) && (9..=11).contains(&lists), "in ten minutes: {writes} {lists}");
    assert_eq!(reads, 0, "nobody else is there");
}

#[tokio::test(start_paused = true)]
async fn who_begins_knows_what_the_others_have_used_before_the_first_answer() {
    let (lab, other, store) = two("[quota.total]\nrequests_per_day=3");
    for _ in 0..3 {
        assert_eq!(ask(&lab.proxy).await, 200);
        lab.wait(31).await;
    }
    assert_eq!(ask(&lab.proxy).await, 429);
    lab.wait(1).await;
    assert_eq!(ask(&other).await, 429);
    assert_eq!(notes(&*store).await.len(), 1, "who has served nothing tells nothing");
    // The next day knows nothing of it.
    lab.wait(TO_NEXT_DAY).await;
    assert_eq!((ask(&other).await, ask(&lab.proxy).await), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn who_ends_leaves_what_it_has_counted_behind() {
    let (lab, other, _) = two("[quota.total]\nrequests_per_day=3");
    for _ in 0..3 {
        ask(&lab.proxy).await;
    }
    lab.proxy.close(Duration::from_secs(5)).await;
    assert_eq!(ask(&other).await, 429);
}

#[tokio::test(start_paused = true)]
async fn who_flushes_after_each_request_asks_the_store_no_more_often() {
    let (lab, _, store) = two("[quota.total]\nrequests_per_day=1000");
    for _ in 0..120 {
        assert_eq!(ask(&lab.proxy).await, 200);
        lab.proxy.flush(Duration::from_secs(5)).await;
        lab.wait(1).await;
    }
    let (writes, lists, reads) = store.hook.asked();
    assert!((4..=5).contains(&writes) && (2..=3).contains(&lists) && reads == 0, "{writes} {lists} {reads}");
}

/// As where a function is frozen once it has answered.
struct Frozen;

impl Tasks for Frozen {
    fn spawn(&self, _: BoxFuture<'static, ()>) {}
}

#[tokio::test(start_paused = true)]
async fn where_work_ends_with_the_answer_it_is_done_before() {
    let (mut lab, other, _) = two("[quota.total]\nrequests_per_day=3");
    lab.platform.tasks = Arc::new(Frozen);
    lab.platform.capabilities.outlives_response = false;
    lab.restart("[quota.total]\nrequests_per_day=3");
    for _ in 0..3 {
        assert_eq!(ask(&lab.proxy).await, 200);
        lab.wait(31).await;
    }
    assert_eq!(ask(&lab.proxy).await, 429);
    assert_eq!(ask(&other).await, 429);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_or_broken_holds_nobody_up_for_more_than_a_second() {
    let (lab, other, store) = two("[quota.total]\nrequests_per_day=5");
    *store.hook.pause.lock().unwrap() = Some(Duration::from_hours(1));
    let before = lab.now();
    assert_eq!(ask(&lab.proxy).await, 200);
    assert!(lab.now().since(before) < Duration::from_secs(2), "{:?}", lab.now().since(before));
    let before = lab.now();
    assert_eq!(ask(&lab.proxy).await, 200);
    assert!(lab.now().since(before) < Duration::from_millis(100), "the next one does not wait");
    *store.hook.pause.lock().unwrap() = None;
    for _ in 0..3 {
        lab.wait(40).await;
        assert_eq!(ask(&lab.proxy).await, 200);
    }
    assert_eq!(ask(&lab.proxy).await, 429, "it goes by what it knows itself");
    assert_eq!(ask(&other).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_from_one_instance_to_the_other_has_about_what_one_may_have() {
    let (lab, other, store) = two("[quota.client]\nrequests_per_hour=100");
    let mut served = 0;
    for _ in 0..120 {
        for proxy in [&lab.proxy, &other] {
            served += u32::from(ask(proxy).await == 200);
            lab.wait(5).await;
        }
    }
    // The last that was not told: at most 90 seconds of one every five.
    assert!((100..=118).contains(&served), "{served}");
    let from_elsewhere = Call::new(&other, Method::GET, "/v2/a/b/manifests/v1").from("192.0.2.9").await;
    assert_eq!(from_elsewhere.status, 200, "others have their own");
    let (writes, lists, reads) = store.hook.asked();
    assert!(writes <= 80 && lists <= 42 && reads <= 42, "in twenty minutes: {writes} {lists} {reads}");
    for note in notes(&*store).await {
        let note = store.inner.read(&Key::parse(&note).unwrap()).await.unwrap().unwrap();
        let text = String::from_utf8(note.to_vec()).unwrap();
        assert!(text.lines().count() == 2 && !text.contains("203.0.113"), "{text}");
    }
    lab.wait(TO_NEXT_HOUR).await;
    assert_eq!((ask(&lab.proxy).await, ask(&other).await), (200, 200), "the hour is over for all");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_begins_knows_what_each_client_has_used() {
    let text = "[quota.client]\nrequests_per_day=3";
    let (mut lab, other, _) = two(text);
    for _ in 0..3 {
        assert_eq!(ask(&other).await, 200);
    }
    other.close(Duration::from_secs(5)).await;
    lab.restart(text);
    assert_eq!(ask(&lab.proxy).await, 429);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_store_knows_of_many_instances_is_heard_bit_by_bit() {
    let (lab, _, store) = two("[quota.total]\nrequests_per_day=10000");
    notes_of(&store, 200).await;
    // Five rounds of reads go into a second, and the list into one of them.
    *store.hook.pause.lock().unwrap() = Some(Duration::from_millis(190));
    let before = lab.now();
    assert_eq!(ask(&lab.proxy).await, 200);
    assert!(lab.now().since(before) < Duration::from_secs(2), "{:?}", lab.now().since(before));
    let mut seconds = 0;
    while ask(&lab.proxy).await == 200 {
        lab.wait(1).await;
        seconds += 1;
        assert!(seconds < 30, "200 notes are not heard after {seconds} seconds");
    }
    let (_, lists, reads) = store.hook.asked();
    assert!(lists == 1 && (200..=240).contains(&reads), "{lists} {reads}");
}

/// Notes of so many instances, each of which has served fifty requests.
async fn notes_of(store: &HookedStore<Counting>, count: u32) {
    for number in 0..count {
        let key = Key::usage(DAY, &format!("{number:016x}"));
        store.inner.write(&key, "0 0 0 50 0".into(), Precondition::Always).await.expect("it is written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_note_that_could_not_be_read_is_read_a_little_later() {
    for count in [1, 40] {
        let (lab, _, store) = two(&format!("[quota.total]\nrequests_per_day={}", count * 50));
        notes_of(&store, count).await;
        *store.hook.unread.lock().unwrap() = Some("/0000000000000000");
        assert_eq!(ask(&lab.proxy).await, 200);
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.done(), "hit", "the store is asked for everything else");
        *store.hook.unread.lock().unwrap() = None;
        lab.wait(5).await;
        ask(&lab.proxy).await;
        lab.wait(1).await;
        assert_eq!(ask(&lab.proxy).await, 429, "all {count} are heard");
        let (_, lists, reads) = store.hook.asked();
        assert_eq!((lists, reads), (1, count + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_note_that_can_never_be_read_keeps_nobody_from_the_others() {
    let (lab, _, store) = two("[quota.total]\nrequests_per_day=2500");
    notes_of(&store, 40).await;
    *store.hook.unread.lock().unwrap() = Some("/0000000000000000");
    for _ in 0..60 {
        assert_eq!(ask(&lab.proxy).await, 200);
        lab.wait(1).await;
    }
    assert!(store.hook.asked().2 < 50);
    // What the others have served since is heard as well.
    for number in 1..40 {
        let key = Key::usage(DAY, &format!("{number:016x}"));
        store.inner.write(&key, "0 0 0 100 0".into(), Precondition::Always).await.unwrap();
    }
    let mut seconds = 0;
    while ask(&lab.proxy).await == 200 {
        lab.wait(1).await;
        seconds += 1;
        assert!(seconds < 90, "39 notes are not heard after {seconds} seconds");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shared_that_nobody_limits() {
    for text in ["", "[quota]\nmode='off'\n[quota.client]\nrequests_per_day=9\n[quota.total]\nrequests_per_day=9"]
    {
        let (lab, _, store) = two(text);
        for _ in 0..5 {
            assert_eq!(ask(&lab.proxy).await, 200);
            lab.wait(40).await;
        }
        assert_eq!(store.hook.asked(), (0, 0, 0), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_janitor_removes_what_is_older_than_two_days_and_administration_leaves_the_rest_alone() {
    let (lab, _, store) = two("[cache]\nmax_unused='1h'\n[quota.total]\nrequests_per_day=1");
    for day in [DAY - 3, DAY - 2, DAY] {
        store.write(&Key::usage(day, "0badcafe"), "1 2 3 4 5".into(), Precondition::Always).await.unwrap();
    }
    let janitor = lab.proxy.janitor().expect("a janitor");
    assert!(janitor.once(true).await);
    let left = [DAY - 2, DAY].map(|day| Key::usage(day, "0badcafe").to_string());
    assert_eq!(notes(&*store).await, left);
    let admin = CacheAdmin::of_store(store.clone(), Arc::new(TokioClock::start()));
    for command in [
        Command::Stat,
        Command::List(None),
        Command::Verify,
        Command::Purge { what: Purge::All, dry_run: false },
        Command::Purge { what: Purge::Pattern("**".to_owned()), dry_run: false },
    ] {
        let told: Mutex<Vec<Event>> = Mutex::default();
        admin.run(&command, &|event| told.lock().unwrap().push(event)).await.unwrap();
        let told = told.into_inner().unwrap();
        assert!(!told.iter().any(|event| matches!(event, Event::Wrong(_))), "{told:?}");
        if let Some(Event::Stat(stat)) = told.first() {
            assert_eq!((stat.blobs, stat.manifests, stat.tags, stat.links, stat.bytes), (0, 0, 0, 0, 0));
        }
    }
    assert_eq!(notes(&*store).await, left, "a purge does not forgive");
    assert_eq!(ask(&lab.proxy).await, 429, "what another has counted today is heard");
}
