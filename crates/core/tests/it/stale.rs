//! What is served while an upstream cannot say: what it said last, for a while, and never against its word.

mod heads;

use proptest::collection::vec;
use proptest::prelude::*;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store as _;
use registry_proxy_core::testing::{Answer, Fault};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, REALM, Seen, Setup, image, manifest_of};

const V1: &str = "/v2/a/b/manifests/v1";

/// With `a/b:v1` pulled whole.
async fn pulled(text: &str) -> (Fixture, String) {
    let lab = Fixture::caching(text);
    let (_, layer) = image(&lab, "a/b", "1");
    let blob = format!("/v2/a/b/blobs/{layer}");
    assert_eq!((lab.get(V1).await.status.as_u16(), lab.get(&blob).await.status.as_u16()), (200, 200));
    lab.wait(60).await;
    (lab, layer)
}

#[tokio::test(start_paused = true)]
async fn a_404_drops_a_pointer_without_its_manifest() {
    let store = std::sync::Arc::new(MemoryStore::new(1 << 30, std::sync::Arc::new(TokioClock::start())));
    let mut lab = Fixture::set_up(&Setup { store: Some(store.clone()), ..Setup::default() });
    let (digest, layer) = image(&lab, "a/b", "1");
    lab.get(V1).await;
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    lab.wait(60).await;
    store.remove(&Key::manifest(&Digest::parse(&digest).unwrap())).await.unwrap();
    lab.restart("");
    lab.net.fault("*", "/manifests/v1", 1, Fault::Say(Answer::new(404)));
    assert_eq!(lab.get(V1).await.status, 404);
    // Somebody has the same image by its digest.
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
    lab.wait(11).await;
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert_eq!(lab.get(V1).await.status, 504, "an outage does not bring it back");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_outlives_an_outage_and_a_restart() {
    for status in [401, 403] {
        let (mut lab, _) = pulled("").await;
        lab.net.fault("*", "/manifests/", 99, Fault::Say(Answer::new(status)));
        assert!(lab.get(V1).await.status.is_client_error());
        for restarts in [false, true] {
            if restarts {
                lab.wait(1).await;
                lab.restart("");
            }
            lab.net.heal();
            lab.net.fault("*", "", 99, Fault::Say(Answer::new(503)));
            let seen = lab.get(V1).await;
            assert_eq!(seen.status, 504, "{status}, {restarts}: {seen:?}");
        }
        lab.net.heal();
        lab.wait(60).await;
        assert_eq!(lab.get(V1).await.done(), "revalidated", "it costs no pull to be let in again");
        lab.wait(60).await;
        lab.net.fault("*", "", 99, Fault::Say(Answer::new(503)));
        assert_eq!(lab.get(V1).await.done(), "stale");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_client_takes_no_tag_from_another() {
    let lab = Fixture::caching("[clients]\nauth='upstream'\n[cache]\ntag_ttl='10s'").with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/b", &["alice"]);
    let (_, layer) = image(&lab, "a/b", "1");
    let alice = lab.login("alice", "wonder").await;
    let bobs = lab.login("bob", "builder").await;
    for path in [V1.to_owned(), format!("/v2/a/b/blobs/{layer}")] {
        assert_eq!(lab.get(&path).bearer(&alice).await.status, 200);
    }
    lab.wait(20).await;
    assert!(lab.get(V1).bearer(&bobs).await.status.is_client_error());
    lab.net.fault("*", "", 99, Fault::Say(Answer::new(503)));
    assert_eq!(lab.get(V1).bearer(&alice).await.done(), "stale");
    assert_eq!(lab.get(V1).bearer(&bobs).await.status, 504);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_used_is_no_outage() {
    let page = Answer::new(200).header("content-type", "text/html").body("<html>Sign in to the network</html>");
    let elsewhere = Answer::new(307).header("location", "http://10.0.0.5/");
    for answer in [page, elsewhere, Answer::new(304), Answer::new(400)] {
        let (lab, _) = pulled("").await;
        lab.net.fault("*", "/manifests/", 99, Fault::Say(answer.clone()));
        let seen = lab.get(V1).await;
        assert_ne!(seen.status, 200, "{answer:?}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_refused_is_not_served_in_a_later_outage() {
    let (lab, _) = pulled("").await;
    let list = "/v2/a/b/tags/list";
    lab.get(list).await;
    for status in [403, 404] {
        lab.wait(31).await;
        lab.net.fault("*", list, 99, Fault::Say(Answer::new(status)));
        assert!(lab.get(list).await.status.is_client_error());
        lab.net.heal();
        lab.net.fault("*", "", 99, Fault::Say(Answer::new(503)));
        assert_eq!(lab.get(list).await.status, 504);
        lab.net.heal();
        assert_eq!(lab.get(list).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_not_served_stale_says_what_is_missing() {
    let message = |seen: &Seen| seen.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    let outage = "the registry reg.example gave no usable answer: the connection was refused";
    let here = "the tag is cached, but not served stale";
    // Its layer was never pulled.
    let lab = Fixture::caching("");
    let (_, layer) = image(&lab, "a/b", "1");
    assert_eq!(lab.get(V1).await.status, 200);
    lab.wait(60).await;
    lab.net.fault("*", "", 1, Fault::Refuse);
    let seen = lab.get(V1).await;
    assert!(seen.is(504, "UNAVAILABLE"), "{seen:?}");
    assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"not stale: incomplete\"");
    assert_eq!(message(&seen), format!("{outage}; {here}: {layer} of its image is not cached"));
    lab.wait(11).await;
    lab.net.fault("*", "", 1, Fault::Say(Answer::new(429).header("retry-after", "30")));
    let seen = lab.get(V1).await;
    assert!(seen.is(429, "TOOMANYREQUESTS") && seen.header("retry-after") == "30", "{seen:?}");
    assert!(message(&seen).ends_with(&format!("{here}: {layer} of its image is not cached")), "{seen:?}");
    // All of it is here, and it was confirmed too long ago.
    let (lab, _) = pulled("[cache]\nstale_if_error='1h'").await;
    lab.wait(3600).await;
    lab.net.fault("*", "", 1, Fault::Refuse);
    let seen = lab.get(V1).await;
    assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"not stale: too old\"");
    assert!(
        message(&seen).starts_with(&format!("{outage}; {here}: the registry has not confirmed it")),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_known_from_another_repository_outlives_an_outage() {
    for offline in ["", "[cache]\noffline=true"] {
        let mut lab = Fixture::caching("");
        let (manifest, layer) = image(&lab, "a/one", "1");
        let index = format!(r#"{{"manifests":[{{"digest":"{manifest}"}}]}}"#);
        lab.registry.put_manifest("a/one", "multi", OCI_INDEX, index.clone());
        for path in ["manifests/v1", "manifests/multi", &format!("blobs/{layer}")] {
            assert_eq!(lab.get(&format!("/v2/a/one/{path}")).await.status, 200);
        }
        // The same image elsewhere: at once, as what another tag becomes, by index and by digest.
        image(&lab, "a/first", "1");
        for name in ["a/later", "a/index"] {
            lab.registry.put_manifest(name, "v1", OCI_MANIFEST, manifest_of(7));
        }
        for name in ["a/first", "a/later", "a/index"] {
            assert_eq!(lab.get(&format!("/v2/{name}/manifests/v1")).await.done(), "filled", "{name}");
        }
        let (by_digest, _) = image(&lab, "a/digest", "1");
        image(&lab, "a/later", "1");
        image(&lab, "a/index", "1");
        lab.registry.put_manifest("a/index", "v1", OCI_INDEX, index);
        lab.wait(60).await;
        for name in ["a/first", "a/later", "a/index"] {
            assert_eq!(lab.get(&format!("/v2/{name}/manifests/v1")).await.done(), "revalidated", "{name}");
        }
        let seen = lab.get(&format!("/v2/a/digest/manifests/{by_digest}")).await;
        assert_eq!(seen.done(), "revalidated");
        lab.wait(60).await;
        lab.restart(offline);
        lab.net.fault("*", "", 999, Fault::Refuse);
        for name in ["a/first", "a/later", "a/index", "a/digest"] {
            let tag = lab.get(&format!("/v2/{name}/manifests/v1")).await.status.as_u16();
            assert_eq!(tag == 200, name != "a/digest", "{name}: {tag}");
            let blob = lab.get(&format!("/v2/{name}/blobs/{layer}")).await.status;
            assert_eq!(blob, 200, "{name} promises what it has");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_manifest_claims_takes_nothing_from_what_was_shown() {
    let mut lab = Fixture::caching("[clients]\nauth='upstream'").with_tokens();
    lab.registry.add_user("alice", "wonder");
    let (_, layer) = image(&lab, "a/b", "1");
    let alice = lab.login("alice", "wonder").await;
    let blob = format!("/v2/a/b/blobs/{layer}");
    assert_eq!(lab.get(&blob).bearer(&alice).await.done(), "filled");
    lab.wait(1).await;
    lab.restart("[clients]\nauth='upstream'");
    let alice = lab.login("alice", "wonder").await;
    assert_eq!(lab.get(V1).bearer(&alice).await.status, 200);
    lab.wait(1).await;
    lab.net.fault("*", "/blobs/", 99, Fault::Refuse);
    assert_eq!(lab.get(&blob).bearer(&alice).await.done(), "hit");
}

/// What an upstream says, or its token server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Well,
    NotModified,
    Unauthorized,
    Forbidden,
    Missing,
    Limited,
    Unavailable,
    Silence,
}

impl Say {
    fn fault(self) -> Option<Fault> {
        let status = match self {
            Self::Well => return None,
            Self::Silence => return Some(Fault::Silence),
            Self::NotModified => 304,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::Missing => 404,
            Self::Limited => 429,
            Self::Unavailable => 503,
        };
        Some(Fault::Say(Answer::new(status)))
    }

    fn is_refusal(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden)
    }

    fn is_outage(self) -> bool {
        matches!(self, Self::Limited | Self::Unavailable | Self::Silence)
    }
}

fn say() -> impl Strategy<Value = Say> {
    use Say::{Forbidden, Limited, Missing, NotModified, Silence, Unauthorized, Unavailable, Well};
    prop_oneof![
        4 => Just(Well),
        6 => prop::sample::select(vec![NotModified, Unauthorized, Forbidden, Missing, Limited, Unavailable, Silence]),
    ]
}

/// What a token server says: it knows no 304, and its 404 is a refusal.
fn token_say() -> impl Strategy<Value = Say> {
    use Say::{Forbidden, Limited, Silence, Unauthorized, Unavailable, Well};
    prop_oneof![
        5 => Just(Well),
        2 => prop::sample::select(vec![Unauthorized, Forbidden, Limited, Unavailable, Silence]),
    ]
}

/// One question of a client, and what it meets.
#[derive(Debug, Clone)]
struct Step {
    wait: u64,
    restarts: bool,
    changes: bool,
    head: Say,
    get: Say,
    token: Say,
    is_head: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop::sample::select(vec![1_u64, 20, 61, 61, 400, 3700]);
    (
        wait,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        say(),
        say(),
        token_say(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(wait, restarts, changes, head, get, token, is_head)| Step {
            wait,
            restarts,
            changes,
            head,
            get,
            token,
            is_head,
        })
}

/// The last thing that the upstream said of the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Points { digest: String, at: u64 },
    Refused,
    Gone,
}

const TEXT: &str = "[cache]\ntag_ttl='60s'\nstale_if_error='1h'";
const TTL: u64 = 60;
const LIMIT: u64 = 3600;
/// No answer takes longer, so no model of seconds is nearer than this.
const SLACK: u64 = 25;

/// Asks step by step, and holds each answer against what was said before.
async fn tell(steps: Vec<Step>) {
    let mut lab = Fixture::caching(TEXT).with_tokens();
    let (mut current, layer) = image(&lab, "a/b", "0");
    assert_eq!(lab.get(V1).await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 200);
    let mut word = Word::Points { digest: current.clone(), at: lab.now().0.as_secs() };
    let mut kept = vec![current.clone()];
    for (number, step) in steps.iter().enumerate() {
        lab.wait(step.wait).await;
        if step.restarts {
            lab.proxy.flush(std::time::Duration::from_secs(5)).await;
            lab.restart(TEXT);
        }
        if step.changes {
            current = image(&lab, "a/b", &number.to_string()).0;
        }
        lab.registry.revoke_tokens();
        lab.net.heal();
        lab.net.forget();
        for (method, part, say) in
            [("HEAD", "/manifests/", step.head), ("GET", "/manifests/", step.get), ("*", REALM, step.token)]
        {
            if let Some(fault) = say.fault() {
                lab.net.fault(method, part, 99, fault);
            }
        }
        let begun = lab.now().0.as_secs();
        let seen = if step.is_head { lab.head(V1).await } else { lab.get(V1).await };
        let sent = lab.net.log();
        let mut said = sent.iter().map(|sent| match (sent.url.starts_with(REALM), sent.method.as_str()) {
            (true, _) => step.token,
            (false, _) if !sent.url.contains("/manifests/") => Say::Well,
            (false, "HEAD") => step.head,
            (false, _) => step.get,
        });
        // The challenge to a token that is not valid any more is no answer yet.
        let last = said.rfind(|say| *say != Say::Well);
        let why = format!("step {number} of {steps:#?}\n{word:?}\n{seen:?}\n{:#?}", lab.net.lines());
        let digest = seen.header("docker-content-digest").to_owned();
        match seen.done() {
            "hit" => {
                let Word::Points { digest: pointed, at } = &word else { panic!("{why}") };
                assert!(digest == *pointed && begun < at + TTL + SLACK, "{why}");
            }
            "stale" => {
                let Word::Points { digest: pointed, at } = &word else { panic!("{why}") };
                assert!(digest == *pointed && begun <= at + LIMIT + SLACK, "{why}");
                assert!(last.map_or(sent.is_empty(), Say::is_outage), "{why}");
            }
            "filled" | "revalidated" | "relayed" => {
                assert!(seen.status == 200 && digest == current, "{why}");
                if seen.done() != "relayed" {
                    kept.push(digest.clone());
                }
                word = Word::Points { digest, at: lab.now().0.as_secs() };
            }
            "refused" | "failed" => {
                assert_ne!(seen.status, 200, "{why}");
                match last {
                    Some(say) if say.is_refusal() => word = Word::Refused,
                    Some(Say::Missing) => word = Word::Gone,
                    Some(say) if say.is_outage() => {
                        // What is here and not too old is better than an error.
                        if let Word::Points { digest, at } = &word {
                            let is_here = kept.contains(digest);
                            assert!(!is_here || begun + SLACK > at + LIMIT, "{why}");
                        }
                    }
                    Some(_) => {}
                    None => assert!(sent.is_empty(), "{why}"),
                }
            }
            other => panic!("{other}: {why}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_upstream_says_no_tag_is_served_against_its_last_answer(steps in vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(tell(steps));
    }
}
