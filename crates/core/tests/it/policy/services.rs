//! What an outside service (`verdict_url`) says of images, or does not say in time.

use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::platform::Reach;
use registry_proxy_core::testing::{Answer, Fault, Sent, stored_nowhere};

use super::{ACME, attach, image, index, lab, payload, sign, tag_of};
use crate::fixture::{Fixture, Lines, OCI_MANIFEST, Setup, noise, upstream};

/// Its address, with a token.
const SCANNER: &str = "https://scanner.internal/verdict?key=t0k3n";
const WANTED: &str = "this proxy's policy for reg.example/a/** wants the consent of an outside service";

fn rule(keys: &str) -> String {
    format!("[[policy]]\nmatch='reg.example/a/**'\nverdict_url='{SCANNER}'\nmode='enforce'\n{keys}\n")
}

/// A proxy whose service says no to the digests in the reason, and yes to everything else.
fn asking(keys: &str, denied: &'static [&'static str]) -> Fixture {
    let lab = lab(&rule(keys));
    lab.net.make_private("https://scanner.internal");
    lab.net.serve("https://scanner.internal", move |sent: &Sent| {
        let question: serde_json::Value = serde_json::from_slice(&sent.body).expect("JSON");
        let is_denied = denied.iter().any(|tag| question["tag"] == *tag);
        Answer::new(200).body(if is_denied {
            r#"{"allow":false,"reason":"CVE-2026-1"}"#
        } else {
            r#"{"allow":true}"#
        })
    });
    lab
}

fn asked(lab: &Fixture) -> Vec<Sent> {
    lab.net.sent("*", "scanner.internal")
}

#[tokio::test(start_paused = true)]
async fn what_the_service_allows_is_served_and_what_it_denies_is_refused_with_its_reason() {
    let lab = asking("", &["bad"]);
    let (good, layers) = image(&lab.registry, "good", &[5000]);
    let (bad, bad_layers) = image(&lab.registry, "bad", &[6000]);
    assert_eq!(lab.get("/v2/a/b/manifests/good").await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", layers[0])).await.status, 200);
    let seen = lab.get("/v2/a/b/manifests/bad").await;
    assert!(seen.is(403, "DENIED"), "{}", seen.status);
    assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"denied by service\"");
    let expected = format!("reg.example/a/b@{bad} is not served: {WANTED}; the service denies it: CVE-2026-1");
    assert_eq!(seen.json()["errors"][0]["message"], expected);
    for path in [format!("manifests/{bad}"), format!("blobs/{}", bad_layers[0])] {
        assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, 403, "{path}");
    }
    assert_eq!(lab.head("/v2/a/b/manifests/bad").await.status, 403);
    let all = asked(&lab);
    assert_eq!(all.len(), 2, "each digest once: {all:?}");
    let expected = serde_json::json!({
        "registry": "reg.example", "repository": "a/b", "digest": good, "mediaType": OCI_MANIFEST, "tag": "good",
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&all[0].body).unwrap(), expected);
    assert_eq!((all[0].method.as_str(), all[0].url.as_str()), ("POST", SCANNER));
    assert_eq!((all[0].header("content-type"), all[0].reach), ("application/json", Reach::Configured));
    assert_eq!(all[0].header("authorization"), "");
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_default_counts_and_soon_the_service_is_asked_again() {
    let large = format!(r#"{{"allow":true,"reason":"{}"}}"#, "x".repeat(16 << 10));
    let redirect = Answer::new(302).header("location", "https://scanner.internal/elsewhere");
    let (late, silent) = (Duration::from_secs(3), "the service did not answer in time");
    for (fault, found) in [
        (Fault::Late(late), silent),
        (Fault::Silence, silent),
        (Fault::StallAfter(5, late), silent),
        (Fault::Refuse, "the service cannot be reached"),
        (Fault::Drop, "the service cannot be reached"),
        (Fault::BreakAfter(5), "the service cannot be reached"),
        (Fault::Say(Answer::new(500).body(r#"{"allow":true}"#)), "the service answered 500 instead of 200"),
        (Fault::Say(redirect), "the service answered 302 instead of 200"),
        (Fault::Say(Answer::new(200).body("<html>")), "the service's answer is not {\"allow\": true} or false"),
        (Fault::Say(Answer::new(200).body(large.clone())), "the service's answer has more than 16384 bytes"),
        (
            Fault::Say(Answer::new(200).body(large).without_length()),
            "the service's answer has more than 16384 bytes",
        ),
    ] {
        for (default, status) in [("deny", 403), ("allow", 200)] {
            let lab = asking(&format!("verdict_default='{default}'"), &[]);
            let (digest, layers) = image(&lab.registry, "v1", &[5000]);
            let lines = Lines::of_warnings();
            lab.net.fault("POST", "scanner.internal", 1, fault.clone());
            let before = lab.now();
            let seen = lab.get("/v2/a/b/manifests/v1").await;
            assert_eq!(seen.status, status, "{default}: {found}");
            assert!(lab.now().since(before) <= Duration::from_secs(2), "{found}");
            if status == 403 {
                assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"no answer of service\"");
                let expected =
                    format!("reg.example/a/b@{digest} is not served: {WANTED}; {found}; the default is to deny");
                assert_eq!(seen.json()["errors"][0]["message"], expected);
            }
            assert_eq!(
                lab.get(&format!("/v2/a/b/blobs/{}", layers[0])).await.status,
                status,
                "{default}: {found}"
            );
            assert_eq!(asked(&lab).len(), 1, "remembered for a moment");
            let said = lines.take();
            assert_eq!(said.iter().filter(|line| line.contains_key("wanted")).count(), 1, "{said:?}");
            assert!(!format!("{said:?}").contains("t0k3n"), "{said:?}");
            lab.wait(11).await;
            assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200, "{default}: {found}");
            assert_eq!(asked(&lab).len(), 2);
            assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", layers[0])).await.status, 200, "{default}: {found}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_is_asked_once_for_all_who_wait() {
    let lab = asking("", &[]);
    image(&lab.registry, "v1", &[5000]);
    lab.net.fault("POST", "scanner.internal", 1, Fault::Late(Duration::from_secs(1)));
    let seen = join_all((0..20).map(|_| async { lab.get("/v2/a/b/manifests/v1").await.status })).await;
    assert_eq!(seen, vec![200; 20]);
    assert_eq!(asked(&lab).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_as_long_as_the_configuration_says() {
    let lab = asking("verdict_life='1h'", &[]);
    let (digest, layers) = image(&lab.registry, "v1", &[5000]);
    let blob = format!("/v2/a/b/blobs/{}", layers[0]);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    assert_eq!(lab.get(&blob).await.status, 200);
    lab.wait(3500).await;
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
    assert_eq!(asked(&lab).len(), 1);
    lab.wait(200).await;
    // From now on something is known of it.
    lab.net.fault(
        "POST",
        "scanner",
        99,
        Fault::Say(Answer::new(200).body(r#"{"allow":false,"reason":"CVE-2026-2"}"#)),
    );
    assert_eq!(lab.get(&blob).await.status, 403, "a layer counts no longer than its image");
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 403);
    assert_eq!(asked(&lab).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_the_mode_is_warn_everything_is_served_and_told() {
    let lab = asking("", &["bad"]);
    let (_, layers) = image(&lab.registry, "bad", &[5000]);
    let mut lab = lab;
    lab.reload(&format!("{}{}", rule("").replace("enforce", "warn"), upstream("")));
    let lines = Lines::of_warnings();
    assert_eq!(lab.get("/v2/a/b/manifests/bad").await.status, 200);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", layers[0])).await.status, 200);
    let said: Vec<_> = lines.take().into_iter().filter(|line| line.contains_key("wanted")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["found"], "the service denies it: CVE-2026-1");
    assert_eq!(said[0]["service"], "https://scanner.internal/***");
}

#[tokio::test(start_paused = true)]
async fn with_a_key_both_must_hold_and_the_service_hears_of_signed_images_only() {
    let lab = asking("require={key_file='/etc/acme.pub'}", &["both-bad", "signed-bad"]);
    for tag in ["signed-good", "signed-bad"] {
        let (digest, _) = image(&lab.registry, tag, &[5000]);
        sign(&lab.registry, &digest, &ACME);
    }
    image(&lab.registry, "both-bad", &[6000]);
    image(&lab.registry, "unsigned", &[7000]);
    for (tag, expected) in [
        ("signed-good", (200, "")),
        ("signed-bad", (403, "refused; why=\"denied by service\"")),
        ("both-bad", (403, "refused; why=\"not signed\"")),
        ("unsigned", (403, "refused; why=\"not signed\"")),
    ] {
        let seen = lab.get(&format!("/v2/a/b/manifests/{tag}")).await;
        assert_eq!(seen.status, expected.0, "{tag}");
        if expected.0 == 403 {
            assert_eq!(seen.header("x-registry-proxy"), expected.1, "{tag}");
        }
    }
    assert_eq!(asked(&lab).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_manifest_of_an_index_is_asked_for_and_no_signature_is() {
    let lab = asking("", &["bad"]);
    let (child, layers) = image(&lab.registry, "child", &[5000]);
    let list = index(&lab.registry, "v1", &[&child]);
    let (_, document) = attach(&lab.registry, &list, &ACME, &payload(&list), &payload(&list));
    for path in [
        "manifests/v1".to_owned(),
        format!("manifests/{child}"),
        format!("blobs/{}", layers[0]),
        format!("manifests/{}", tag_of(&list)),
        format!("blobs/{document}"),
    ] {
        assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, 200, "{path}");
    }
    let digests: Vec<_> = asked(&lab)
        .iter()
        .map(|sent| serde_json::from_slice::<serde_json::Value>(&sent.body).unwrap()["digest"].clone())
        .collect();
    assert_eq!(digests, [list, child]);
}

#[tokio::test(start_paused = true)]
async fn a_pull_works_without_a_store_and_after_a_restart_and_while_the_registry_is_down() {
    let text = format!("{}{}", rule(""), upstream(""));
    let lab = Fixture::set_up(&Setup { text: &text, ..Setup::default() });
    lab.net.serve("https://scanner.internal", |_: &Sent| Answer::new(200).body(r#"{"allow":true}"#));
    let (digest, layers) = image(&lab.registry, "v1", &[5000]);
    for path in [format!("manifests/{digest}"), format!("blobs/{}", layers[0])] {
        assert_eq!(lab.get(&format!("/v2/a/b/{path}")).await.status, 200, "{path}");
    }
    let (_, others) = image(&lab.registry, "other", &[6000]);
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{}", others[0])).await.status, 403);

    let mut lab = asking("", &[]);
    let (digest, layers) = image(&lab.registry, "v1", &[5000]);
    let blob = format!("/v2/a/b/blobs/{}", layers[0]);
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
    assert_eq!(lab.get(&blob).await.status, 200);
    lab.restart(&text);
    lab.net.fault("*", "up.example.com", 99, Fault::Refuse);
    assert_eq!(lab.get(&blob).await.status, 200, "its manifest is asked for again");
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
    assert_eq!(asked(&lab).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_no_rule_matches_nobody_is_asked_and_a_platform_that_asks_nobody_takes_the_default() {
    let mut lab = asking("", &[]);
    lab.registry.put_blob("e/f", noise(100));
    lab.registry.put_manifest("e/f", "v1", OCI_MANIFEST, r#"{"layers":[]}"#);
    assert_eq!(lab.get("/v2/e/f/manifests/v1").await.status, 200);
    assert!(asked(&lab).is_empty());
    image(&lab.registry, "v1", &[5000]);
    lab.platform.verdict_services = None;
    for (keys, expected) in [("", 403), ("verdict_default='allow'", 200)] {
        lab.restart(&format!("{}{}", rule(keys), upstream("")));
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, expected, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_what_the_service_said_and_asks_nobody() {
    let text = format!("public_url='https://proxy.example'\n{}{}", rule(""), upstream(""));
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere }).unwrap();
    let lab = asking("", &["bad"]);
    image(&lab.registry, "good", &[5000]);
    image(&lab.registry, "bad", &[5000]);
    for (tag, status, said, does) in [
        ("good", 200, "the service allows it", "hit"),
        ("bad", 403, "the service denies it: CVE-2026-1", "refuse"),
    ] {
        let policy = lab.proxy.explain(&config, &format!("a/b:{tag}")).await.policy.expect("a policy");
        assert_eq!(policy.wanted, "the consent of an outside service (https://scanner.internal/***)");
        assert_eq!(policy.service.as_deref(), Some("not known yet: a pull asks the service"));
        assert_eq!(policy.found, None);
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{tag}")).await.status, status);
        let sent = lab.net.lines().len();
        let after = lab.proxy.explain(&config, &format!("a/b:{tag}")).await;
        assert_eq!(after.policy.expect("a policy").service.as_deref(), Some(said));
        assert_eq!(after.pull.does, does, "{tag}");
        assert_eq!(lab.net.lines().len(), sent);
    }
}
