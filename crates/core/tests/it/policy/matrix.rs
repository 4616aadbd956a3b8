//! Each kind of image, asked for in each way and in each state. Expectations are written by hand.

use http::Method;

use super::{ACME, STRANGER, attach, image, index, lab, payload, policy, sign, tag_of};
use crate::fixture::{Fixture, OCI_MANIFEST, upstream};

/// What is known when a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was ever pulled.
    Cold,
    /// All of it was pulled before there was a policy.
    Cached,
    /// The same, and no registry may be asked.
    Offline,
}

const STATES: [State; 3] = [State::Cold, State::Cached, State::Offline];

/// Words of the table, each with what it stands for.
type Names = Vec<(&'static str, String)>;

/// Images in `a/b`, tagged by the first word of each pair.
fn put(lab: &Fixture) -> Names {
    let registry = &lab.registry;
    let mut names = Names::new();
    // All share the layer BASE.
    for (tag, word, layer_word, size) in [
        ("signed", "SIGNED", "OWN_SIGNED", 6000),
        ("unsigned", "UNSIGNED", "OWN_UNSIGNED", 7000),
        ("stranger", "STRANGER", "OWN_STRANGER", 8000),
        ("tampered", "TAMPERED", "OWN_TAMPERED", 9000),
        ("copied", "COPIED", "OWN_COPIED", 10_000),
        ("child", "CHILD", "OWN_CHILD", 11_000),
        ("loose-child", "LOOSE_CHILD", "OWN_LOOSE", 12_000),
    ] {
        let (digest, layers) = image(registry, tag, &[5000, size]);
        names.push((layer_word, layers[1].clone()));
        names.push((word, digest));
        if tag == "signed" {
            names.push(("BASE", layers[0].clone()));
        }
    }
    let digest = |names: &Names, word: &str| {
        names.iter().find(|(name, _)| *name == word).expect("a name of the image").1.clone()
    };
    let signed = digest(&names, "SIGNED");
    let (signature, document) = sign(registry, &signed, &ACME);
    names.extend([("SIGNATURE", signature), ("DOCUMENT", document)]);
    names.push(("TAG_OF_SIGNATURE", tag_of(&signed)));
    sign(registry, &digest(&names, "STRANGER"), &STRANGER);
    let tampered = digest(&names, "TAMPERED");
    attach(registry, &tampered, &ACME, &payload(&signed), &payload(&tampered));
    // The signature of another image, under this one's tag.
    attach(registry, &digest(&names, "COPIED"), &ACME, &payload(&signed), &payload(&signed));
    let of_signed = index(registry, "index", &[&digest(&names, "CHILD")]);
    sign(registry, &of_signed, &ACME);
    names.push(("INDEX", of_signed));
    names.push(("LOOSE", index(registry, "loose", &[&digest(&names, "LOOSE_CHILD")])));
    // An image under a tag of a signature.
    let (disguised, _) = image(registry, &tag_of(&digest(&names, "UNSIGNED")).replace(".sig", ".att"), &[5000]);
    names.push(("DISGUISED", disguised));
    let chart = r#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"},"layers":[]}"#;
    names.push(("CHART", registry.put_manifest("a/b", "chart", OCI_MANIFEST, chart)));
    // The longest first: UNSIGNED contains SIGNED.
    names.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    names
}

async fn scene(state: State, mode: &str) -> (Fixture, Names) {
    let mut lab = lab("");
    let names = put(&lab);
    if state != State::Cold {
        for (word, name) in &names {
            let kind = match *word {
                "TAG_OF_SIGNATURE" => continue,
                "BASE" | "DOCUMENT" => "blobs",
                word if word.starts_with("OWN_") => "blobs",
                _ => "manifests",
            };
            assert_eq!(lab.get(&format!("/v2/a/b/{kind}/{name}")).await.status, 200, "{word}");
        }
        for tag in ["signed", "unsigned", "stranger", "tampered", "copied", "child", "index", "loose", "chart"] {
            assert_eq!(lab.get(&format!("/v2/a/b/manifests/{tag}")).await.status, 200, "{tag}");
        }
        for word in ["SIGNED", "STRANGER", "TAMPERED", "COPIED", "INDEX"] {
            let digest = &names.iter().find(|(name, _)| name == &word).expect("a name of the image").1;
            let signature = lab.get(&format!("/v2/a/b/manifests/{}", tag_of(digest))).await;
            assert_eq!(signature.status, 200, "{word}");
            let blob = signature.json()["layers"][0]["digest"].as_str().expect("a digest").to_owned();
            assert_eq!(lab.get(&format!("/v2/a/b/blobs/{blob}")).await.status, 200, "{word}");
        }
        lab.wait(1).await;
    }
    let offline = if state == State::Offline { "[cache]\noffline=true\n" } else { "" };
    lab.restart(&format!("{offline}{}{}", policy(mode), upstream("")));
    (lab, names)
}

/// Asks for each of these in each state, with a proxy of its own; how many answers were as expected.
async fn check(mode: &str, rows: &[(Method, &str, [u16; 3])]) -> usize {
    let mut count = 0;
    for (method, path, expected) in rows {
        for (state, expected) in STATES.into_iter().zip(expected) {
            let (lab, names) = scene(state, mode).await;
            let path = names.iter().fold((*path).to_owned(), |path, (word, name)| path.replace(word, name));
            let (path, range) = path.split_once(' ').unwrap_or((&path, ""));
            let mut call = lab.call(method.clone(), &format!("/v2/a/b/{path}"));
            if !range.is_empty() {
                call = call.header("range", range);
            }
            let seen = call.await;
            assert_eq!(seen.status, *expected, "{mode} {method} {path} {range} {state:?}: {seen:?}");
            assert!(*expected != 403 || *method == Method::HEAD || seen.is(403, "DENIED"), "{seen:?}");
            count += 1;
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn what_is_not_signed_never_leaves() {
    let (get, head) = (Method::GET, Method::HEAD);
    let count = check(
        "enforce",
        &[
            (get.clone(), "manifests/signed", [200, 200, 200]),
            (head.clone(), "manifests/signed", [200, 200, 200]),
            (get.clone(), "manifests/SIGNED", [200, 200, 200]),
            (head.clone(), "manifests/SIGNED", [200, 200, 200]),
            (get.clone(), "manifests/unsigned", [403, 403, 403]),
            (head.clone(), "manifests/unsigned", [403, 403, 403]),
            (get.clone(), "manifests/UNSIGNED", [403, 403, 403]),
            (head.clone(), "manifests/UNSIGNED", [403, 403, 403]),
            (get.clone(), "manifests/stranger", [403, 403, 403]),
            (head.clone(), "manifests/stranger", [403, 403, 403]),
            (get.clone(), "manifests/STRANGER", [403, 403, 403]),
            (get.clone(), "manifests/tampered", [403, 403, 403]),
            (head.clone(), "manifests/TAMPERED", [403, 403, 403]),
            (get.clone(), "manifests/copied", [403, 403, 403]),
            (get.clone(), "manifests/COPIED", [403, 403, 403]),
            // An index that is signed answers for its images, as soon as the proxy knows it.
            (get.clone(), "manifests/index", [200, 200, 200]),
            (get.clone(), "manifests/INDEX", [200, 200, 200]),
            (get.clone(), "manifests/CHILD", [403, 200, 200]),
            (head.clone(), "manifests/CHILD", [403, 200, 200]),
            (get.clone(), "manifests/child", [403, 200, 200]),
            (get.clone(), "manifests/loose", [403, 403, 403]),
            (get.clone(), "manifests/LOOSE_CHILD", [403, 403, 403]),
            // A signature needs none, and an image is one under any tag. So is a chart.
            (get.clone(), "manifests/TAG_OF_SIGNATURE", [200, 200, 200]),
            (head.clone(), "manifests/TAG_OF_SIGNATURE", [200, 200, 200]),
            (get.clone(), "manifests/SIGNATURE", [200, 200, 200]),
            (head.clone(), "manifests/SIGNATURE", [200, 200, 200]),
            (get.clone(), "manifests/DISGUISED", [403, 403, 403]),
            (get.clone(), "manifests/chart", [403, 403, 403]),
            // Where a registry gives manifests as blobs.
            (get.clone(), "blobs/UNSIGNED", [403, 403, 403]),
            (head.clone(), "blobs/UNSIGNED", [403, 403, 403]),
            // A blob leaves if a manifest that passes names it; nothing says so of what was never here.
            (get.clone(), "blobs/OWN_SIGNED", [403, 200, 200]),
            (head.clone(), "blobs/OWN_SIGNED", [403, 200, 200]),
            (get.clone(), "blobs/OWN_SIGNED bytes=10-19", [403, 206, 206]),
            (get.clone(), "blobs/BASE", [403, 200, 200]),
            (get.clone(), "blobs/BASE bytes=0-", [403, 206, 206]),
            (get.clone(), "blobs/OWN_CHILD", [403, 200, 200]),
            (get.clone(), "blobs/DOCUMENT", [403, 200, 200]),
            (get.clone(), "blobs/OWN_UNSIGNED", [403, 403, 403]),
            (head.clone(), "blobs/OWN_UNSIGNED", [403, 403, 403]),
            (get.clone(), "blobs/OWN_UNSIGNED bytes=10-19", [403, 403, 403]),
            (get.clone(), "blobs/OWN_STRANGER", [403, 403, 403]),
            (get.clone(), "blobs/OWN_TAMPERED", [403, 403, 403]),
            (get.clone(), "blobs/OWN_COPIED", [403, 403, 403]),
            (head, "blobs/OWN_LOOSE", [403, 403, 403]),
            (get, "blobs/OWN_LOOSE bytes=0-", [403, 403, 403]),
        ],
    )
    .await;
    assert_eq!(count, 135);
}

#[tokio::test(start_paused = true)]
async fn where_the_mode_is_warn_everything_is_served() {
    let (get, head) = (Method::GET, Method::HEAD);
    let count = check(
        "warn",
        &[
            (get.clone(), "manifests/signed", [200, 200, 200]),
            (get.clone(), "manifests/unsigned", [200, 200, 200]),
            (head.clone(), "manifests/unsigned", [200, 200, 200]),
            (get.clone(), "manifests/UNSIGNED", [200, 200, 200]),
            (get.clone(), "manifests/stranger", [200, 200, 200]),
            (head, "manifests/STRANGER", [200, 200, 200]),
            (get.clone(), "manifests/tampered", [200, 200, 200]),
            (get.clone(), "manifests/copied", [200, 200, 200]),
            (get.clone(), "manifests/loose", [200, 200, 200]),
            (get.clone(), "manifests/LOOSE_CHILD", [200, 200, 200]),
            (get.clone(), "blobs/OWN_UNSIGNED", [200, 200, 200]),
            (get, "blobs/OWN_UNSIGNED bytes=10-19", [206, 206, 206]),
        ],
    )
    .await;
    assert_eq!(count, 36);
}
