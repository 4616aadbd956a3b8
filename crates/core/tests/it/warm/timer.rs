//! A timer of the platform calls: what the rules name is fetched, as far as there is time.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::platform::Profile;
use registry_proxy_core::testing::{Fault, NativeBodies, PassingStore, stored_nowhere};

use super::{fetched, single};
use crate::clock::TokioClock;
use crate::fixture::{Fixture, Setup, upstream};

const LIMIT: Duration = Duration::from_mins(10);

fn rules(platform: &str) -> String {
    let rule = |images: &str| format!("[[warm]]\nimages=[{images}]\nevery='24h'\n");
    format!("platform='{platform}'\n{}\n{}{}", upstream(""), rule("'a/one:v*'"), rule("'a/two:v1','a/none:v1'"))
}

fn config(text: &str) -> Config {
    let config = Config::load(&Sources { text: Some(text), variables: vec![], read: &stored_nowhere });
    config.expect("a configuration")
}

#[tokio::test(start_paused = true)]
async fn a_call_fetches_what_all_rules_name_and_the_next_one_nothing_twice() {
    let text = rules("aws-lambda");
    let lab = Fixture::caching(&text);
    single(&lab, "a/one", "v1", &[5000]);
    single(&lab, "a/two", "v1", &[6000]);
    let config = config(&text);
    for _ in 0..2 {
        let report = lab.proxy.warm_by_timer(&config, "linux/amd64", LIMIT).await;
        assert_eq!((report.rules, report.images, report.complete, report.is_ended), (2, 3, 2, true));
        assert_eq!((fetched(&lab, "/a/one/manifests/v1"), fetched(&lab, "/a/two/manifests/v1")), (1, 1));
    }
    assert_eq!(fetched(&lab, "/blobs/"), 4);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_a_call_is_left_to_the_next() {
    let text = rules("aws-lambda");
    let lab = Fixture::caching(&text);
    single(&lab, "a/one", "v1", &[5000]);
    let (_, two) = single(&lab, "a/two", "v1", &[6000]);
    lab.net.fault("GET", &two[1], 1, Fault::StallAfter(3000, Duration::from_secs(8)));
    let config = config(&text);
    let report = lab.proxy.warm_by_timer(&config, "linux/amd64", Duration::from_secs(3)).await;
    assert_eq!((report.rules, report.complete, report.is_ended), (1, 1, false));
    lab.wait(10).await;
    let report = lab.proxy.warm_by_timer(&config, "linux/amd64", Duration::from_secs(3)).await;
    assert_eq!((report.rules, report.complete, report.is_ended), (2, 2, true));
    assert_eq!(fetched(&lab, &two[1]), 1, "what was on its way has come meanwhile");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_without_a_call_where_no_process_runs_between_requests() {
    let text = rules("cloud-run");
    let lab = Fixture::caching(&text);
    single(&lab, "a/one", "v1", &[5000]);
    let config = config(&text);
    assert_eq!(lab.proxy.next_warming(&config, &[], LIMIT), LIMIT);
    Box::pin(lab.proxy.warm_scheduled(&config, &[], "linux/amd64")).await;
    assert_eq!(lab.net.sent("*", "/").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_called_too() {
    let store = Arc::new(PassingStore::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start()))));
    let mut lab = Fixture::set_up(&Setup {
        profile: Profile::CloudflareWorkers,
        isolated: true,
        store: Some(store),
        ..Setup::default()
    });
    lab.platform.transport = Arc::new(NativeBodies(lab.net.clone()));
    lab.restart("");
    single(&lab, "a/one", "v1", &[5000, 60_000]);
    single(&lab, "a/two", "v1", &[6000]);
    let report = lab.proxy.warm_by_timer(&config(&rules("cloudflare-workers")), "linux/amd64", LIMIT).await;
    assert_eq!((report.rules, report.images, report.complete, report.is_ended), (2, 3, 2, true));
}
