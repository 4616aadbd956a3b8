//! `clients.auth = "upstream"`: bytes are shared, access is not.

use registry_proxy_core::testing::Fault;

use super::image;
use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of};

const MODE: &str = "[clients]\nauth='upstream'";
const SECRET: &str = "/v2/a/b/manifests/v1";

fn town() -> (Fixture, String, String) {
    let lab = Fixture::caching(MODE).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/b", &["alice"]);
    let (digest, layer) = image(&lab, "1");
    lab.registry.put_manifest("a/public", "v1", OCI_MANIFEST, manifest_of(5));
    (lab, digest, layer)
}

#[tokio::test(start_paused = true)]
async fn what_alice_has_pulled_is_not_bobs() {
    let (lab, digest, layer) = town();
    let alice = lab.login("alice", "wonder").await;
    let bobs = lab.login("bob", "builder").await;
    let public = lab.login_for("bob", "builder", "repository:a/public:pull").await;
    let nobody = lab.anonymous().await;
    let paths = [SECRET.to_owned(), format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}")];
    for path in &paths {
        assert_eq!(lab.get(path).bearer(&alice).await.status, 200);
    }
    for path in &paths {
        assert_eq!(lab.get(path).bearer(&alice).await.done(), "hit", "{path}");
        for call in [lab.get(path).bearer(&bobs), lab.get(path).bearer(&nobody), lab.head(path).bearer(&bobs)] {
            let seen = call.await;
            assert!(matches!(seen.status.as_u16(), 401 | 403 | 404), "{path} {seen:?}");
        }
        let seen = lab.get(path).bearer(&bobs).header("range", "bytes=0-9").await;
        assert!(matches!(seen.status.as_u16(), 401 | 403 | 404), "{path} {seen:?}");
    }
    for path in [format!("/v2/a/public/manifests/{digest}"), format!("/v2/a/public/blobs/{layer}")] {
        assert_eq!(lab.get(&path).bearer(&public).await.status, 404, "nor by another repository's name");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_does_not_outlive_a_token_and_a_refusal_ends_it() {
    let (lab, digest, _) = town();
    let path = format!("/v2/a/b/manifests/{digest}");
    let alice = lab.login("alice", "wonder").await;
    lab.get(SECRET).bearer(&alice).await;
    assert_eq!(lab.get(&path).bearer(&alice).await.done(), "hit");
    lab.wait(61).await;
    assert_eq!(lab.get(&path).bearer(&alice).await.done(), "revalidated", "asked again");
    // Her right is taken away: the next question ends it, for every way to the same bytes.
    lab.registry.make_private("a/b", &["somebody"]);
    lab.registry.revoke_tokens();
    lab.wait(61).await;
    assert_eq!(lab.get(SECRET).bearer(&alice).await.status, 403);
    assert_eq!(lab.get(&path).bearer(&alice).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_layer_is_asked_about_when_the_grant_is_over() {
    let (lab, _, layer) = town();
    let alice = lab.login("alice", "wonder").await;
    let path = format!("/v2/a/b/blobs/{layer}");
    assert_eq!(lab.get(&path).bearer(&alice).await.done(), "filled");
    for range in ["", "bytes=0-9"] {
        lab.wait(61).await;
        let call = lab.get(&path).bearer(&alice);
        let seen = if range.is_empty() { call.await } else { call.header("range", range).await };
        assert_eq!(seen.header("x-registry-proxy"), "revalidated; why=\"access confirmed\"", "{range}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_names_anothers_blob_does_not_open_it() {
    let (lab, _, layer) = town();
    let alice = lab.login("alice", "wonder").await;
    lab.get(&format!("/v2/a/b/blobs/{layer}")).bearer(&alice).await;
    // Bob writes a manifest of his own that names alice's layer, in a repository that he may read.
    let text = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{layer}"}},"layers":[]}}"#);
    lab.registry.put_manifest("b/own", "v1", OCI_MANIFEST, text);
    let bobs = lab.login_for("bob", "builder", "repository:b/own:pull").await;
    assert_eq!(lab.get("/v2/b/own/manifests/v1").bearer(&bobs).await.status, 200);
    assert_eq!(lab.get(&format!("/v2/b/own/blobs/{layer}")).bearer(&bobs).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_outage_opens_nothing_to_whoever_was_not_let_in() {
    let (lab, digest, layer) = town();
    let alice = lab.login("alice", "wonder").await;
    let bobs = lab.login("bob", "builder").await;
    for path in [SECRET.to_owned(), format!("/v2/a/b/blobs/{layer}")] {
        lab.get(&path).bearer(&alice).await;
    }
    lab.net.fault("*", "", 999, Fault::Refuse);
    lab.wait(59).await;
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).bearer(&alice).await.status, 200);
    for path in [SECRET.to_owned(), format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}")] {
        let seen = lab.get(&path).bearer(&bobs).await;
        assert!(seen.status.is_server_error(), "{path} {seen:?}");
    }
}
