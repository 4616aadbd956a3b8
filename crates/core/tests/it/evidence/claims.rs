//! Two registries and one store: what one of them merely claims opens nothing of the other's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::{Precondition, Store as _};
use registry_proxy_core::testing::{Answer, Fault, Gate, Registry, Sent, Step, sha256};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Seen, Setup, noise, troubled, upstream};

const LIAR: &str = "https://origin.liar.test";
const SECRET: &str = "/v2/a/secret";

/// `reg.example`, where only alice may read `a/secret`; and `liar.example`, which says of every digest that it has it,
/// and gives none. Tells the secret's manifest and layer.
fn town(auth: &str) -> (Fixture, String, String) {
    let text = format!("{auth}\n{}[[upstream]]\nname='liar.example'\nurls=['{LIAR}']\n", upstream(KEYS));
    let lab = Fixture::caching(&text).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.make_private("a/secret", &["alice"]);
    let layer = lab.registry.put_blob("a/secret", noise(5000));
    let manifest = format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#);
    let digest = lab.registry.put_manifest("a/secret", "v1", OCI_MANIFEST, manifest);
    lab.net.serve(LIAR, claim);
    (lab, digest, layer)
}

const KEYS: &str = "username='alice'\npassword='wonder'";

/// Everything is there, until the whole of it is asked for.
fn claim(sent: &Sent) -> Answer {
    let digest = sent.path().rsplit('/').next().unwrap_or_default().to_owned();
    let length = if sent.path().contains("/manifests/") { 100 } else { 5000 };
    let answer = Answer::new(200)
        .header("docker-content-digest", &digest)
        .header("content-type", if length == 100 { OCI_MANIFEST } else { "application/octet-stream" });
    if sent.path() == "/v2/" {
        Answer::new(200).body("{}")
    } else if sent.method == "HEAD" {
        answer.body(vec![0; length])
    } else if sent.header("range") == "bytes=0-0" {
        Answer::new(206).header("content-range", &format!("bytes 0-0/{length}")).body("x")
    } else {
        Answer::new(404).body(r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#)
    }
}

fn holds(seen: &Seen, content: &Bytes) -> bool {
    content.len() > 10 && seen.body.windows(10).any(|window| content.windows(10).any(|part| part == window))
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_merely_claims_opens_nothing_of_another() {
    for auth in ["", "[clients]\nauth='users'\nusers_file='u'", "[clients]\nauth='upstream'"] {
        let is_upstream = auth.contains("upstream");
        let (lab, digest, layer) = town(auth);
        let (alice, liar) = match auth {
            "" => (None, None),
            _ if is_upstream => (
                Some(lab.login_for("alice", "wonder", "repository:a/secret:pull").await),
                Some(lab.get("/liar.example/token").await.json()["token"].as_str().unwrap_or_default().to_owned()),
            ),
            _ => {
                let scope = "repository:a/secret:pull&scope=repository:liar.example/x/y:pull";
                let token = lab.login_for("alice", "wonder", scope).await;
                (Some(token.clone()), Some(token))
            }
        };
        let get = async |path: &str, token: &Option<String>| {
            let call = lab.get(path);
            match token {
                Some(token) => call.bearer(token).await,
                None => call.await,
            }
        };
        let mut secrets = Vec::new();
        for path in [format!("{SECRET}/manifests/v1"), format!("{SECRET}/blobs/{layer}")] {
            let seen = get(&path, &alice).await;
            assert_eq!(seen.status, 200, "{auth}: {path}");
            secrets.push(seen.body);
        }
        let liar = if is_upstream { Some(lab.anonymous().await) } else { liar };
        for round in 0..3 {
            for path in [
                format!("/v2/liar.example/x/y/manifests/{digest}"),
                format!("/v2/liar.example/x/y/blobs/{layer}"),
                format!("/v2/liar.example/x/y/blobs/{digest}"),
            ] {
                let head = match &liar {
                    Some(token) => lab.head(&path).bearer(token).await,
                    None => lab.head(&path).await,
                };
                let whole = get(&path, &liar).await;
                let call = lab.get(&path).header("range", "bytes=0-99");
                let part = match &liar {
                    Some(token) => call.bearer(token).await,
                    None => call.await,
                };
                for seen in [&whole, &part] {
                    assert!(!seen.status.is_success(), "{auth}, round {round}: {path}: {seen:?}");
                    assert!(!secrets.iter().any(|secret| holds(seen, secret)), "{auth}: {path}");
                }
                assert!(head.body.is_empty());
            }
            lab.wait(61).await;
        }
        // Alice still has what is hers, without another download.
        lab.net.forget();
        assert_eq!(get(&format!("{SECRET}/blobs/{layer}"), &alice).await.status, 200, "{auth}");
        assert!(lab.net.sent("GET", "/blobs/").is_empty(), "{auth}: {:?}", lab.net.lines());
    }
}

/// What is arriving for alice is hers as well: nobody joins it by another registry's word.
#[tokio::test(start_paused = true)]
async fn what_arrives_for_a_login_of_one_registry_is_joined_by_no_client_of_another() {
    for range in [None, Some("bytes=0-99"), Some("bytes=0-")] {
        let (lab, _, layer) = town("");
        lab.net.fault("GET", "/a/secret/blobs/", 2, Fault::StallAfter(3000, Duration::from_secs(15)));
        let alice = async { lab.get(&format!("{SECRET}/blobs/{layer}")).await };
        let liar = async {
            lab.wait(2).await;
            let call = lab.get(&format!("/v2/liar.example/x/y/blobs/{layer}"));
            match range {
                Some(range) => call.header("range", range).await,
                None => call.await,
            }
        };
        let (alice, liar) = tokio::join!(alice, liar);
        assert_eq!((alice.status.as_u16(), &alice.body), (200, &noise(5000)));
        assert!(!holds(&liar, &alice.body) && !liar.status.is_success(), "{range:?}: {liar:?}");
    }
}

/// A registry that gives the bytes, whole and right, has shown that they are its own.
#[tokio::test(start_paused = true)]
async fn a_registry_that_gives_the_bytes_is_believed_from_then_on() {
    let (lab, _, layer) = town("");
    let honest = Registry::default();
    honest.put_blob("x/y", noise(5000));
    honest.put_blob("x/z", noise(5000));
    lab.net.serve(LIAR, honest);
    assert_eq!(lab.get(&format!("{SECRET}/blobs/{layer}")).await.status, 200);
    lab.net.forget();
    let first = lab.get(&format!("/v2/liar.example/x/y/blobs/{layer}")).await;
    assert_eq!((first.status.as_u16(), first.body.len()), (200, 5000));
    assert_eq!(lab.net.sent("GET", LIAR).len(), 1, "it has to give them once");
    let again = lab.get(&format!("/v2/liar.example/x/y/blobs/{layer}")).await;
    assert_eq!(again.done(), "hit");
    // In another repository its word is enough, and nothing is downloaded.
    let other = lab.get(&format!("/v2/liar.example/x/z/blobs/{layer}")).await;
    assert_eq!((other.status.as_u16(), other.done()), (200, "revalidated"));
    assert_eq!(lab.net.sent("GET", LIAR).len(), 1);
}

/// What a registry gives to anybody is nobody's secret.
#[tokio::test(start_paused = true)]
async fn public_bytes_are_downloaded_once_for_all_registries() {
    let text = format!("{}[[upstream]]\nname='liar.example'\nurls=['{LIAR}']\n", upstream(""));
    let lab = Fixture::caching(&text);
    let layer = lab.registry.put_blob("a/b", noise(5000));
    let mirror = Registry::default();
    mirror.put_blob("x/y", noise(5000));
    lab.net.serve(LIAR, mirror);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{layer}")).await.done(), "filled");
    let seen = lab.get(&format!("/v2/liar.example/x/y/blobs/{layer}")).await;
    assert_eq!((seen.status.as_u16(), seen.done()), (200, "revalidated"));
    assert!(lab.net.sent("GET", LIAR).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_said_to_point_at_anothers_manifest_is_not_served_from_the_cache() {
    let (lab, digest, _) = town("");
    let secret = lab.get(&format!("{SECRET}/manifests/v1")).await;
    assert_eq!(secret.status, 200);
    let honest = Registry::default();
    honest.put_manifest("x/y", "v1", OCI_MANIFEST, r#"{"layers":[],"annotations":{"of":"liar"}}"#);
    lab.net.serve(LIAR, honest);
    assert_eq!(lab.get("/v2/liar.example/x/y/manifests/v1").await.status, 200);
    lab.wait(60).await;
    lab.net.serve(LIAR, move |sent: &Sent| {
        if sent.method == "HEAD" {
            Answer::new(200)
                .header("content-type", OCI_MANIFEST)
                .header("docker-content-digest", &digest)
                .body(vec![0; 100])
        } else {
            Answer::new(404).body("{}")
        }
    });
    let seen = lab.get("/v2/liar.example/x/y/manifests/v1").await;
    assert_eq!(seen.status, 404, "{seen:?}");
}

/// `liar.example` gives an image of `reg.example` byte for byte, and calls it an index.
#[tokio::test(start_paused = true)]
async fn the_type_of_a_manifest_belongs_to_its_bytes() {
    let text = format!("{}[[upstream]]\nname='liar.example'\nurls=['{LIAR}']\n", upstream(""));
    let mut lab = Fixture::caching(&text);
    let image = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, image);
    let liar = Registry::default();
    liar.guard(Gate::Open);
    liar.put_manifest("x/y", "v1", OCI_INDEX, image);
    lab.net.serve(LIAR, liar);
    assert_eq!(sha256(image.as_bytes()), digest);
    for _ in 0..2 {
        for path in ["/v2/liar.example/x/y/manifests/v1", "/v2/a/b/manifests/v1"] {
            assert_eq!(lab.get(path).await.header("content-type"), OCI_MANIFEST, "{path}");
        }
        let seen = lab.get(&format!("/v2/a/b/manifests/{digest}")).await;
        assert_eq!(seen.header("content-type"), OCI_MANIFEST);
        lab.wait(60).await;
        lab.restart(&text);
    }
}

/// Version 0.1.0 wrote neither who gave the bytes, nor a proof.
#[tokio::test(start_paused = true)]
async fn hits_of_what_an_earlier_version_cached_do_not_look_for_what_it_never_wrote() {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let store = troubled(&memory, |_, _| None);
    let text = format!("[clients]\nauth='upstream'\n{}", upstream(""));
    let setup = Setup { text: &text, store: Some(store.clone()), ..Setup::default() };
    let lab = Fixture::set_up(&setup).with_tokens();
    lab.registry.add_user("alice", "wonder");
    let layer = lab.registry.put_blob("a/secret", noise(5000));
    let (digest, repository) = (Digest::parse(&layer).unwrap(), RepositoryName::parse("a/secret").unwrap());
    memory
        .write(&Key::link("reg.example", &repository, &digest), "shown".into(), Precondition::Always)
        .await
        .unwrap();
    let draft = memory.draft(&Key::blob(&digest), Some(5000)).await.unwrap();
    draft.write_at(0, noise(5000)).await.unwrap();
    draft.commit(5000).await.unwrap();
    let alice = lab.login_for("alice", "wonder", "repository:a/secret:pull").await;
    let path = format!("{SECRET}/blobs/{layer}");
    assert_eq!(lab.get(&path).bearer(&alice).await.status, 200);
    let looked = store.hook.count(Step::Read, "v1/origins/");
    for _ in 0..5 {
        assert_eq!(lab.get(&path).bearer(&alice).await.done(), "hit");
    }
    assert_eq!(store.hook.count(Step::Read, "v1/origins/"), looked);
}
