//! The ways to an upstream, and what lies beside them.

use registry_proxy_core::testing::Registry;

use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of, upstream};

fn two() -> Fixture {
    let other =
        "[[upstream]]\nname='other.example'\nurls=['https://origin.other.test:8443/base']\nhosts=['o.example']";
    let lab = Fixture::new(&format!("{}\n{other}", upstream("")));
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let registry = Registry::default();
    registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(20));
    lab.net.serve("https://origin.other.test:8443/base", registry);
    lab
}

#[tokio::test(start_paused = true)]
async fn every_form_of_address_finds_its_registry() {
    let lab = two();
    for (host, path, size) in [
        ("proxy.example", "/v2/a/b/manifests/v1", 10),
        ("proxy.example", "/v2/reg.example/a/b/manifests/v1", 10),
        ("proxy.example", "/v2/other.example/a/b/manifests/v1", 20),
        ("proxy.example", "/other.example/v2/a/b/manifests/v1", 20),
        ("proxy.example", "/other.example/a/b/manifests/v1", 20),
        ("proxy.example", "/v2/a/b/manifests/v1?ns=other.example", 20),
        ("proxy.example", "/v2/a/b/manifests/v1?ns=OTHER.example", 20),
        ("proxy.example", "/v2/other.example/a/b/manifests/v1?ns=other.example", 20),
        ("o.example", "/v2/a/b/manifests/v1", 20),
        ("O.example:443", "/v2/a/b/manifests/v1", 20),
    ] {
        let seen = lab.get(path).header("host", host).await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(size)), "{host} {path}");
    }
    assert!(lab.net.lines().iter().all(|line| !line.contains("ns=")), "P-07");
}

#[tokio::test(start_paused = true)]
async fn ns_is_repeated_only_where_it_chose() {
    let lab = two();
    assert_eq!(lab.get("/v2/a/b/manifests/v1?ns=other.example").await.header("oci-namespace"), "other.example");
    assert_eq!(lab.get("/v2/other.example/a/b/manifests/v1?ns=other.example").await.header("oci-namespace"), "");
}

#[tokio::test(start_paused = true)]
async fn a_prefix_and_another_ns_contradict_each_other() {
    let lab = two();
    assert!(lab.get("/v2/other.example/a/b/manifests/v1?ns=reg.example").await.is(400, "NAME_INVALID"));
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_path_secret_opens_and_its_absence_looks_like_nothing() {
    let lab = Fixture::new("[clients]\npath_secret_file='secret'");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    for path in [
        "/v2/what-is-in-secret/a/b/manifests/v1",
        "/what-is-in-secret/v2/a/b/manifests/v1",
        "/v2/what-is-in-secret/reg.example/a/b/manifests/v1",
    ] {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
    }
    lab.net.forget();
    for path in [
        "/v2/a/b/manifests/v1",
        "/v2/reg.example/a/b/manifests/v1",
        "/v2/wrong/a/b/manifests/v1",
        "/reg.example/v2/a/b/manifests/v1",
        "/reg.example/a/b/manifests/v1",
    ] {
        assert_eq!(lab.get(path).await.status, 404, "{path}");
    }
    assert!(lab.net.log().is_empty());
    assert_eq!(lab.get("/v2/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_ping_is_the_same_in_every_form() {
    let lab = two();
    for path in ["/v2/", "/v2", "/reg.example/v2/", "/reg.example/v2"] {
        let seen = lab.get(path).await;
        assert_eq!((seen.status.as_u16(), &seen.body[..]), (200, &b"{}"[..]), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn k3s_paths_carry_the_api_version_too() {
    let lab = two();
    let seen = lab.get("/reg.example/a/b/manifests/v1").await;
    assert_eq!(seen.header("docker-distribution-api-version"), "registry/2.0");
}

#[tokio::test(start_paused = true)]
async fn methods_that_mean_nothing_are_refused() {
    let lab = two();
    for call in [lab.put("/v2/"), lab.post("/"), lab.delete("/v2/_catalog")] {
        assert_eq!(call.await.status, 405);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_with_the_path_of_the_registry_api_is_asked_below_it_once() {
    for url in ["https://other.test/v2/", "https://other.test/v2"] {
        let lab = Fixture::new(&format!("[[upstream]]\nname='other.example'\nurls=['{url}']\ndefault=true"));
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
        lab.net.serve("https://other.test", lab.registry.clone());
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200);
        assert_eq!(lab.net.lines(), ["GET https://other.test/v2/a/b/manifests/v1"]);
    }
}
