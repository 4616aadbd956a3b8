//! What is true opens what it should: the other side of the same rules.

use registry_proxy_core::testing::sha256;

use super::town::{At, Cases, LINKS, Mode, Town, Way, secret};
use crate::fixture::{OCI_MANIFEST, manifest_of};

#[tokio::test(start_paused = true)]
async fn within_the_upstream_that_gave_a_blob_its_claim_is_enough() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        for way in Way::ALL {
            let (town, digest) = Town::with_secret(mode, way).await;
            // The same blob is in what everybody may read.
            town.lab.registry.put_blob("team/public", secret());
            town.lab.net.forget();
            let seen = town.get("bob", At::Public, &format!("blobs/{digest}")).await;
            match way {
                Way::Links => {
                    let is_link = seen.status == 307 && seen.header("location").starts_with(LINKS);
                    cases.check(is_link, || format!("{mode:?}: {}", seen.status));
                }
                Way::Usual | Way::Isolated => {
                    cases.check_body(&seen, 200, &secret(), || format!("{mode:?}, {way:?}"));
                }
            }
            let asked = town.lab.net.sent("GET", &format!("/v2/team/public/blobs/{digest}"));
            cases.check(asked.is_empty(), || format!("{mode:?}, {way:?}: fetched again: {}", asked.len()));
        }
    }
    cases.end();
}

/// Whoever tells the truth has to give what another upstream gives to a login, once; what is everybody's it need not.
#[tokio::test(start_paused = true)]
async fn whoever_gives_a_blob_whole_has_shown_it() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        let (town, digest) = Town::with_secret(mode, Way::Usual).await;
        town.liar.put_blob("x/y", secret());
        let blob = format!("blobs/{digest}");
        for time in 0..3 {
            let before = town.gets_of_liar(&digest);
            let seen = town.get("bob", At::Liar, &blob).await;
            cases.check_body(&seen, 200, &secret(), || format!("{mode:?}, {time}"));
            let has_asked = town.gets_of_liar(&digest) > before;
            let must_ask = time == 0 && !mode.is_anonymous();
            cases
                .check(has_asked == must_ask, || format!("{mode:?}, {time}: it asked for all of it: {has_asked}"));
            town.lab.wait(1).await;
        }
        let before = town.gets_of_liar(&digest);
        let seen = town.range("bob", At::Liar, &blob, "100-199").await;
        cases.check_body(&seen, 206, &secret()[100..200], || format!("{mode:?}, 100-199"));
        cases.check(town.gets_of_liar(&digest) == before, || format!("{mode:?}: asked for what is here"));
    }
    cases.end();
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_a_manifest_has_shown_it() {
    let mut cases = Cases::default();
    for mode in Mode::ALL {
        let town = Town::new(mode, Way::Usual, "");
        let text = manifest_of(50);
        let digest = sha256(&text);
        town.lab.registry.put_manifest("team/secret", "v1", OCI_MANIFEST, text.clone());
        assert_eq!(town.get("alice", At::Secret, "manifests/v1").await.status, 200);
        town.liar.put_manifest("x/y", "v1", OCI_MANIFEST, text.clone());
        for time in 0..3 {
            let before = town.gets_of_liar(&digest);
            let seen = town.get("bob", At::Liar, &format!("manifests/{digest}")).await;
            cases.check_body(&seen, 200, &text, || format!("{mode:?}, {time}"));
            let has_asked = town.gets_of_liar(&digest) > before;
            let must_ask = time == 0 && !mode.is_anonymous();
            cases
                .check(has_asked == must_ask, || format!("{mode:?}, {time}: it asked for all of it: {has_asked}"));
            town.lab.wait(1).await;
        }
    }
    cases.end();
}

/// What bob gets of alice's repository, by mode: where the upstream cannot tell them apart, all of it.
const NEIGHBOURS: [(Mode, u16); 6] = [
    (Mode::Open, 200),
    (Mode::OpenWithAccount, 200),
    (Mode::Users, 200),
    (Mode::UsersWithAccount, 200),
    (Mode::UpstreamTokens, 403),
    (Mode::UpstreamBasic, 403),
];

#[tokio::test(start_paused = true)]
async fn a_neighbour_gets_what_the_upstream_lets_it_have() {
    let mut cases = Cases::default();
    for (mode, expected) in NEIGHBOURS {
        for way in [Way::Usual, Way::Isolated] {
            let (town, digest) = Town::with_secret(mode, way).await;
            let blob = format!("blobs/{digest}");
            for _ in 0..2 {
                let statuses = [
                    town.head("bob", At::Secret, &blob).await.status.as_u16(),
                    town.get("bob", At::Secret, &blob).await.status.as_u16(),
                ];
                cases.check(statuses == [expected; 2], || format!("{mode:?}, {way:?}: {statuses:?}"));
                // And what he was refused is hers still.
                let seen = town.get("alice", At::Secret, &blob).await;
                cases.check_body(&seen, 200, &secret(), || format!("{mode:?}, {way:?}: hers"));
            }
            // In a repository that does not have it, nobody gets it.
            for who in ["bob", "alice"] {
                let status = town.get(who, At::Public, &blob).await.status;
                cases.check(status == 404, || format!("{mode:?}, {way:?}, {who}: {status}"));
            }
        }
    }
    cases.end();
}
