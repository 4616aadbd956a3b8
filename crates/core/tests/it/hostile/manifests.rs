//! The same of manifests, by digest and by tag.

use http::Method;
use registry_proxy_core::testing::{Answer, sha256};

use super::gets::Gets::{self, Missing, Right, Unusable, Word, WordOrMissing};
use super::town::{At, Cases, Mode, Town, Way};
use crate::fixture::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, manifest_of};

/// What the liar says of a manifest that only the honest upstream has given.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// HEAD of the digest says it is here; GET does not know it.
    Head,
    /// HEAD of a tag says that it leads there; GET of the tag and of the digest know nothing.
    Tag,
    /// The same of a tag that has led to a manifest of the liar's own before.
    MovedTag,
    /// GET of a tag gives a manifest of the liar's own under that digest.
    OtherBytesByTag,
    /// GET of the digest gives a manifest of the liar's own.
    OtherBytes,
    /// An index of the liar's names it; HEAD of the digest agrees, GET does not know it.
    Named,
    /// A push of it was taken, of other bytes; HEAD agrees, GET does not know it.
    Pushed,
}

/// By lie, what is asked, and what follows for HEAD and for GET, where the honest upstream gave it to a login.
const MANIFESTS: [(Lie, Wanted, [Gets; 2]); 11] = [
    (Lie::Head, Wanted::Digest, [Word("77"), Missing]),
    (Lie::Tag, Wanted::Tag, [Word("77"), Missing]),
    (Lie::Tag, Wanted::Digest, [Missing, Missing]),
    (Lie::MovedTag, Wanted::Tag, [WordOrMissing("77"), Missing]),
    (Lie::MovedTag, Wanted::Digest, [Missing, Missing]),
    // HEAD has said which digest the tag leads to, and by that there is nothing.
    (Lie::OtherBytesByTag, Wanted::Tag, [Word("77"), Missing]),
    (Lie::OtherBytesByTag, Wanted::Digest, [Missing, Missing]),
    (Lie::OtherBytes, Wanted::Digest, [Word("77"), Unusable]),
    (Lie::Named, Wanted::Digest, [Word("77"), Missing]),
    (Lie::Pushed, Wanted::Digest, [Word("77"), Missing]),
    (Lie::Pushed, Wanted::Tag, [Missing, Missing]),
];

/// The same where it gives the manifest to everybody.
const PUBLIC_MANIFESTS: [(Lie, Wanted, [Gets; 2]); 11] = [
    (Lie::Head, Wanted::Digest, [Right, Right]),
    (Lie::Tag, Wanted::Tag, [Right, Right]),
    (Lie::Tag, Wanted::Digest, [Missing, Missing]),
    (Lie::MovedTag, Wanted::Tag, [Right, Right]),
    (Lie::MovedTag, Wanted::Digest, [Missing, Missing]),
    (Lie::OtherBytesByTag, Wanted::Tag, [Right, Right]),
    (Lie::OtherBytesByTag, Wanted::Digest, [Missing, Missing]),
    (Lie::OtherBytes, Wanted::Digest, [Right, Right]),
    (Lie::Named, Wanted::Digest, [Right, Right]),
    (Lie::Pushed, Wanted::Digest, [Right, Right]),
    (Lie::Pushed, Wanted::Tag, [Missing, Missing]),
];

#[derive(Debug, Clone, Copy)]
enum Wanted {
    Tag,
    Digest,
}

/// The secret manifest's word, which is in no answer of the liar's.
const WORD: &str = "between alice and her registry";

fn secret_manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{}},"layers":[],"annotations":{{"a":"{WORD}"}}}}"#
    )
}

/// A HEAD of 77 bytes, which no manifest here has.
fn manifest_head(digest: &str) -> Answer {
    let mut answer =
        Answer::new(200).header("content-type", DOCKER_MANIFEST).header("docker-content-digest", digest);
    answer.length = Some(77);
    answer
}

async fn tell_of_manifest(town: &Town, lie: Lie, digest: &str) {
    let by_digest = format!("manifests/{digest}");
    let own = manifest_of(20);
    match lie {
        Lie::Head => town.says("HEAD", &by_digest, manifest_head(digest)),
        Lie::Tag => town.says("HEAD", "manifests/v1", manifest_head(digest)),
        Lie::MovedTag => {
            town.liar.put_manifest("x/y", "v1", OCI_MANIFEST, own);
            assert_eq!(town.get("bob", At::Liar, "manifests/v1").await.status, 200);
            town.lab.wait(120).await;
            town.says("HEAD", "manifests/v1", manifest_head(digest));
            town.says("GET", "manifests/v1", Answer::new(404));
        }
        Lie::OtherBytesByTag => {
            town.says("HEAD", "manifests/v1", manifest_head(digest));
            let answer = Answer::new(200).header("content-type", OCI_MANIFEST);
            town.says("GET", "manifests/v1", answer.header("docker-content-digest", digest).body(own));
        }
        Lie::OtherBytes => {
            town.says("HEAD", &by_digest, manifest_head(digest));
            let answer = Answer::new(200).header("content-type", OCI_MANIFEST);
            town.says("GET", &by_digest, answer.header("docker-content-digest", digest).body(own));
        }
        Lie::Named => {
            let index = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"digest":"{digest}","size":77,"mediaType":"{OCI_MANIFEST}"}}]}}"#
            );
            town.liar.put_manifest("x/y", "index", OCI_INDEX, index);
            assert_eq!(town.get("bob", At::Liar, "manifests/index").await.status, 200);
            town.says("HEAD", &by_digest, manifest_head(digest));
        }
        Lie::Pushed => {
            let digest = digest.to_owned();
            town.answers(&by_digest, move |sent| match sent.method.as_str() {
                "PUT" => Answer::new(201).header("docker-content-digest", &digest),
                "HEAD" => manifest_head(&digest),
                _ => Answer::new(404),
            });
            let call = town.call("bob", Method::PUT, At::Liar, &by_digest).await;
            assert_eq!(call.header("content-type", OCI_MANIFEST).body(own).await.status, 201);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_liar_says_of_a_manifest_of_another_upstream_opens_nothing() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        for (lie, wanted, [head, get]) in if mode.is_anonymous() { PUBLIC_MANIFESTS } else { MANIFESTS } {
            let town = Town::new(mode, Way::Usual, "");
            let digest = town.lab.registry.put_manifest("team/secret", "v1", OCI_MANIFEST, secret_manifest());
            assert_eq!(digest, sha256(secret_manifest().as_bytes()));
            assert_eq!(town.get("alice", At::Secret, "manifests/v1").await.status, 200);
            town.lab.wait(1).await;
            tell_of_manifest(&town, lie, &digest).await;
            let path = match wanted {
                Wanted::Tag => "manifests/v1".to_owned(),
                Wanted::Digest => format!("manifests/{digest}"),
            };
            for who in ["bob", "alice"] {
                for time in ["the first time", "the second time"] {
                    let right = secret_manifest().into_bytes();
                    for (what, gets, right, seen) in [
                        ("HEAD", head, &[][..], town.head(who, At::Liar, &path).await),
                        ("GET", get, &right, town.get(who, At::Liar, &path).await),
                    ] {
                        let text = String::from_utf8_lossy(&seen.body);
                        let saw = format!("{} {} {text}", seen.status, seen.header("content-length"));
                        let why = format!("{lie:?}, {mode:?}, {what} of {wanted:?} by {who} {time}");
                        let leaks = !matches!(gets, Right) && text.contains(WORD);
                        cases.check(!leaks, || format!("{why}: it got what is secret"));
                        cases.check(gets.is(&seen, right), || format!("{why}: {gets:?} was expected: {saw}"));
                    }
                    town.lab.wait(120).await;
                }
            }
            let seen = town.get("alice", At::Secret, "manifests/v1").await;
            let is_right = seen.status == 200 && seen.body == secret_manifest().as_bytes();
            cases.check(is_right, || format!("{lie:?}, {mode:?}: hers is spoilt: {}", seen.status));
        }
    }
    cases.end();
}
