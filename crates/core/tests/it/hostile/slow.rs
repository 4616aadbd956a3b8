//! A fill that is slow, or wrong about the length, holds nobody who wants the same blob of another upstream, and is
//! joined by nobody whom that upstream does not let in.

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault};

use super::town::{At, Cases, LIAR, Mode, Town, Way, secret};

/// `cache.fill.wait`, and a little for all else.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a liar holds up whoever joins it.
#[derive(Debug, Clone, Copy)]
enum Drip {
    /// Ten bytes a second, and it says the right length.
    Slow,
    /// The same, and it says another length.
    SlowAndLong,
    /// It says the right length, and nothing more comes.
    Silent,
    /// Another length, and nothing more comes.
    SilentAndShort,
}

const DRIPS: [Drip; 4] = [Drip::Slow, Drip::SlowAndLong, Drip::Silent, Drip::SilentAndShort];

fn begin(town: &Town, drip: Drip, digest: &str) {
    let length = match drip {
        Drip::Slow | Drip::Silent => 5000,
        Drip::SlowAndLong => 50_000_000,
        Drip::SilentAndShort => 2000,
    };
    town.answers(&format!("blobs/{digest}"), move |_| {
        let mut answer = Answer::new(200).body(secret().slice(..secret().len().min(length)));
        answer.length = Some(length as u64);
        answer
    });
    let stalls = match drip {
        Drip::Slow | Drip::SlowAndLong => vec![(10, Duration::from_secs(1)); 500],
        Drip::Silent | Drip::SilentAndShort => vec![(1000, Duration::from_secs(100_000))],
    };
    town.lab.net.fault("GET", &format!("{LIAR}/v2/x/y/blobs/"), usize::MAX, Fault::Stalls(stalls));
}

/// What a client of the honest upstream asks for, and gets at once or nearly so.
const WANTED: [(Option<&str>, u16, std::ops::Range<usize>); 4] = [
    (None, 200, 0..5000),
    (Some("0-99"), 206, 0..100),
    (Some("4000-"), 206, 4000..5000),
    (Some("0-"), 206, 0..5000),
];

#[tokio::test(start_paused = true)]
async fn a_slow_liar_holds_no_client_of_another_upstream() {
    let mut cases = Cases::default();
    for drip in DRIPS {
        for mode in Mode::ALL {
            for (range, status, expected) in WANTED {
                let town = Town::new(mode, Way::Usual, "");
                let digest = town.lab.registry.put_blob("team/secret", secret());
                let (blob, why) = (format!("blobs/{digest}"), format!("{drip:?}, {mode:?}, {range:?}"));
                begin(&town, drip, &digest);
                let victim = async {
                    town.lab.wait(2).await;
                    let begun = town.lab.now();
                    let head = town.head("alice", At::Secret, &blob).await;
                    let is_right = head.status == 200 && head.header("content-length") == "5000";
                    let saw = || format!("{why}: HEAD: {} {}", head.status, head.header("content-length"));
                    cases.check(is_right, saw);
                    let seen = match range {
                        None => town.get("alice", At::Secret, &blob).await,
                        Some(range) => town.range("alice", At::Secret, &blob, range).await,
                    };
                    let took = town.lab.now().since(begun);
                    cases.check_body(&seen, status, &secret()[expected], || why.clone());
                    cases.check(took < PATIENCE, || format!("{why}: {took:?}"));
                };
                // What the liar's own client makes of it is another matter; it stays as long as there is anything.
                let other = async {
                    town.get("bob", At::Liar, &blob).await;
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = victim => {}
                    () = other => {}
                }
            }
        }
    }
    cases.end();
}

/// The other way round: the honest upstream is slow with what only alice may have, and a liar says that it has it.
#[tokio::test(start_paused = true)]
async fn what_arrives_for_one_login_is_joined_by_nobody_with_a_liars_claim() {
    let mut cases = Cases::default();
    for mode in Mode::ALL.into_iter().filter(|mode| !mode.is_anonymous()) {
        for range in [None, Some("0-99"), Some("0-")] {
            let town = Town::new(mode, Way::Usual, "");
            let digest = town.lab.registry.put_blob("team/secret", secret());
            let (blob, why) = (format!("blobs/{digest}"), format!("{mode:?}, {range:?}"));
            let stall = Fault::StallAfter(2000, Duration::from_secs(20));
            town.lab.net.fault("GET", &format!("/v2/team/secret/{blob}"), 1, stall);
            let mut head = Answer::new(200).header("content-type", "application/octet-stream");
            head.length = Some(5000);
            town.says("HEAD", &blob, head);
            let thief = async {
                town.lab.wait(2).await;
                match range {
                    None => town.get("bob", At::Liar, &blob).await,
                    Some(range) => town.range("bob", At::Liar, &blob, range).await,
                }
            };
            let (hers, his) = tokio::join!(town.get("alice", At::Secret, &blob), thief);
            cases.check(his.status == 404, || format!("{why}: {} {} bytes", his.status, his.body.len()));
            cases.check_body(&hers, 200, &secret(), || format!("{why}: hers"));
        }
    }
    cases.end();
}

/// Nor does a login that the upstream refuses join what arrives for another there.
#[tokio::test(start_paused = true)]
async fn what_arrives_for_alice_is_not_joined_by_bob_whom_the_upstream_refuses() {
    let mut cases = Cases::default();
    for mode in Mode::ALL.into_iter().filter(|mode| mode.tells_clients_apart()) {
        for range in [None, Some("0-99"), Some("0-")] {
            let town = Town::new(mode, Way::Usual, "");
            let digest = town.lab.registry.put_blob("team/secret", secret());
            let (blob, why) = (format!("blobs/{digest}"), format!("{mode:?}, {range:?}"));
            let stall = Fault::StallAfter(2000, Duration::from_secs(20));
            let path = format!("/v2/team/secret/{blob}");
            // The first question is answered with a challenge, which has no body to stall.
            town.lab.net.fault("GET", &path, 2, stall);
            let thief = async {
                town.lab.wait(2).await;
                match range {
                    None => town.get("bob", At::Secret, &blob).await,
                    Some(range) => town.range("bob", At::Secret, &blob, range).await,
                }
            };
            let (hers, his) = tokio::join!(town.get("alice", At::Secret, &blob), thief);
            cases.check(his.status == 403, || format!("{why}: {} {} bytes", his.status, his.body.len()));
            cases.check_body(&hers, 200, &secret(), || format!("{why}: hers"));
        }
    }
    cases.end();
}
