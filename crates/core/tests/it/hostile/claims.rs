//! What a liar claims to have opens nothing: blobs are kept once, and permission is each upstream's own.

use http::Method;
use registry_proxy_core::testing::{Answer, Sent};

use super::gets::Gets::{self, Missing, MissingOrUnusable, Own, Right, Unusable, Word};
use super::gets::LIARS_BYTE;
use super::town::{At, Cases, LINKS, Mode, Town, Way, secret};
use crate::fixture::{OCI_MANIFEST, Seen};

/// What the liar says of a blob that only the honest upstream has given.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// HEAD says it is here, with the right length; GET does not know it.
    Head,
    /// The same, with another length.
    HeadOfOtherLength,
    /// HEAD says no length, and the first byte is to be had; the whole is not.
    FirstByte,
    /// Every question is answered with 304.
    NotModified,
    /// A manifest of the liar's names it; HEAD agrees, GET does not know it.
    Named,
    /// An upload under its digest was taken, of other bytes; HEAD agrees, GET does not know it.
    Uploaded,
    /// A mount of it was taken; HEAD agrees, GET does not know it.
    Mounted,
    /// It gives the right length and other bytes.
    OtherBytes,
    /// It gives the right length, other bytes, and fewer of them.
    Short,
    /// It gives nothing, as if that were all.
    Empty,
}

/// By lie, what follows for HEAD, for the byte 0-0, for the bytes 0-99 and for GET, where the honest upstream gave the
/// blob to a login, ours or a client's.
const TABLE: [(Lie, [Gets; 4]); 10] = [
    (Lie::Head, [Word("5000"), Missing, Missing, Missing]),
    (Lie::HeadOfOtherLength, [Word("4321"), Missing, Missing, Missing]),
    (Lie::FirstByte, [Word("5000"), Own(1), Unusable, MissingOrUnusable]),
    (Lie::NotModified, [Unusable, Unusable, Unusable, Unusable]),
    (Lie::Named, [Word("5000"), Missing, Missing, Missing]),
    (Lie::Uploaded, [Word("5000"), Missing, Missing, Missing]),
    (Lie::Mounted, [Word("5000"), Missing, Missing, Missing]),
    (Lie::OtherBytes, [Word("5000"), Own(1), Own(100), Unusable]),
    (Lie::Short, [Word("5000"), Own(1), Own(100), Unusable]),
    (Lie::Empty, [Unusable, Unusable, Unusable, Unusable]),
];

/// The same where it gives the blob to everybody: that is no secret, and whoever claims to have it may be believed.
/// What the liar itself has is of no account, and is sent to nobody.
const PUBLIC: [(Lie, [Gets; 4]); 10] = [
    (Lie::Head, [Word("5000"), Right, Right, Right]),
    (Lie::HeadOfOtherLength, [Word("4321"), Right, Right, Right]),
    (Lie::FirstByte, [Word("5000"), Right, Right, Right]),
    (Lie::NotModified, [Unusable, Unusable, Unusable, Unusable]),
    (Lie::Named, [Word("5000"), Right, Right, Right]),
    (Lie::Uploaded, [Word("5000"), Right, Right, Right]),
    (Lie::Mounted, [Word("5000"), Right, Right, Right]),
    (Lie::OtherBytes, [Word("5000"), Right, Right, Right]),
    (Lie::Short, [Word("5000"), Right, Right, Right]),
    (Lie::Empty, [Unusable, Unusable, Unusable, Unusable]),
];

fn head(length: &str) -> Answer {
    let mut answer = Answer::new(200).header("content-type", "application/octet-stream");
    answer.length = length.parse().ok();
    answer
}

/// Has it, says HEAD; GET knows nothing of it.
fn claim(sent: &Sent) -> Answer {
    if sent.method == "HEAD" { head("5000") } else { Answer::new(404) }
}

/// Has the first byte, whatever range is asked for, and not the whole.
fn first_byte(sent: &Sent) -> Answer {
    match (sent.method.as_str(), sent.header("range")) {
        ("HEAD", _) => head("none"),
        ("GET", range) if !range.is_empty() => {
            Answer::new(206).header("content-range", "bytes 0-0/5000").body(vec![LIARS_BYTE])
        }
        _ => Answer::new(404),
    }
}

/// So many bytes of its own, of 5000 that it promises.
fn other_bytes(here: usize, sent: &Sent) -> Answer {
    let range = sent.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let number = |text: &str| text.parse().ok();
    match range {
        None => {
            let mut answer = head("5000");
            answer.body = vec![LIARS_BYTE; if sent.method == "HEAD" { 0 } else { here }].into();
            answer
        }
        Some((first, last)) => {
            let (first, last) = (number(first).unwrap_or(0), number(last).unwrap_or(here).min(here - 1));
            if first > last {
                return Answer::new(416).header("content-range", "bytes */5000");
            }
            let answer = Answer::new(206).header("content-range", &format!("bytes {first}-{last}/5000"));
            answer.body(vec![LIARS_BYTE; last + 1 - first])
        }
    }
}

async fn tell(town: &Town, lie: Lie, digest: &str) {
    let blob = format!("blobs/{digest}");
    match lie {
        Lie::Head => town.answers(&blob, claim),
        Lie::HeadOfOtherLength => town.says("HEAD", &blob, head("4321")),
        Lie::FirstByte => town.answers(&blob, first_byte),
        Lie::NotModified => town.says("*", &blob, Answer::new(304)),
        Lie::Named => {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"digest":"{digest}","size":5000}},"layers":[{{"digest":"{digest}","size":5000}}]}}"#
            );
            town.liar.put_manifest("x/y", "v1", OCI_MANIFEST, text);
            assert_eq!(town.get("bob", At::Liar, "manifests/v1").await.status, 200);
            town.answers(&blob, claim);
        }
        Lie::Uploaded => {
            let path = format!("blobs/uploads/?digest={digest}");
            let call = town.call("bob", Method::POST, At::Liar, &path).await.body("another");
            assert_eq!(call.await.status, 201);
            town.answers(&blob, claim);
        }
        Lie::Mounted => {
            let path = format!("blobs/uploads/?mount={digest}&from=liar.example/a/b");
            assert_eq!(town.call("bob", Method::POST, At::Liar, &path).await.await.status, 201);
            town.answers(&blob, claim);
        }
        Lie::OtherBytes => town.answers(&blob, |sent| other_bytes(5000, sent)),
        Lie::Short => town.answers(&blob, |sent| other_bytes(4000, sent)),
        Lie::Empty => town.says("*", &blob, Answer::new(200)),
    }
}

/// Holds an answer about a blob against what is expected, and against what must be in none.
fn hold(cases: &mut Cases, gets: Gets, seen: &Seen, right: &[u8], why: &str) {
    let is_own = !seen.status.is_success() || seen.body.iter().all(|byte| *byte == LIARS_BYTE);
    let is_link = seen.header("location").starts_with(LINKS);
    let (status, length) = (seen.status.as_u16(), seen.body.len());
    let saw =
        || format!("{status}, {length} bytes, content-length {}, {:?}", seen.header("content-length"), seen.end);
    let leaks = !matches!(gets, Right) && (!is_own || is_link);
    cases.check(!leaks, || format!("{why}: it got what is secret: {}", saw()));
    cases.check(gets.is(seen, right), || format!("{why}: {gets:?} was expected: {}", saw()));
}

/// All questions of a client, twice: what is remembered of the first answers opens nothing either.
async fn ask(cases: &mut Cases, town: &Town, who: &str, blob: &str, gets: [Gets; 4], why: &str) {
    let ([head, first, part, get], right) = (gets, secret());
    for time in ["the first time", "the second time"] {
        let why = |what: &str| format!("{why}, {what} by {who} {time}");
        hold(cases, head, &town.head(who, At::Liar, blob).await, &[], &why("HEAD"));
        hold(cases, first, &town.range(who, At::Liar, blob, "0-0").await, &right[..1], &why("0-0"));
        hold(cases, part, &town.range(who, At::Liar, blob, "0-99").await, &right[..100], &why("0-99"));
        hold(cases, get, &town.get(who, At::Liar, blob).await, &right, &why("GET"));
        hold(cases, get, &town.get(who, At::Liar, blob).await, &right, &why("GET again"));
        // Not found is remembered for seconds; what is said then is what was asked anew.
        town.lab.wait(30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_liar_says_of_a_blob_of_another_upstream_opens_nothing() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        for (lie, gets) in if mode.is_anonymous() { PUBLIC } else { TABLE } {
            for way in Way::ALL {
                let (town, digest) = Town::with_secret(mode, way).await;
                tell(&town, lie, &digest).await;
                let (blob, why) = (format!("blobs/{digest}"), format!("{lie:?}, {mode:?}, {way:?}"));
                ask(&mut cases, &town, "bob", &blob, gets, &why).await;
                // To alice the liar says the same, whatever she may have elsewhere.
                ask(&mut cases, &town, "alice", &blob, gets, &why).await;
            }
        }
    }
    cases.end();
}

#[tokio::test(start_paused = true)]
async fn what_a_liar_says_spoils_nothing_for_the_clients_of_another_upstream() {
    let mut cases = Cases::default();
    for (lie, _) in TABLE {
        for mode in Mode::ALL {
            let (town, digest) = Town::with_secret(mode, Way::Usual).await;
            tell(&town, lie, &digest).await;
            let blob = format!("blobs/{digest}");
            for at in [At::Liar, At::Secret, At::Liar, At::Secret] {
                for range in ["0-99", "0-0"] {
                    town.range("alice", at, &blob, range).await;
                }
                town.head("alice", at, &blob).await;
                town.get("alice", at, &blob).await;
            }
            let expected = secret();
            let why =
                |what: &str, seen: &Seen| format!("{lie:?}, {mode:?}, {what}: {} {:?}", seen.status, seen.end);
            let seen = town.get("alice", At::Secret, &blob).await;
            let is_right = seen.status == 200 && seen.body == expected && seen.end.is_ok();
            cases.check(is_right, || why("GET", &seen));
            let seen = town.range("alice", At::Secret, &blob, "10-99").await;
            cases.check(seen.status == 206 && seen.body == expected[10..100], || why("10-99", &seen));
            let seen = town.head("alice", At::Secret, &blob).await;
            cases.check(seen.status == 200 && seen.header("content-length") == "5000", || why("HEAD", &seen));
        }
    }
    cases.end();
}
