//! Lists of tags and referrers are remembered for seconds.

use registry_proxy_core::testing::Fault;

use super::image;
use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of};

#[tokio::test(start_paused = true)]
async fn a_list_is_asked_for_once_in_its_time_and_each_page_by_itself() {
    let lab = Fixture::caching("[cache]\nlisting_ttl='30s'");
    image(&lab, "1");
    lab.registry.put_manifest("a/b", "v2", OCI_MANIFEST, manifest_of(10));
    let (all, page) = ("/v2/a/b/tags/list", "/v2/a/b/tags/list?n=1");
    let first = lab.get(all).await;
    assert_eq!(lab.get(page).await.done(), "filled");
    let again = lab.get(all).await;
    assert_eq!((again.done(), &again.body), ("hit", &first.body));
    assert_eq!(lab.get(page).await.header("link"), "</v2/a/b/tags/list?n=1&last=v1>; rel=\"next\"");
    assert_eq!(lab.net.sent("GET", "tags/list").len(), 2);
    lab.registry.put_manifest("a/b", "v3", OCI_MANIFEST, manifest_of(11));
    lab.wait(30).await;
    assert_eq!(lab.get(all).await.json()["tags"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_the_list_that_was() {
    let lab = Fixture::caching("");
    image(&lab, "1");
    let before = lab.get("/v2/a/b/tags/list").await;
    lab.wait(60).await;
    lab.net.fault("*", "", 99, Fault::Refuse);
    let seen = lab.get("/v2/a/b/tags/list").await;
    assert_eq!((seen.status.as_u16(), seen.done(), seen.body.clone()), (200, "stale", before.body));
}

#[tokio::test(start_paused = true)]
async fn one_clients_list_is_not_anothers() {
    let lab = Fixture::caching("[clients]\nauth='upstream'").with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/b", &["alice"]);
    image(&lab, "1");
    let alice = lab.login("alice", "wonder").await;
    let bobs = lab.login("bob", "builder").await;
    assert_eq!(lab.get("/v2/a/b/tags/list").bearer(&alice).await.status, 200);
    assert_eq!(lab.get("/v2/a/b/tags/list").bearer(&alice).await.done(), "hit");
    assert_eq!(lab.get("/v2/a/b/tags/list").bearer(&bobs).await.status, 403);
}
