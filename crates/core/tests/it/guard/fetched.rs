//! What is fetched into the store by invocations of the platform, before anybody takes it.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Profile;
use registry_proxy_core::testing::{Fault, sha256};

use super::tag;
use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, noise};
use crate::platforms::Events;

const LARGE: usize = 7_000_000;

/// A function with a bucket, which begins invocations of its own.
fn function(text: &str) -> (Fixture, Arc<Events>) {
    let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start())).shared().in_parts_of(1 << 20);
    let store = store.linking("https://store.example/".parse().expect("an address"));
    let mut lab = Fixture::set_up(&Setup {
        text,
        profile: Profile::AwsLambda,
        store: Some(Arc::new(store)),
        ..Setup::default()
    });
    let events = Arc::new(Events::default());
    lab.platform.invoker = Some(events.clone());
    lab.restart(text);
    (lab, events)
}

/// An image of one large layer.
fn put_image(lab: &Fixture, tag: &str, layer: &str) {
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{layer}","size":{LARGE}}}]}}"#);
    lab.registry.put_manifest("a/b", tag, OCI_MANIFEST, manifest);
}

#[tokio::test(start_paused = true)]
async fn manifests_alone_fetch_no_more_into_the_store_than_all_may_have() {
    let (lab, events) = function("[guard.total]\nbytes_per_day='20MB'");
    let mut statuses = Vec::new();
    for number in 0..5 {
        let name = format!("t{number}");
        put_image(&lab, &name, &sha256(name.as_bytes()));
        statuses.push(lab.get(&format!("/v2/a/b/manifests/{name}")).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(events.taken.lock().unwrap().len(), 3, "21 MB");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_into_the_store_counts_once_whichever_instance_goes_on() {
    let text = "[guard.total]\nbytes_per_day='10MB'";
    let (mut lab, events) = function(text);
    let layer = lab.registry.put_blob("a/b", noise(LARGE));
    put_image(&lab, "v1", &layer);
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(2_500_000, Duration::from_mins(5)));
    let begun = || events.taken.lock().unwrap().len();
    assert_eq!((tag(&lab, "192.0.2.1").await, begun()), (200, 1));
    let event = events.taken.lock().unwrap()[0].clone();
    // It runs out of time, and begins the next.
    assert_eq!(lab.proxy.event(&event, Duration::from_secs(40)).await, Ok(()));
    assert_eq!(begun(), 2);
    for _ in 0..2 {
        lab.proxy.close(Duration::from_secs(5)).await;
        lab.restart(text);
        assert_eq!(tag(&lab, "192.0.2.1").await, 200, "7 MB, and not 14");
    }
    assert_eq!(begun(), 4);
}
