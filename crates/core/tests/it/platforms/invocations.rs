//! Where the platform begins invocations of its own for what no answer carries.

use std::sync::{Mutex, PoisonError};

use registry_proxy_core::platform::{Invoke, InvokeError};
use registry_proxy_core::testing::PassingStore;
use registry_proxy_core::{EventError, Proxy};

use super::*;
use crate::fixture::OCI_MANIFEST;

/// Takes events, as the platform does.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) taken: Mutex<Vec<String>>,
    fails: bool,
}

#[async_trait::async_trait]
impl Invoke for Events {
    async fn invoke(&self, event: String) -> Result<(), InvokeError> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        if self.fails { Err(InvokeError("no right to".into())) } else { Ok(()) }
    }
}

fn with_events(profile: Profile, fails: bool) -> (Scene, Arc<Events>) {
    let mut scene = scene(profile);
    let events = Arc::new(Events { fails, ..Events::default() });
    scene.lab.platform.invoker = Some(events.clone());
    scene.lab.restart("");
    (scene, events)
}

#[tokio::test(start_paused = true)]
async fn an_invocation_of_its_own_begins_with_the_manifest() {
    let (scene, events) = with_events(Profile::AwsLambda, false);
    let few = scene.lab.registry.put_blob("a/b", noise(1000));
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{few}","size":1000}},"layers":[{{"digest":"{}","size":{LARGE}}}]}}"#,
        scene.digest
    );
    scene.lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
    assert_eq!(scene.lab.get("/v2/a/b/manifests/v1").await.status, 200);
    let taken = events.taken.lock().unwrap().clone();
    let [event] = taken.as_slice() else { panic!("only for what is large: {taken:?}") };
    assert!(event.contains(scene.digest.as_str()), "{event}");
    // The client asks for the layer; the invocation runs beside it.
    let proxy: Arc<Proxy> = Arc::clone(&scene.lab.proxy);
    let (seen, done) =
        tokio::join!(async { scene.lab.get(&scene.path).await }, proxy.event(event, Duration::from_mins(15)));
    assert_eq!(done, Ok(()));
    assert!(leads_into_the_store(&seen), "{seen:?}");
    assert_eq!(events.taken.lock().unwrap().len(), 1, "one is at it already");
    assert_eq!(scene.stored().await.unwrap(), content());
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_runs_out_of_time_begins_the_next() {
    let (scene, events) = with_events(Profile::AwsLambda, false);
    scene.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(2_500_000, Duration::from_mins(5)));
    let event = format!(
        r#"{{"registry-proxy/ingest":{{"upstream":"reg.example","repository":"a/b","digest":"{}","total":{LARGE}}}}}"#,
        scene.digest
    );
    assert_eq!(scene.lab.proxy.event(&event, Duration::from_secs(40)).await, Ok(()));
    assert_eq!(*events.taken.lock().unwrap(), std::slice::from_ref(&event));
    assert_eq!(scene.lab.proxy.event(&event, Duration::from_secs(40)).await, Ok(()));
    assert_eq!(scene.stored().await.unwrap(), content());
    assert_eq!(scene.bytes_asked(), ["bytes=0-6999999", "bytes=2500000-6999999"]);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_gets_no_farther_begins_no_other() {
    let (scene, events) = with_events(Profile::AwsLambda, false);
    let event = format!(
        r#"{{"registry-proxy/ingest":{{"upstream":"reg.example","repository":"a/b","digest":"{}","total":{LARGE}}}}}"#,
        scene.digest
    );
    assert_eq!(scene.lab.proxy.event(&event, Duration::ZERO).await, Ok(()));
    assert!(events.taken.lock().unwrap().is_empty());
    // Its lease is given back beside it.
    scene.lab.wait(1).await;
    // The time that AWS gives a function that names none.
    scene.lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(0, Duration::from_mins(5)));
    assert_eq!(scene.lab.proxy.event(&event, Duration::from_secs(3)).await, Ok(()));
    assert_eq!(scene.bytes_asked().len(), 1);
    assert!(events.taken.lock().unwrap().is_empty());
    scene.lab.wait(1).await;
    // It does what it can.
    assert_eq!(scene.lab.proxy.event(&event, Duration::from_secs(3)).await, Ok(()));
    assert_eq!(scene.stored().await.unwrap(), content());
}

#[tokio::test(start_paused = true)]
async fn an_invocation_waits_as_long_as_the_store_itself_for_a_part_to_be_taken() {
    // Two parts, each of which takes as long as a bucket may take for putting parts together.
    let slow = bucket().in_parts_of(4 << 20).taking(Duration::from_mins(5));
    let scene = scene_on(Profile::AwsLambda, "", slow);
    let event = format!(
        r#"{{"registry-proxy/ingest":{{"upstream":"reg.example","repository":"a/b","digest":"{}","total":{LARGE}}}}}"#,
        scene.digest
    );
    assert_eq!(scene.lab.proxy.event(&event, Duration::from_mins(15)).await, Ok(()));
    assert_eq!(scene.stored().await.unwrap(), content());
    assert_eq!(scene.bytes_asked().len(), 1, "it was fetched once");
}

/// All instances that there may be are held by requests like this one.
#[tokio::test(start_paused = true)]
async fn an_invocation_that_does_not_come_is_not_waited_for() {
    let (scene, events) = with_events(Profile::AwsLambda, false);
    let begun = scene.lab.now();
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
    let held = scene.lab.now().since(begun);
    assert!(held < Duration::from_secs(5), "held for {held:?}");
    assert_eq!(events.taken.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_no_invocation_can_be_begun_the_request_does_the_work() {
    let (scene, events) = with_events(Profile::AwsLambda, true);
    assert!(leads_into_the_store(&scene.lab.get(&scene.path).await));
    assert_eq!(events.taken.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_refused_where_no_store_takes_blobs_part_by_part() {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let whole_only: Arc<dyn Store> = Arc::new(PassingStore::new(memory));
    for store in [None, Some(whole_only)] {
        let lab = Fixture::set_up(&Setup { profile: Profile::AwsLambda, store, ..Setup::default() });
        let digest = lab.registry.put_blob("a/b", content());
        let event = format!(
            r#"{{"registry-proxy/ingest":{{"upstream":"reg.example","repository":"a/b","digest":"{digest}","total":{LARGE}}}}}"#
        );
        assert_eq!(lab.proxy.event(&event, Duration::from_mins(1)).await, Err(EventError::NoStore));
        assert!(lab.net.sent("GET", "/blobs/").is_empty(), "nothing is fetched in vain");
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_others_are_refused() {
    let (scene, _) = with_events(Profile::AwsLambda, false);
    let event = |upstream: &str, digest: &str| {
        format!(
            r#"{{"registry-proxy/ingest":{{"upstream":"{upstream}","repository":"a/b","digest":"{digest}","total":7}}}}"#
        )
    };
    for (event, expected) in [
        ("{}".to_owned(), EventError::Foreign),
        (event("evil.example", scene.digest.as_str()), EventError::Unserved),
        (event("reg.example", "sha256:x"), EventError::Unserved),
    ] {
        assert_eq!(scene.lab.proxy.event(&event, Duration::from_mins(1)).await, Err(expected), "{event}");
    }
}
