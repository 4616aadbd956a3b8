//! When signatures are looked for, and what is said of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::platform::{Signer, Store};
use registry_proxy_core::testing::{Answer, Fault, stored_nowhere};

use super::{ACME, STRANGER, attach, image, index, lab, payload, policy, sign, tag_of};
use crate::clock::TokioClock;
use crate::fixture::{Fixture, Lines, OCI_MANIFEST, STORAGE, Setup, noise, upstream};

fn enforcing() -> Fixture {
    lab(&policy("enforce"))
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_who_should_have_signed_and_what_was_found() {
    let lab = enforcing();
    let (unsigned, _) = image(&lab.registry, "unsigned", &[5000]);
    let (stranger, _) = image(&lab.registry, "stranger", &[5000]);
    sign(&lab.registry, &stranger, &STRANGER);
    let (copied, _) = image(&lab.registry, "copied", &[5000]);
    attach(&lab.registry, &copied, &ACME, &payload(&unsigned), &payload(&unsigned));
    // The key's first letters in hex.
    let wanted = "this proxy's policy for reg.example/a/** wants a signature by the key acme.pub (SHA-256 61636d6500000000…)";
    for (tag, digest, why, found) in [
        ("unsigned", &unsigned, "not signed", "it has no signature"),
        ("stranger", &stranger, "no valid signature", "its signature is by another key, or was changed"),
        ("copied", &copied, "no valid signature", "its signature is that of another image"),
    ] {
        let seen = lab.get(&format!("/v2/a/b/manifests/{tag}")).await;
        assert_eq!(seen.header("x-registry-proxy"), format!("refused; why=\"{why}\""));
        let expected = format!("reg.example/a/b@{digest} is not served: {wanted}; {found}");
        assert_eq!(seen.json()["errors"][0]["message"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_is_looked_for_once_for_all_who_wait() {
    let lab = enforcing();
    let (signed, layers) = image(&lab.registry, "v1", &[5000]);
    sign(&lab.registry, &signed, &ACME);
    lab.net.fault("GET", ".sig", 1, Fault::Late(Duration::from_secs(2)));
    let seen = join_all((0..20).map(|_| async { lab.get("/v2/a/b/manifests/v1").await.status })).await;
    assert_eq!(seen, vec![200; 20]);
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{signed}")).await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", layers[0])).await.status, 200);
    assert_eq!(lab.net.sent("*", ".sig").len(), 1, "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn without_a_verdict_in_time_enforce_refuses_and_warn_serves() {
    for (mode, expected) in [("enforce", 403), ("warn", 200)] {
        let lab = lab(&policy(mode));
        let (signed, _) = image(&lab.registry, "v1", &[5000]);
        sign(&lab.registry, &signed, &ACME);
        lab.net.fault("*", ".sig", 99, Fault::Silence);
        let lines = Lines::of_warnings();
        let seen = lab.get("/v2/a/b/manifests/v1").await;
        assert_eq!(seen.status, expected, "{mode}");
        if expected == 403 {
            assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"signature not verified\"");
        }
        let said = lines.take();
        let said: Vec<_> = said.iter().filter(|line| line.contains_key("wanted")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        lab.net.heal();
        lab.wait(60).await;
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200, "{mode}: nothing of that is remembered");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_signed_after_its_push_is_served_soon() {
    let mut lab = enforcing();
    let (digest, _) = image(&lab.registry, "v1", &[5000]);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 403);
    sign(&lab.registry, &digest, &ACME);
    // Longer than it is remembered that a signature is missing.
    lab.wait(11).await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    // A signature that is cached is good while the registry is down, however old it is.
    lab.wait(3600).await;
    lab.restart(&format!("{}{}", policy("enforce"), upstream("")));
    lab.net.fault("*", ".sig", 99, Fault::Say(Answer::new(503)));
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_second_signature_is_found_beside_the_cached_first() {
    let lab = enforcing();
    let (digest, _) = image(&lab.registry, "v1", &[5000]);
    sign(&lab.registry, &digest, &STRANGER);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 403);
    sign(&lab.registry, &digest, &ACME);
    // A tag that is cached is confirmed once a minute at most.
    lab.wait(61).await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn another_key_asks_again() {
    let mut lab = enforcing();
    let (digest, _) = image(&lab.registry, "v1", &[5000]);
    sign(&lab.registry, &digest, &ACME);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    let text = format!("{}{}", policy("enforce"), upstream(""));
    for (key, expected) in [(STRANGER, 403), (ACME, 200)] {
        lab.platform.signers = vec![Some(Signer::Key(Arc::new(key)))];
        lab.reload(&text);
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_verifies_nothing_refuses_what_is_enforced() {
    for (mode, expected) in [("enforce", 403), ("warn", 200)] {
        let mut lab = lab("");
        let (digest, _) = image(&lab.registry, "v1", &[5000]);
        let (signature, _) = sign(&lab.registry, &digest, &ACME);
        lab.platform.signers = Vec::new();
        lab.restart(&format!("{}{}", policy(mode), upstream("")));
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, expected, "{mode}");
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{signature}")).await.status, 200, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_a_signed_image_can_be_pulled_without_a_store_and_where_redirects_go_to_clients() {
    for keys in ["", "redirects='pass'", "redirects='rewrite'"] {
        for has_store in [true, false] {
            let text = &format!("{}{}", policy("enforce"), upstream(keys));
            let store = has_store
                .then(|| Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))) as Arc<dyn Store>);
            let signers = vec![Some(Signer::Key(Arc::new(ACME)))];
            let lab = Fixture::set_up(&Setup { text, store, signers, ..Setup::default() });
            lab.registry.redirect_blobs(STORAGE);
            let (child, layers) = image(&lab.registry, "child", &[5000]);
            let (_, others) = image(&lab.registry, "other", &[6000]);
            let index = index(&lab.registry, "v1", &[&child]);
            let (_, document) = sign(&lab.registry, &index, &ACME);
            for round in 0..2 {
                for path in [
                    "manifests/v1".to_owned(),
                    format!("manifests/{index}"),
                    format!("manifests/{child}"),
                    format!("blobs/{}", layers[0]),
                    format!("manifests/{}", tag_of(&index)),
                    format!("blobs/{document}"),
                ] {
                    let status = lab.get(&format!("/v2/a/b/{path}")).await.status;
                    assert!(status == 200 || status == 307, "{keys} {has_store} {round} {path}: {status}");
                }
            }
            assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", others[0])).await.status, 403, "{keys} {has_store}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushing_client_sees_what_is_there_and_reads_none_of_it() {
    let signers = vec![Some(Signer::Key(Arc::new(ACME)))];
    let text = &format!("{}{}", policy("enforce"), upstream("push=true"));
    let lab = Fixture::set_up(&Setup { text, signers, ..Setup::default() });
    let (digest, layers) = image(&lab.registry, "v1", &[5000]);
    for (path, by_get) in
        [("manifests/v1", 403), (&*format!("manifests/{digest}"), 403), (&*format!("blobs/{}", layers[0]), 403)]
    {
        assert_eq!(lab.head(&format!("/v2/a/b/{path}")).await.status, 200, "{path}");
        assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, by_get, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_rule_matches_nothing_is_looked_for() {
    let lab = enforcing();
    lab.registry.put_blob("e/f", noise(100));
    lab.registry.put_manifest("e/f", "v1", OCI_MANIFEST, r#"{"layers":[]}"#);
    assert_eq!(lab.get("/v2/e/f/manifests/v1").await.status, 200);
    assert_eq!(lab.net.lines().len(), 1, "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_what_the_policy_makes_of_an_image_and_asks_nobody() {
    let text = format!("public_url='https://proxy.example'\n{}{}", policy("enforce"), upstream(""));
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere }).unwrap();
    let lab = lab(&policy("enforce"));
    let (signed, _) = image(&lab.registry, "signed", &[5000]);
    sign(&lab.registry, &signed, &ACME);
    let (stranger, _) = image(&lab.registry, "stranger", &[5000]);
    sign(&lab.registry, &stranger, &STRANGER);
    for (tag, status, found, does) in [
        ("signed", 200, "it has that signature", "hit"),
        ("stranger", 403, "its signature is by another key, or was changed", "refuse"),
    ] {
        let before = lab.proxy.explain(&config, &format!("a/b:{tag}")).await;
        let report = before.policy.expect("a policy");
        assert_eq!((report.pattern.as_str(), report.mode), ("reg.example/a/**", "enforce"));
        assert_eq!(report.found.as_deref(), Some("not known yet: a pull asks the registry for the signature"));
        assert_eq!(before.pull.does, "fill");
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{tag}")).await.status, status);
        let asked = lab.net.lines().len();
        // Longer than it is remembered that a signature is missing.
        lab.wait(20).await;
        let after = lab.proxy.explain(&config, &format!("a/b:{tag}")).await;
        assert_eq!(after.policy.expect("a policy").found.as_deref(), Some(found), "{tag}");
        assert_eq!(after.pull.does, does, "{tag}");
        assert_eq!(lab.net.lines().len(), asked);
    }
    assert!(lab.proxy.explain(&config, "e/f:v1").await.policy.is_none());
}
