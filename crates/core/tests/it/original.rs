//! `REGISTRY_BACKEND`, as the original project had it.

use registry_proxy_core::testing::{Answer, Fault, Sent};

use crate::fixture::{Fixture, OCI_MANIFEST, ORIGIN, STORAGE, Setup, manifest_of, noise};

/// A fixture before the backend alone, with these variables besides; and the path of a blob in its storage.
fn backend(variables: &[(&str, &str)]) -> (Fixture, String) {
    backend_with("", variables)
}

/// With more configuration besides.
fn backend_with(text: &str, variables: &[(&str, &str)]) -> (Fixture, String) {
    let mut all = vec![("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", "https://cdn.up.example.com")];
    all.extend(variables);
    let lab = Fixture::set_up(&Setup { text, variables: &all, ..Setup::default() });
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let blob = lab.registry.put_blob("a/b", noise(3000));
    lab.registry.redirect_blobs(STORAGE);
    (lab, format!("/v2/a/b/blobs/{blob}"))
}

#[tokio::test(start_paused = true)]
async fn redirects_are_rewritten_to_our_host_and_to_the_byte() {
    let (lab, path) = backend(&[]);
    let digest = path.rsplit('/').next().unwrap();
    for (host, base) in
        [("proxy.example", "https://proxy.example"), ("proxy.example:3000", "https://proxy.example:3000")]
    {
        let seen = lab.get(&path).header("host", host).await;
        assert_eq!(seen.status, 307);
        assert_eq!(seen.header("location"), format!("{base}/store/a/b/{digest}?sig=a%2Fb+'c'%3D"));
    }
    let seen = lab.get(&path).in_the_clear().await;
    assert!(seen.header("location").starts_with("http://proxy.example/store/"));
}

#[tokio::test(start_paused = true)]
async fn where_not_everybody_may_come_redirects_are_sealed_and_nothing_lies_outside_v2() {
    for (text, prefix) in [
        ("[clients]\nauth='users'\nusers_file='u'", ""),
        ("[clients]\npath_secret_file='s3cret'", "/what-is-in-s3cret"),
    ] {
        let (lab, path) = backend_with(text, &[]);
        let path = format!("{prefix}{path}");
        let token = if prefix.is_empty() { lab.login("alice", "wonder").await } else { "none".to_owned() };
        let seen = lab.get(&path).bearer(&token).await;
        let location = seen.header("location").to_owned();
        assert!(location.starts_with(&format!("https://proxy.example{path}?_t=")), "{seen:?}");
        assert!(!location.contains("sig") && !location.contains("store"), "{location}");
        let location = location.replace("https://proxy.example", "");
        assert_eq!(lab.get(&location).bearer(&token).await.body, noise(3000));
        if prefix.is_empty() {
            assert_eq!(lab.get(&location).await.status, 401, "an address is no login");
        } else {
            assert_eq!(lab.get(location.trim_start_matches(prefix)).await.status, 404);
        }
        lab.net.forget();
        let digest = path.rsplit('/').next().unwrap();
        for outside in [format!("/store/a/b/{digest}"), format!("{prefix}/store/a/b/{digest}")] {
            let seen = lab.get(&outside).bearer(&token).await;
            assert!(seen.body != noise(3000), "{outside}: {seen:?}");
        }
        assert!(lab.net.log().is_empty(), "{:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_outside_v2_is_fetched_from_the_storage_to_the_byte_and_without_a_login() {
    let (lab, path) = backend(&[]);
    let location = lab.get(&path).await.header("location").replace("https://proxy.example", "");
    lab.net.forget();
    let seen = lab
        .get(&location)
        .header("authorization", "Bearer x")
        .header("cookie", "a=b")
        .header("range", "bytes=10-19")
        .await;
    assert_eq!((seen.status.as_u16(), &seen.body), (206, &noise(3000).slice(10..20)));
    let sent = &lab.net.log()[0];
    assert_eq!(sent.url, format!("https://cdn.up.example.com{location}"));
    assert_eq!(
        (sent.header("authorization"), sent.header("cookie"), sent.header("range")),
        ("", "", "bytes=10-19")
    );
    let seen = lab.get(&location).await;
    assert_eq!((seen.status.as_u16(), &seen.body, seen.header("content-length")), (200, &noise(3000), "3000"));
}

#[tokio::test(start_paused = true)]
async fn odd_paths_and_queries_reach_the_storage_unchanged() {
    let (lab, _) = backend(&[]);
    lab.net.serve("https://cdn.up.example.com/", |_: &Sent| Answer::new(200).body("x"));
    for path in [
        "/a%2Fb//c/%7Ed?x=%2F%2f+y&&z",
        "/docker/registry/v2/blobs/sha256/ab/data?X-Amz-Signature=a%3D",
        "/x/?",
        "/x?sig='a'",
    ] {
        lab.net.forget();
        assert_eq!(lab.get(path).await.status, 200, "{path}");
        assert_eq!(lab.net.log()[0].url, format!("https://cdn.up.example.com{path}"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_storage_is_read_and_never_written() {
    let (lab, _) = backend(&[]);
    for call in
        [lab.post("/store/x"), lab.put("/store/x").body("x"), lab.delete("/store/x"), lab.patch("/store/x")]
    {
        assert_eq!(call.await.status, 405);
    }
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_head_at_the_storage_has_no_body() {
    let (lab, _) = backend(&[]);
    lab.net.serve("https://cdn.up.example.com/y", |_: &Sent| Answer::new(200).body("12345"));
    let seen = lab.head("/y").await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "5"));
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_storage_is_504() {
    for fault in
        [Fault::Refuse, Fault::Silence, Fault::Say(Answer::new(500)), Fault::Say(Answer::new(502).body("<html>"))]
    {
        let (lab, _) = backend(&[]);
        lab.net.fault("*", "cdn.up.example.com", 9, fault);
        assert!(lab.get("/store/x").await.is(504, "UNAVAILABLE"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_the_storage_that_breaks_goes_on_or_ends_short_and_with_an_error() {
    for fault in [Fault::BreakAfter(1000), Fault::EndAfter(1000)] {
        let (lab, path) = backend(&[]);
        let location = lab.get(&path).await.header("location").replace("https://proxy.example", "");
        lab.net.fault("GET", "cdn.up.example.com", 1, fault);
        let seen = lab.get(&location).await;
        assert!(seen.end.is_ok() && seen.body.len() == 3000, "P-115: {} bytes", seen.body.len());

        lab.net.fault("GET", "cdn.up.example.com", 1, Fault::BreakAfter(1000));
        lab.net.fault("GET", "cdn.up.example.com", 99, Fault::Refuse);
        let seen = lab.get(&location).await;
        assert!(seen.end.is_err() && seen.body.len() == 1000, "P-108, P-116: {} bytes", seen.body.len());
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_pass_where_they_are_not_to_be_proxied() {
    let (lab, path) = backend(&[("PROXY_REDIRECT", "false")]);
    let digest = path.rsplit('/').next().unwrap();
    let seen = lab.get(&path).await;
    assert_eq!(
        (seen.status.as_u16(), seen.header("location")),
        (307, &*format!("{STORAGE}/a/b/{digest}?sig=a%2Fb+'c'%3D"))
    );
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_where_they_are_to_be_handled() {
    for proxy_redirect in ["true", "false"] {
        let (lab, path) = backend(&[("HANDLE_REDIRECT", "true"), ("PROXY_REDIRECT", proxy_redirect)]);
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_host_than_the_storage_passes() {
    let (lab, path) = backend(&[]);
    lab.net.fault(
        "GET",
        "/blobs/",
        1,
        Fault::Say(Answer::new(307).header("location", "https://third.example/x?y")),
    );
    assert_eq!(lab.get(&path).await.header("location"), "https://third.example/x?y");
}

#[tokio::test(start_paused = true)]
async fn heads_and_manifests_are_never_redirected() {
    for variables in [&[][..], &[("PROXY_REDIRECT", "false")], &[("HANDLE_REDIRECT", "true")]] {
        let (lab, path) = backend(variables);
        let seen = lab.head(&path).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "3000"), "{variables:?}");
        let manifest = Answer::new(200).header("content-type", OCI_MANIFEST).body(manifest_of(10));
        lab.net.serve("https://cdn.up.example.com/m", move |_: &Sent| manifest.clone());
        lab.net.fault(
            "*",
            "/manifests/",
            9,
            Fault::Say(Answer::new(307).header("location", "https://cdn.up.example.com/m")),
        );
        let seen = lab.get("/v2/a/b/manifests/v1").await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(10)), "{variables:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_private_or_plain_http_is_trusted_in_every_mode() {
    for storage in ["http://minio:9000", "https://10.0.0.5", "https://minio.corp.example"] {
        for mode in [&[][..], &[("PROXY_REDIRECT", "false")], &[("HANDLE_REDIRECT", "true")]] {
            let variables =
                [&[("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", storage)][..], mode].concat();
            let lab = Fixture::set_up(&Setup { variables: &variables, ..Setup::default() });
            let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(3000)));
            lab.registry.redirect_blobs(&format!("{storage}/store"));
            lab.net.serve(storage, lab.registry.clone());
            lab.net.make_private(storage);
            let manifest = Answer::new(200).header("content-type", OCI_MANIFEST).body(manifest_of(10));
            lab.net.serve(&format!("{storage}/m"), move |_: &Sent| manifest.clone());

            let seen = lab.head(&path).await;
            assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "3000"), "{storage} {mode:?}");
            let moved = Answer::new(307).header("location", &format!("{storage}/m"));
            lab.net.fault("*", "/manifests/", 9, Fault::Say(moved));
            let seen = lab.get("/v2/a/b/manifests/v1").await;
            assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(10)), "{storage} {mode:?}");
            if mode.contains(&("HANDLE_REDIRECT", "true")) {
                lab.net.fault("GET", storage, 1, Fault::BreakAfter(1000));
                let seen = lab.get(&path).await;
                assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)), "{storage}, resumed");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_never_read_as_hosts() {
    let (lab, _) = backend(&[]);
    lab.registry.put_manifest("ghcr.io/x", "v1", OCI_MANIFEST, manifest_of(10));
    assert_eq!(lab.get("/v2/ghcr.io/x/manifests/v1?ns=quay.io").await.status, 200);
    assert_eq!(lab.net.lines(), [format!("GET {ORIGIN}/v2/ghcr.io/x/manifests/v1")]);
}

#[tokio::test(start_paused = true)]
async fn without_a_storage_host_of_its_own_the_backend_is_the_storage() {
    let lab = Fixture::set_up(&Setup { variables: &[("REGISTRY_BACKEND", ORIGIN)], ..Setup::default() });
    lab.net.serve("https://origin.up.example.com/files/", |_: &Sent| Answer::new(200).body("file"));
    assert_eq!(&lab.get("/files/x?y=%2F").await.body[..], b"file");
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(10)));
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(302).header("location", "/files/x?y=%2F")));
    assert_eq!(lab.get(&path).await.header("location"), "https://proxy.example/files/x?y=%2F");
}

#[tokio::test(start_paused = true)]
async fn pushes_are_off() {
    let (lab, _) = backend(&[]);
    assert!(lab.post("/v2/a/b/blobs/uploads/").await.is(405, "UNSUPPORTED"));
}
