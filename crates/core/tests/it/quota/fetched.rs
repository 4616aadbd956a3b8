//! What is fetched into the store by invocations of the platform, before anybody takes it.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::EventError;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Profile;
use registry_proxy_core::testing::{Fault, sha256};

use super::tag;
use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, noise};
use crate::platforms::invocations::Events;

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
async fn manifests_alone_begin_no_more_than_all_may_have_and_refuse_nobody() {
    let (lab, events) = function("[quota.total]\nbytes_per_day='20MB'");
    let mut statuses = Vec::new();
    for number in 0..5 {
        let name = format!("t{number}");
        put_image(&lab, &name, &sha256(name.as_bytes()));
        statuses.push(lab.get(&format!("/v2/a/b/manifests/{name}")).await.status.as_u16());
    }
    assert_eq!(statuses, [200; 5], "nothing has come yet");
    assert_eq!(events.taken.lock().unwrap().len(), 3, "21 MB");
}

#[tokio::test(start_paused = true)]
async fn what_a_manifest_promises_is_not_what_is_counted() {
    let (lab, events) = function("[quota.total]\nbytes_per_day='20MB'");
    for (number, size) in [900_000_000_u64, 9_000_000_000_000_000, u64::MAX].into_iter().enumerate() {
        let (tag, layer) = (format!("t{number}"), sha256(&[u8::try_from(number).unwrap()]));
        let manifest = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{layer}","size":{size}}}]}}"#);
        lab.registry.put_manifest("a/b", &tag, OCI_MANIFEST, manifest);
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{tag}")).await.status, 200);
    }
    assert_eq!(events.taken.lock().unwrap().len(), 1, "what no store of this size holds is not begun");
    assert_eq!(tag(&lab, "192.0.2.1").await, 404, "nobody is refused");
    // That one fails, and it is over with its promise.
    let event = events.taken.lock().unwrap()[0].clone();
    assert_eq!(lab.proxy.event(&event, Duration::from_mins(15)).await, Err(EventError::Failed));
    lab.wait(61).await;
    put_image(&lab, "right", &lab.registry.put_blob("a/b", noise(LARGE)));
    assert_eq!(lab.get("/v2/a/b/manifests/right").await.status, 200);
    assert_eq!(events.taken.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_an_invocation_brings_is_counted_and_ends_what_may_be_had() {
    let (lab, events) = function("[quota.total]\nbytes_per_day='6MB'");
    put_image(&lab, "one", &lab.registry.put_blob("a/b", noise(LARGE)));
    put_image(&lab, "two", &sha256(b"two"));
    assert_eq!(lab.get("/v2/a/b/manifests/one").await.status, 200);
    let event = events.taken.lock().unwrap()[0].clone();
    assert_eq!(lab.proxy.event(&event, Duration::from_mins(15)).await, Ok(()));
    assert_eq!(lab.get("/v2/a/b/manifests/two").await.status, 429);
    assert_eq!(lab.proxy.event(&event, Duration::from_mins(15)).await, Err(EventError::Exhausted));
}

#[tokio::test(start_paused = true)]
async fn one_manifest_does_not_begin_hundreds() {
    let (lab, events) = function("");
    let layers: Vec<String> = (0..300_u32)
        .map(|number| format!(r#"{{"digest":"{}","size":{LARGE}}}"#, sha256(&number.to_be_bytes())))
        .collect();
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
    assert_eq!(tag(&lab, "192.0.2.1").await, 200);
    assert_eq!(events.taken.lock().unwrap().len(), 64);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_into_the_store_counts_once_whichever_instance_goes_on() {
    let text = "[quota.total]\nbytes_per_day='10MB'";
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
