//! Manifests: their bytes, their types, their digests.

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault, sha256};

use crate::fixture::{DOCKER_MANIFEST, Fixture, OCI_INDEX, OCI_MANIFEST, STORAGE, manifest_of};

#[tokio::test(start_paused = true)]
async fn a_manifest_comes_by_tag_and_by_digest_to_the_byte() {
    let (lab, digest, _) = Fixture::stocked("");
    for reference in ["v1", &digest, &digest.replace(':', "%3A")] {
        let seen = lab.get(&format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(100)));
        assert_eq!((seen.header("content-type"), seen.header("docker-content-digest")), (OCI_MANIFEST, &*digest));
        assert_eq!(seen.header("content-length"), manifest_of(100).len().to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_named_by_its_digest_may_be_cached_for_ever_and_only_on_open_hosts() {
    let (lab, digest, _) = Fixture::stocked("");
    let of = async |lab: &Fixture, reference: &str, token: &str| {
        let call = lab.get(&format!("/v2/a/b/manifests/{reference}"));
        let call = if token.is_empty() { call } else { call.bearer(token) };
        call.await.header("cache-control").to_owned()
    };
    assert!(of(&lab, &digest, "").await.contains("immutable"));
    assert_eq!(of(&lab, "v1", "").await, "private, no-cache, no-transform");
    let (lab, digest, _) = Fixture::stocked("[clients]\nauth='users'\nusers_file='u'");
    let token = lab.login("alice", "wonder").await;
    assert_eq!(of(&lab, &digest, &token).await, "private, no-cache, no-transform");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_another_digest_is_504_and_not_200() {
    let (lab, digest, _) = Fixture::stocked("");
    lab.net.fault("GET", "/manifests/", 9, Fault::change(|answer| answer.body = manifest_of(101)));
    for reference in ["v1", &digest] {
        assert!(lab.get(&format!("/v2/a/b/manifests/{reference}")).await.is(504, "UNAVAILABLE"), "{reference}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_breaks_is_asked_for_once_more() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("GET", "/manifests/", 1, Fault::BreakAfter(20));
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.body, manifest_of(100));
    lab.net.fault("GET", "/manifests/", 9, Fault::BreakAfter(20));
    assert!(lab.get("/v2/a/b/manifests/v1").await.is(504, "UNAVAILABLE"));
    assert_eq!(lab.net.log().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_ends_short_is_never_served() {
    for at in [0, 1, 50, manifest_of(100).len() - 1] {
        let (lab, digest, _) = Fixture::stocked("");
        lab.net.fault("GET", "/manifests/", 9, Fault::EndAfter(at));
        for reference in ["v1", &digest] {
            assert!(lab.get(&format!("/v2/a/b/manifests/{reference}")).await.is(504, "UNAVAILABLE"), "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_ends_short_is_never_served_by_tag_either_where_its_digest_is_not_said() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault(
        "GET",
        "/manifests/",
        9,
        Fault::change(|answer| {
            answer.headers.remove("docker-content-digest");
            answer.body = answer.body.slice(..answer.body.len() - 1);
        }),
    );
    assert!(lab.get("/v2/a/b/manifests/v1").await.is(504, "UNAVAILABLE"), "the length said more");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_without_a_digest_header_gets_one() {
    let (lab, digest, _) = Fixture::stocked("");
    lab.net.fault(
        "*",
        "/manifests/",
        9,
        Fault::change(|answer| {
            answer.headers.remove("docker-content-digest");
        }),
    );
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.header("docker-content-digest"), digest);
    assert_eq!(lab.head("/v2/a/b/manifests/v1").await.header("docker-content-digest"), digest);
}

#[tokio::test(start_paused = true)]
async fn a_sha512_digest_is_answered_in_its_own_algorithm() {
    use std::fmt::Write as _;

    use sha2::Digest as _;
    let lab = Fixture::new("");
    let bytes = manifest_of(7);
    let mut hex = String::new();
    for byte in sha2::Sha512::digest(&bytes) {
        write!(hex, "{byte:02x}").unwrap();
    }
    let digest = format!("sha512:{hex}");
    lab.registry.put_manifest("a/b", &digest, OCI_MANIFEST, bytes.clone());
    let seen = lab.get(&format!("/v2/a/b/manifests/{digest}")).await;
    assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, &*digest));
    lab.net.fault("GET", "/manifests/", 9, Fault::change(|answer| answer.body = manifest_of(8)));
    assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 504);
}

#[tokio::test(start_paused = true)]
async fn a_schema_1_manifest_passes_with_the_digest_of_its_payload() {
    const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    // {"formatLength":23,"formatTail":"Cn0","time":"2015-01-01T00:00:00Z"}
    const PROTECTED: &str =
        "eyJmb3JtYXRMZW5ndGgiOjIzLCJmb3JtYXRUYWlsIjoiQ24wIiwidGltZSI6IjIwMTUtMDEtMDFUMDA6MDA6MDBaIn0";
    let signed = format!(
        "{{\n   \"schemaVersion\": 1,\n   \"signatures\": [{{\"signature\":\"x\",\"protected\":\"{PROTECTED}\"}}]\n}}"
    );
    let digest = sha256(b"{\n   \"schemaVersion\": 1\n}");
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let said = || {
            let answer =
                Answer::new(200).header("content-type", SCHEMA_1).header("docker-content-digest", &digest);
            answer.body(signed.clone())
        };
        lab.net.fault("*", "/manifests/", 6, Fault::Say(said()));
        for reference in ["v1", &digest, &digest] {
            let seen = lab.get(&format!("/v2/a/b/manifests/{reference}")).await;
            assert_eq!((seen.status.as_u16(), &seen.body[..]), (200, signed.as_bytes()), "{seen:?}");
            assert_eq!((seen.header("content-type"), seen.header("docker-content-digest")), (SCHEMA_1, &*digest));
            lab.wait(1).await;
        }
        assert_eq!(lab.net.log().len(), 3, "what does not have its digest as it stands is not kept");
        lab.net.heal();
        lab.net.fault("*", "/manifests/", 9, Fault::Say(said().body(signed.replace(": 1", ": 2"))));
        assert!(lab.get("/v2/a/b/manifests/v1").await.is(504, "UNAVAILABLE"), "another payload");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_not_vouched_for_by_a_digest_that_nobody_here_can_compute() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(100));
        let change = |answer: &mut Answer| {
            let foreign = format!("blake3:{}", "0".repeat(64));
            answer.headers.insert("docker-content-digest", foreign.parse().expect("a header's value"));
        };
        lab.net.fault("*", "/manifests/", 9, Fault::change(change));
        for call in [lab.head("/v2/a/b/manifests/v1"), lab.get("/v2/a/b/manifests/v1")] {
            let seen = call.await;
            assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, &*digest));
            assert_eq!(seen.header("etag"), format!("\"{digest}\""));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_from_a_get_where_the_upstreams_says_too_little() {
    for odd in [
        Answer::new(200).header("content-type", OCI_MANIFEST).without_length(),
        Answer::new(200).header("content-type", OCI_MANIFEST),
        Answer::new(405),
        Answer::new(501),
        Answer::new(400),
    ] {
        let (lab, digest, _) = Fixture::stocked("");
        lab.net.fault("HEAD", "/manifests/", 9, Fault::Say(odd.clone()));
        let seen = lab.head("/v2/a/b/manifests/v1").await;
        let length = manifest_of(100).len().to_string();
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, &*length), "{odd:?}");
        assert_eq!(seen.header("docker-content-digest"), digest, "{odd:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_with_all_headers_costs_no_get() {
    let (lab, _, _) = Fixture::stocked("");
    assert_eq!(lab.head("/v2/a/b/manifests/v1").await.status, 200);
    assert!(lab.net.sent("GET", "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_generic_type_gives_way_to_what_the_manifest_says() {
    for generic in ["application/json", "text/plain; charset=utf-8", "application/octet-stream"] {
        let lab = Fixture::new("");
        let body = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}"}}"#);
        lab.registry.put_manifest("a/b", "v1", generic, body);
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.header("content-type"), DOCKER_MANIFEST);
        assert_eq!(lab.head("/v2/a/b/manifests/v1").await.header("content-type"), DOCKER_MANIFEST);
    }
}

#[tokio::test(start_paused = true)]
async fn html_with_status_200_is_no_manifest() {
    let lab = Fixture::new("");
    lab.registry.put_manifest("a/b", "v1", "text/html", "<html>Sign in to the network</html>");
    assert!(lab.get("/v2/a/b/manifests/v1").await.is(504, "UNAVAILABLE"));
}

/// What registries, proxies and networks send in place of a manifest, under a manifest's type.
const NO_MANIFESTS: [&str; 9] = [
    "",
    "<html>Sign in to the network</html>",
    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
    r#"{"schemaVersion":2,"config":{},"layers":[{"digest":"sha256:"#,
    r#"{"schemaVersion":2,"config":{},"layers":[]} and more"#,
    "{}",
    "[]",
    "null",
    "\u{feff}",
];

#[tokio::test(start_paused = true)]
async fn what_is_no_manifest_is_neither_served_nor_cached_whatever_its_header_says() {
    for body in NO_MANIFESTS {
        for lab in [Fixture::new(""), Fixture::caching("")] {
            lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(100));
            let said = Answer::new(200).header("content-type", OCI_MANIFEST).body(body);
            // By tag without a digest, and by a digest that these bytes have.
            for reference in ["v1", &sha256(body.as_bytes())] {
                let path = format!("/v2/a/b/manifests/{reference}");
                lab.net.fault("*", &path, 1, Fault::Say(said.clone()));
                let seen = lab.get(&path).await;
                assert!(seen.is(504, "UNAVAILABLE"), "{body:?}: {seen:?}");
                assert_eq!(seen.header("x-registry-proxy"), "failed; why=\"no manifest\"", "{body:?}");
            }
            let seen = lab.get("/v2/a/b/manifests/v1").await;
            assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(100)), "kept for the tag: {body:?}");
            let seen = lab.get(&format!("/v2/a/b/manifests/{}", sha256(body.as_bytes()))).await;
            assert_eq!(seen.status, 404, "kept by its digest: {body:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_due_does_not_move_to_what_is_no_manifest() {
    for body in NO_MANIFESTS {
        let lab = Fixture::caching("");
        let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(100));
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.done(), "filled");
        lab.wait(61).await;
        let said = Answer::new(200).header("content-type", OCI_MANIFEST).body(body);
        lab.net.fault("*", "/manifests/", 99, Fault::Say(said));
        let seen = lab.get("/v2/a/b/manifests/v1").await;
        assert!(seen.is(504, "UNAVAILABLE"), "{body:?}: {seen:?}");
        lab.net.heal();
        let seen = lab.get("/v2/a/b/manifests/v1").await;
        assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (200, &*digest), "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstream_is_asked_for_every_type_whatever_the_client_lists() {
    let (lab, _, _) = Fixture::stocked("");
    let call = lab.get("/v2/a/b/manifests/v1").header("accept", DOCKER_MANIFEST).header("accept", OCI_MANIFEST);
    assert_eq!(call.await.status, 200);
    let accept = lab.net.log()[0].header("accept").to_owned();
    for media_type in [OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST] {
        assert!(accept.contains(media_type), "{accept}");
    }
    assert_eq!(lab.net.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_read_the_type_has_its_own_list_tried_by_tag() {
    let lab = Fixture::new("");
    let index = lab.registry.put_manifest("a/b", "v1", OCI_INDEX, r#"{"manifests":[]}"#);
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","layers":[]}}"#);
    let single = Answer::new(200).header("content-type", DOCKER_MANIFEST).body(text);
    lab.net.serve(
        "https://origin.up.example.com/v2/a/b/manifests/",
        move |sent: &registry_proxy_core::testing::Sent| {
            if sent.header("accept").contains(OCI_INDEX) {
                Answer::new(200).header("content-type", OCI_INDEX).body(r#"{"manifests":[]}"#)
            } else {
                single.clone()
            }
        },
    );
    let narrow = lab.get("/v2/a/b/manifests/v1").header("accept", DOCKER_MANIFEST).await;
    assert_eq!(narrow.header("content-type"), DOCKER_MANIFEST);
    let wide = lab.get("/v2/a/b/manifests/v1").header("accept", DOCKER_MANIFEST).header("accept", "*/*").await;
    assert_eq!(wide.header("content-type"), OCI_INDEX);
    let named = lab.get(&format!("/v2/a/b/manifests/{index}")).header("accept", DOCKER_MANIFEST).await;
    assert_eq!(named.header("content-type"), OCI_INDEX, "by digest it is what it is");
}

#[tokio::test(start_paused = true)]
async fn a_304_is_given_to_those_who_have_the_manifest() {
    let (lab, digest, _) = Fixture::stocked("");
    for reference in ["v1", &digest] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let seen = lab.get(&path).header("if-none-match", &format!("\"{digest}\"")).await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (304, 0));
        assert_eq!(lab.get(&path).header("if-none-match", "\"other\"").await.status, 200);
        assert_eq!(lab.get(&path).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_too_large_is_refused() {
    let lab = Fixture::new("[limits]\nmanifest='4KiB'");
    lab.registry.put_manifest("a/b", "large", OCI_MANIFEST, manifest_of(5000));
    lab.registry.put_manifest("a/b", "small", OCI_MANIFEST, manifest_of(3000));
    assert!(lab.get("/v2/a/b/manifests/large").await.is(504, "UNAVAILABLE"));
    assert_eq!(lab.get("/v2/a/b/manifests/small").await.status, 200);
    lab.net.fault("GET", "/manifests/", 9, Fault::change(|answer| answer.length = None));
    assert!(lab.get("/v2/a/b/manifests/large").await.is(504, "UNAVAILABLE"), "without a length too");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_stalls_is_504_in_time() {
    let (lab, _, _) = Fixture::stocked("");
    lab.net.fault("GET", "/manifests/", 9, Fault::StallAfter(10, Duration::from_hours(1)));
    let begun = lab.now();
    assert!(lab.get("/v2/a/b/manifests/v1").await.is(504, "UNAVAILABLE"));
    assert!(lab.now().since(begun) <= Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn a_redirected_manifest_is_followed_in_every_mode() {
    for redirects in ["follow", "pass", "rewrite"] {
        let lab = Fixture::new(&crate::fixture::upstream(&format!("redirects='{redirects}'")));
        let digest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
        let body = Answer::new(200).header("content-type", OCI_MANIFEST).body(manifest_of(10));
        lab.net.serve(STORAGE, move |_: &registry_proxy_core::testing::Sent| body.clone());
        lab.net.fault("*", "/manifests/", 9, Fault::Say(Answer::new(307).header("location", STORAGE)));
        let seen = lab.get(&format!("/v2/a/b/manifests/{digest}")).await;
        assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest_of(10)), "{redirects}");
        let seen = lab.head(&format!("/v2/a/b/manifests/{digest}")).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, OCI_MANIFEST), "{redirects}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_manifest_and_bad_names_have_their_own_codes() {
    let lab = Fixture::new("");
    let missing = sha256(b"missing");
    for (path, status, code) in [
        ("/v2/a/b/manifests/v9".to_owned(), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/a/b/manifests/{missing}"), 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/b/manifests/sha256:abc".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/a/b/manifests/-v".to_owned(), 400, "TAG_INVALID"),
        ("/v2/A/b/manifests/v1".to_owned(), 400, "NAME_INVALID"),
        ("/v2/a/b/blobs/sha256:abc".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/evil.example/b/manifests/v1".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v2/a/b/nothing/v1".to_owned(), 404, "UNSUPPORTED"),
    ] {
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), &*seen.code()), (status, code), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_at_the_registry_is_told_by_a_proxy_of_one_registry_and_by_no_shared_one() {
    let other = "[[upstream]]\nname='other.example'\nurls=['https://origin.other.test']";
    let shared = format!("{}\n{other}", crate::fixture::upstream(""));
    for (text, expected) in [("", "99;w=21600"), (shared.as_str(), "")] {
        let (lab, _, _) = Fixture::stocked(text);
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.header("ratelimit-remaining"), expected, "P-121");
    }
}
