//! Platforms that cap answers: what goes through, what goes by a link, and how a blob gets into the store that no
//! answer carries.

pub(crate) mod invocations;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::{Profile, Store};
use registry_proxy_core::testing::{Answer, Fault};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, STORAGE, Seen, Setup, noise};

const LARGE: usize = 7_000_000;
const STORE: &str = "https://store.example/";

fn content() -> Bytes {
    static CONTENT: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    CONTENT.get_or_init(|| noise(LARGE)).clone()
}

fn bucket() -> MemoryStore {
    let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    store.shared().in_parts_of(1 << 20).linking(STORE.parse().expect("an address"))
}

struct Scene {
    lab: Fixture,
    store: Arc<MemoryStore>,
    path: String,
    digest: Digest,
}

fn scene_of(profile: Profile, text: &str) -> Scene {
    scene_on(profile, text, bucket())
}

fn scene_on(profile: Profile, text: &str, store: MemoryStore) -> Scene {
    let store = Arc::new(store);
    let lab = Fixture::set_up(&Setup { profile, text, store: Some(store.clone()), ..Setup::default() });
    let digest = lab.registry.put_blob("a/b", content());
    Scene {
        path: format!("/v2/a/b/blobs/{digest}"),
        digest: Digest::parse(&digest).expect("a digest"),
        lab,
        store,
    }
}

fn scene(profile: Profile) -> Scene {
    scene_of(profile, "")
}

impl Scene {
    async fn stored(&self) -> Option<Bytes> {
        let found = self.store.open(&Key::blob(&self.digest), None).await.expect("a store")?;
        Some(found.body.collect(u64::MAX).await.expect("a blob"))
    }

    fn bytes_asked(&self) -> Vec<String> {
        self.lab.net.sent("GET", "/blobs/").iter().map(|sent| sent.header("range").to_owned()).collect()
    }

    /// Whatever was begun is not there any more.
    async fn has_no_litter(&self) -> bool {
        let records = [Key::ingest(&self.digest), Key::ingest_tail(&self.digest)];
        let mut is_clean = true;
        for key in records {
            is_clean &= self.store.read(&key).await.expect("a store").is_none();
        }
        is_clean
    }
}

fn leads_into_the_store(seen: &Seen) -> bool {
    let has_nothing = seen.body.is_empty() || seen.body == NOTHING;
    seen.status == 307 && seen.header("location").starts_with(STORE) && has_nothing
}

/// What stands for a body on AWS Lambda.
const NOTHING: &str = "see the headers\n";

#[tokio::test(start_paused = true)]
async fn on_lambda_a_redirect_has_a_few_bytes_as_streams_without_any_have_hung() {
    for (profile, expected) in [(Profile::AwsLambda, NOTHING), (Profile::TencentScf, "")] {
        let scene = scene(profile);
        let seen = scene.lab.get(&scene.path).await;
        assert_eq!((seen.status.as_u16(), &seen.body[..]), (307, expected.as_bytes()), "{profile}");
        assert_eq!(seen.header("content-length"), expected.len().to_string(), "{profile}");
        // What may have no body has none.
        let known = format!("\"{}\"", scene.digest);
        for seen in
            [scene.lab.head(&scene.path).await, scene.lab.get(&scene.path).header("if-none-match", &known).await]
        {
            assert!(seen.body.is_empty(), "{profile}: {seen:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn on_lambda_the_empty_blob_stays_empty() {
    let lab = Fixture::set_up(&Setup { profile: Profile::AwsLambda, ..Setup::default() });
    let empty = lab.registry.put_blob("a/b", "");
    let seen = lab.get(&format!("/v2/a/b/blobs/{empty}")).await;
    assert_eq!((seen.status.as_u16(), seen.body.len()), (200, 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_blob_goes_into_the_store_and_the_client_after_it() {
    for profile in [Profile::TencentScf, Profile::AwsLambda] {
        let scene = scene(profile);
        let seen = scene.lab.get(&scene.path).await;
        assert!(leads_into_the_store(&seen), "{profile}: {seen:?}");
        assert!(seen.header("x-registry-proxy").contains("brought into the store"), "{seen:?}");
        assert_eq!(scene.stored().await.unwrap(), content(), "{profile}");
        assert!(scene.has_no_litter().await);
        let seen = scene.lab.get(&scene.path).await;
        assert!(leads_into_the_store(&seen) && seen.header("x-registry-proxy").contains("in the store"));
        assert_eq!(scene.bytes_asked().len(), 1, "{profile}: it was fetched once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_goes_through() {
    for profile in [Profile::TencentScf, Profile::AwsLambda] {
        let scene = scene(profile);
        let few = noise(5_000_000);
        let path = format!("/v2/a/b/blobs/{}", scene.lab.registry.put_blob("a/b", few.clone()));
        for done in ["filled", "hit"] {
            let seen = scene.lab.get(&path).await;
            assert_eq!((seen.status.as_u16(), seen.done()), (200, done), "{profile}");
            assert!(seen.body == few, "{profile}");
        }
    }
}

/// A presigned address is for one method (P-75).
#[tokio::test(start_paused = true)]
async fn a_head_is_answered_and_never_redirected() {
    let scene = scene(Profile::TencentScf);
    for _ in 0..2 {
        let seen = scene.lab.head(&scene.path).await;
        assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, ""));
        assert_eq!(seen.header("content-length"), LARGE.to_string());
        scene.lab.get(&scene.path).await;
    }
    let server = scene_of(Profile::Server, "");
    assert_eq!(server.lab.head(&server.path).await.header("docker-content-digest"), server.digest.as_str());
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_a_client_waits_is_gone_on_with() {
    let mut scene = scene_of(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"");
    let minute = Duration::from_mins(1);
    scene.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(3_100_000, minute));
    let begun = scene.lab.now();
    let seen = scene.lab.get(&scene.path).await;
    assert!(seen.is(429, "TOOMANYREQUESTS") && seen.header("retry-after") == "1", "{seen:?}");
    let held = scene.lab.now().since(begun).as_secs();
    assert!((19..=25).contains(&held), "held for {held} s");
    assert!(scene.stored().await.is_none());
    // Another process goes on, and not from the beginning.
    scene.lab.restart("[delivery]\nmiss = \"refuse\"");
    scene.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(2_000_000, minute));
    let seen = scene.lab.get(&scene.path).header("user-agent", "docker/29.0").await;
    assert!(seen.is(504, "UNAVAILABLE"), "Docker takes a 429 for final: {seen:?}");
    let seen = scene.lab.get(&scene.path).await;
    assert!(leads_into_the_store(&seen), "{seen:?}");
    assert_eq!(scene.stored().await.unwrap(), content());
    assert_eq!(scene.bytes_asked(), ["bytes=0-6999999", "bytes=3100000-6999999", "bytes=5100000-6999999"]);
    assert!(scene.has_no_litter().await);
}

/// The length and the token are asked for first, and that is waiting, too.
#[tokio::test(start_paused = true)]
async fn a_slow_registry_and_a_held_client_stay_within_the_deadline_together() {
    let scene = scene_of(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"");
    let minute = Duration::from_mins(1);
    scene.lab.net.fault("HEAD", "/blobs/", 1, Fault::Late(Duration::from_secs(8)));
    scene.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(3_100_000, minute));
    let begun = scene.lab.now();
    let seen = scene.lab.get(&scene.path).await;
    assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    let held = scene.lab.now().since(begun);
    assert!(held < Duration::from_secs(25), "held for {held:?}");
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
    assert_eq!(scene.bytes_asked(), ["bytes=0-6999999", "bytes=3100000-6999999"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_its_time_costs_no_client_its_answer_and_no_part_twice() {
    let taking = bucket().taking(Duration::from_secs(9));
    let scene = scene_on(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"", taking);
    for slice in 0..10 {
        let begun = scene.lab.now();
        let seen = scene.lab.get(&scene.path).await;
        let held = scene.lab.now().since(begun);
        assert!(held < Duration::from_secs(25), "slice {slice} was held for {held:?}");
        if seen.status == 307 {
            assert!(leads_into_the_store(&seen) && slice > 1, "{slice}: {seen:?}");
            assert_eq!(scene.stored().await.unwrap(), content());
            let last = scene.bytes_asked().pop().unwrap();
            assert_ne!(last, "bytes=0-6999999", "each goes on where the last one stopped");
            return;
        }
        assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    }
    panic!("it never came into the store: {:?}", scene.bytes_asked());
}

/// Bytes that are always there, and parts that are always soon taken: neither ever lets a deadline have its word.
#[tokio::test(start_paused = true)]
async fn a_layer_that_comes_fast_and_is_too_long_holds_nobody() {
    let taking = bucket().taking(Duration::from_millis(1900));
    let scene = scene_on(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"\nhold = \"1s\"", taking);
    let begun = scene.lab.now();
    let seen = scene.lab.get(&scene.path).await;
    let held = scene.lab.now().since(begun);
    assert!(seen.is(429, "TOOMANYREQUESTS"), "{seen:?}");
    assert!(held < Duration::from_secs(4), "held for {held:?}");
    scene.lab.get(&scene.path).await;
    assert_ne!(scene.bytes_asked().pop().unwrap(), "bytes=0-6999999", "it goes on where it stopped");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_headers_do_not_hold_sends_the_client_to_the_upstream_or_says_so() {
    let base = format!("{STORE}{}/", "x".repeat(4200));
    let long = || bucket().linking(base.parse().expect("an address"));
    let scene = scene_on(Profile::TencentScf, "", long());
    scene.lab.registry.redirect_blobs(STORAGE);
    let seen = scene.lab.get(&scene.path).await;
    assert!(seen.status == 307 && seen.header("location").starts_with(STORAGE), "{seen:?}");
    let scene = scene_on(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"", long());
    let seen = scene.lab.get(&scene.path).await;
    assert!(seen.is(501, "UNSUPPORTED"), "{seen:?}");
    let message = seen.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("headers may have 4000") && !message.contains("cache.store"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn in_the_meantime_the_client_goes_where_the_upstream_sends_it() {
    let scene = scene(Profile::TencentScf);
    scene.lab.registry.redirect_blobs(STORAGE);
    // The first asks for the length.
    scene.lab.net.fault("GET", STORAGE, 2, Fault::StallAfter(100_000, Duration::from_mins(1)));
    let seen = scene.lab.get(&scene.path).await;
    assert_eq!(seen.status, 307, "{seen:?}");
    assert!(seen.header("location").starts_with(STORAGE), "{seen:?}");
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_never_come_into_the_store() {
    let scene = scene_of(Profile::TencentScf, "[delivery]\nmiss = \"refuse\"");
    scene.lab.net.fault(
        "GET",
        "/blobs/",
        1,
        Fault::change(|answer| {
            let mut bytes = answer.body.to_vec();
            bytes[LARGE - 1] ^= 1;
            answer.body = bytes.into();
        }),
    );
    let seen = scene.lab.get(&scene.path).await;
    assert_eq!(seen.status, 429, "{seen:?}");
    assert!(scene.stored().await.is_none() && scene.has_no_litter().await);
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
    assert_eq!(scene.stored().await.unwrap(), content());
}

/// The hash of SHA-512 is not put down between slices: what could never be right is not fetched (P-90).
#[tokio::test(start_paused = true)]
async fn what_cannot_come_in_slices_is_not_fetched_in_slices() {
    let scene = scene_of(Profile::TencentScf, "");
    let path = format!("/v2/a/b/blobs/sha512:{}", "a".repeat(128));
    let answer = || Answer::new(200).header("content-length", &LARGE.to_string()).body(content());
    scene.lab.net.fault("*", "/blobs/sha512:", 99, Fault::change(move |said| *said = answer()));
    let seen = scene.lab.get(&path).await;
    assert!(seen.is(501, "UNSUPPORTED"), "{seen:?}");
    assert!(scene.has_no_litter().await);
}

#[tokio::test(start_paused = true)]
async fn a_range_goes_through_where_it_is_short() {
    let scene = scene(Profile::TencentScf);
    let seen = scene.lab.get(&scene.path).header("range", "bytes=6999000-").await;
    assert_eq!((seen.status.as_u16(), &seen.body[..]), (206, &content()[6_999_000..]));
    let seen = scene.lab.get(&scene.path).header("range", "bytes=1-").await;
    assert!(leads_into_the_store(&seen), "the store answers the range: {seen:?}");
    let seen = scene.lab.get(&scene.path).header("range", "bytes=0-99").await;
    assert_eq!((seen.status.as_u16(), &seen.body[..]), (206, &content()[..100]));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_the_refusal_says_what_to_do() {
    let lab = Fixture::set_up(&Setup { profile: Profile::TencentScf, ..Setup::default() });
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content()));
    let seen = lab.get(&path).await;
    assert!(seen.is(501, "UNSUPPORTED"), "{seen:?}");
    let message = seen.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    for word in ["tencent-scf", "5000000", "7000000", "cache.store"] {
        assert!(message.contains(word), "{message}");
    }
    lab.registry.redirect_blobs(STORAGE);
    assert_eq!(lab.get(&path).await.status, 307);
}

#[tokio::test(start_paused = true)]
async fn only_whom_the_upstream_lets_in_gets_a_link() {
    let scene = scene_of(Profile::TencentScf, "clients.auth = \"upstream\"");
    scene.lab.registry.add_user("alice", "wonder");
    scene.lab.registry.add_user("mallory", "x");
    scene.lab.registry.make_private("a/b", &["alice"]);
    scene.lab.registry.guard(registry_proxy_core::testing::Gate::Basic);
    let token = scene.lab.login("alice", "wonder").await;
    let seen = scene.lab.get(&scene.path).bearer(&token).await;
    assert!(leads_into_the_store(&seen), "{seen:?}");
    let other = scene.lab.login_for("mallory", "x", "repository:c/d:pull").await;
    let seen = scene.lab.get(&scene.path).bearer(&other).await;
    assert!(matches!(seen.status.as_u16(), 401 | 403 | 404), "{seen:?}");
    let elsewhere = scene.path.replace("a/b", "c/d");
    let seen = scene.lab.get(&elsewhere).bearer(&other).await;
    assert!(matches!(seen.status.as_u16(), 401 | 403 | 404), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_says_no_length_where_the_platform_would_gather_it() {
    for (profile, is_said) in
        [(Profile::Server, true), (Profile::AliyunFc, false), (Profile::AzureContainerApps, true)]
    {
        let lab = Fixture::set_up(&Setup { profile, ..Setup::default() });
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", content()));
        let seen = lab.get(&path).await;
        assert_eq!((seen.length.is_some(), seen.body == content()), (is_said, true), "{profile}");
        let few = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(1000)));
        assert_eq!(lab.get(&few).await.length, Some(1000), "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_has_no_room_for_passes_on_its_way_to_a_bucket() {
    let mut scene = scene(Profile::CloudRun);
    scene.lab.platform.capabilities.max_scratch = Some(1 << 20);
    scene.lab.restart("");
    let seen = scene.lab.get(&scene.path).await;
    assert!(seen.status == 200 && seen.body == content(), "{seen:?}");
    assert!(scene.stored().await.is_none());
    let few = format!("/v2/a/b/blobs/{}", scene.lab.registry.put_blob("a/b", noise(500_000)));
    for done in ["filled", "hit"] {
        assert_eq!(scene.lab.get(&few).await.done(), done);
    }
}

#[tokio::test(start_paused = true)]
async fn links_go_to_everybody_where_the_configuration_says_so() {
    let scene = scene_of(Profile::Server, "[delivery]\nlinks = \"always\"");
    let first = scene.lab.get(&scene.path).await;
    assert!(first.status == 200 && first.body == content());
    scene.lab.wait(1).await;
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_when_what_it_began_is_done() {
    let scene = scene(Profile::TencentScf);
    let few = noise(3_000_000);
    let digest = scene.lab.registry.put_blob("a/b", few);
    scene.lab.get(&format!("/v2/a/b/blobs/{digest}")).await;
    // Nothing runs between the answer and this.
    let key = Key::blob(&Digest::parse(&digest).unwrap());
    assert!(scene.store.stat(&key).await.unwrap().is_some());
}
