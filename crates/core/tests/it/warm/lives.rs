//! Warmings that are stopped, shared, or meet failures.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Profile;
use registry_proxy_core::testing::{Answer, Fault, NativeBodies, PassingStore, Step};
use registry_proxy_core::warm::WarmEvent;

use super::{fetched, pull_without_registry, single, wanted, warm};
use crate::clock::TokioClock;
use crate::fixture::{Fixture, Setup, Trouble, troubled};

const LAYERS: [usize; 6] = [100_000, 110_000, 120_000, 130_000, 140_000, 150_000];

#[tokio::test(start_paused = true)]
async fn two_warmings_and_a_client_at_once_fetch_each_blob_once() {
    let lab = Fixture::caching("");
    let (_, blobs) = single(&lab, "a/b", "v1", &LAYERS);
    lab.net.fault("GET", "/blobs/", 99, Fault::Late(Duration::from_secs(2)));
    let (one, other) = (wanted(&["a/b:v1"]), wanted(&["a/b:v1"]));
    let (one, other, client) = tokio::join!(
        warm(&lab, "", &one),
        warm(&lab, "", &other),
        lab.get(&format!("/v2/a/b/blobs/{}", blobs[3]))
    );
    assert_eq!((one.totals.complete, other.totals.complete, client.status.as_u16()), (1, 1, 200));
    for digest in &blobs {
        assert_eq!(fetched(&lab, digest), 1, "{digest}");
    }
    assert_eq!(fetched(&lab, "/manifests/v1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_warming_that_was_stopped_costs_only_the_rest_when_it_begins_again() {
    let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
    let mut lab = Fixture::set_up(&Setup { store: Some(store), ..Setup::default() });
    let (_, blobs) = single(&lab, "a/b", "v1", &LAYERS);
    // The last layers never begin while the first process lives.
    for digest in &blobs[4..] {
        lab.net.fault("GET", digest, 1, Fault::Silence);
    }
    let request = wanted(&["a/b:v1"]);
    let stopped = tokio::time::timeout(Duration::from_secs(5), warm(&lab, "", &request)).await;
    assert!(stopped.is_err(), "it is stopped in the middle");
    lab.net.heal();
    lab.net.forget();
    lab.restart("");
    let again = warm(&lab, "", &request).await;
    assert_eq!(again.totals.complete, 1, "{:?}", again.missing(1));
    assert_eq!(fetched(&lab, "/manifests/"), 0);
    for (at, digest) in blobs.iter().enumerate() {
        assert_eq!(fetched(&lab, digest), usize::from(at >= 4), "{at}");
    }
    pull_without_registry(&lab, "a/b", &blobs).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_download_is_told_of_while_it_runs() {
    let lab = Fixture::caching("");
    let (_, blobs) = single(&lab, "a/b", "v1", &[500_000]);
    lab.net.fault("GET", &blobs[1], 1, Fault::StallAfter(200_000, Duration::from_secs(3)));
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    assert_eq!(warmed.totals.complete, 1, "{:?}", warmed.missing(1));
    let arrived = warmed.events.iter().filter_map(|event| match event {
        WarmEvent::Arriving { digest, bytes, total, .. } if *digest == blobs[1] => Some((*bytes, *total)),
        _ => None,
    });
    let arrived: Vec<(u64, u64)> = arrived.collect();
    assert!(arrived.iter().any(|(bytes, _)| *bytes > 100_000), "{arrived:?}");
    assert!(arrived.iter().all(|(bytes, total)| bytes <= total && *total == 500_000), "{arrived:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_moment_is_tried_again() {
    let lab = Fixture::caching("");
    single(&lab, "a/b", "v1", &[5000]);
    lab.net.fault("GET", "/manifests/", 1, Fault::Say(Answer::new(500)));
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    assert_eq!(warmed.totals.complete, 1, "{:?}", warmed.missing(1));
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_another_digest_is_missing_and_not_kept() {
    let lab = Fixture::caching("");
    let (_, blobs) = single(&lab, "a/b", "v1", &[5000]);
    let change = |answer: &mut Answer| answer.body = vec![b'x'; answer.body.len()].into();
    lab.net.fault("GET", &blobs[1], usize::MAX, Fault::change(change));
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    let missing = warmed.missing(1);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].0, blobs[1]);
    lab.net.heal();
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    assert_eq!(warmed.totals.complete, 1, "what was wrong is fetched again");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_keep_is_not_said_to_be_there() {
    for (step, key) in [(Step::Write, "v1/manifests/"), (Step::Write, "v1/tags/"), (Step::Draft, "")] {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let store =
            troubled(&memory, move |asked, at| (asked == step && at.starts_with(key)).then_some(Trouble::Fails));
        let lab = Fixture::set_up(&Setup { store: Some(store), ..Setup::default() });
        single(&lab, "a/b", "v1", &[5000]);
        let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
        assert_eq!(warmed.totals.complete, 0, "{step:?} {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_whose_requests_share_nothing_warms_too() {
    let store = Arc::new(PassingStore::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))));
    let mut lab = Fixture::set_up(&Setup {
        profile: Profile::CloudflareWorkers,
        isolated: true,
        store: Some(store),
        ..Setup::default()
    });
    lab.platform.transport = Arc::new(NativeBodies(lab.net.clone()));
    lab.restart("");
    let (_, blobs) = single(&lab, "a/b", "v1", &[5000, 60_000]);
    for fetched_blobs in [3, 0] {
        let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
        assert_eq!(warmed.totals.complete, 1, "{:?}", warmed.missing(1));
        assert_eq!(warmed.totals.blobs_fetched, fetched_blobs);
    }
    for digest in &blobs {
        assert_eq!(fetched(&lab, digest), 1, "{digest}");
    }
}
