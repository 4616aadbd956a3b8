//! One blob at several upstreams, of which one is wrong or away.

use registry_proxy_core::testing::Registry;

use super::*;
use crate::fixture::upstream;

const OTHER: &str = "https://other.example.net";

fn two() -> (Fixture, String, String) {
    let other = format!("[[upstream]]\nname='other.example'\nurls=['{OTHER}']");
    let lab = Fixture::caching(&format!("{}\n{other}", upstream("")));
    let digest = lab.registry.put_blob("a/b", content());
    let registry = Registry::default();
    registry.put_blob("a/b", content());
    lab.net.serve(OTHER, registry);
    (lab, format!("/v2/a/b/blobs/{digest}"), format!("/v2/other.example/a/b/blobs/{digest}"))
}

#[tokio::test(start_paused = true)]
async fn a_range_of_another_upstream_is_not_believed() {
    let (lab, path, other) = two();
    let wrong = bytes::Bytes::from(vec![7; 100]);
    let answer = Answer::new(206).header("content-range", "bytes 0-99/100").body(wrong.clone());
    lab.net.fault("GET", OTHER, 1, Fault::Say(answer));
    let seen = lab.get(&other).header("range", "bytes=0-99").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, wrong));
    lab.wait(1).await;
    let seen = lab.get(&path).header("range", "bytes=0-99").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(..100)));
    let seen = lab.get(&path).header("range", "bytes=2000-2099").await;
    assert_eq!((seen.status.as_u16(), seen.body.clone()), (206, content().slice(2000..2100)), "no 416 either");
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.body.len(), seen.end);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_upstream_is_not_anothers() {
    let (lab, path, other) = two();
    lab.net.fault("GET", OTHER, 99, Fault::SayLate(Duration::from_secs(1), Answer::new(500)));
    let fails = join_all((0..4).map(|_| async { lab.get(&other).await }));
    let waits = async {
        lab.wait(0).await;
        lab.get(&path).await
    };
    let (failed, seen) = tokio::join!(fails, waits);
    assert!(failed.iter().all(|seen| seen.status == 504 || seen.status == 200), "{failed:?}");
    assert!(seen.status == 200 && seen.body == content(), "{} {:?}", seen.status, seen.end);
}
