//! Each request is counted, whatever becomes of it.

use std::sync::Mutex;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use registry_proxy_core::telemetry::REQUESTS;
use registry_proxy_core::testing::Fault;

use crate::fixture::Fixture;

/// Writes down what requests were counted as: `status outcome why`.
#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == REQUESTS {
            let label =
                |name| key.labels().find(|label| label.key() == name).map_or("", metrics::Label::value).to_owned();
            let line = ["endpoint", "status", "outcome", "why"].map(label).join(" ");
            self.0.lock().expect("nobody panicked").push(line);
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_leaves_before_the_answer_begins_is_counted_once_as_that() {
    let counted = Counted::default();
    let _guard = metrics::set_default_local_recorder(&counted);
    let (lab, _, blob) = Fixture::stocked("");
    let path = format!("/v2/a/b/blobs/{blob}");
    lab.net.fault("*", "/blobs/", 1, Fault::Silence);
    let gone = tokio::time::timeout(Duration::from_secs(1), async { lab.get(&path).await }).await;
    assert!(gone.is_err());
    assert_eq!(lab.get(&path).await.status, 200);
    assert_eq!(*counted.0.lock().unwrap(), ["blob 4xx abandoned client left", "blob 2xx relayed no store"]);
}
