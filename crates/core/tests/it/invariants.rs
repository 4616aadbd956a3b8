//! What every answer keeps, whatever was asked (T-06).

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use registry_proxy_core::outcome::{Action, Outcome, Reason};
use registry_proxy_core::testing::sha256;

use crate::fixture::{Fixture, HOST_NAME, OCI_INDEX, OCI_MANIFEST, STORAGE, Seen, manifest_of, noise, upstream};

/// Panics where the answer breaks an invariant.
pub(crate) fn hold(method: &Method, path: &str, host: &str, seen: &Seen) {
    let Seen { status, headers, body, end, .. } = seen;
    let why = format!(
        "{method} {path}: {status} {headers:?} {:?}",
        String::from_utf8_lossy(&body[..body.len().min(300)])
    );

    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        // A redirect that the configuration leaves to the client names the storage, and nothing else does.
        let is_passed_on = name == LOCATION && *status == StatusCode::TEMPORARY_REDIRECT;
        assert!(is_passed_on || !value.contains("up.example.com"), "an upstream's host in {name}: {why}");
        assert!(!value.contains("10.0.0."), "an upstream's address in {name}: {why}");
    }
    assert!(!headers.contains_key(SET_COOKIE), "a cookie: {why}");
    assert!(!headers.contains_key(CONTENT_ENCODING), "a content coding: {why}");
    assert!(!headers.contains_key("server"), "an upstream's server: {why}");

    let is_api = path.contains("/v2");
    if is_api {
        assert_eq!(seen.header("docker-distribution-api-version"), "registry/2.0", "{why}");
    }
    let outcome = seen.header("x-registry-proxy");
    let is_listed = |(done, reason): (Action, Reason)| outcome == Outcome::new(done, reason).to_string();
    let mut listed = Reason::ALL.iter().flat_map(|reason| reason.goes_with().iter().map(|done| (*done, *reason)));
    // That of a held tag names the time instead.
    assert!(
        outcome.starts_with("held; reason=\"") || listed.any(is_listed),
        "not in docs/reference/outcomes.md: {why}"
    );

    let id = seen.header("x-request-id");
    assert!((1..=128).contains(&id.len()) && headers.get_all("x-request-id").iter().count() == 1, "no id: {why}");

    caches(seen, &why);
    let is_page = path.contains("/-/");
    if is_page && status.as_u16() == 401 {
        // For the browser of a person, who has no token.
        let challenge = seen.header("www-authenticate");
        assert_eq!(challenge, "Basic realm=\"registry-proxy\", charset=\"UTF-8\"", "{why}");
    } else {
        challenges(path, host, seen, &why);
    }
    lengths(method, seen, &why);
    if *method == Method::HEAD {
        assert!(body.is_empty() && end.is_ok(), "a HEAD with a body: {why}");
        assert!(!matches!(status.as_u16(), 301..=308 | 405 | 501) || *status == 304, "P-25, P-68: {why}");
    } else if status.is_client_error() || status.is_server_error() {
        // A chunk out of order says where to go on, and nothing else (P-137).
        let is_out_of_order = *status == StatusCode::RANGE_NOT_SATISFIABLE && headers.contains_key(LOCATION);
        if is_page && seen.header("content-type").starts_with("text/") {
            assert!(!matches!(status.as_u16(), 500 | 502 | 503), "P-118: {why}");
        } else if !is_out_of_order {
            errors(seen, &why);
        }
    }
    if *method == Method::GET && *status == StatusCode::OK && end.is_ok() {
        let digest = seen.header("docker-content-digest");
        // Signatures are no part of what a digest of schema 1 is of.
        if digest.starts_with("sha256:") && !seen.header("content-type").ends_with("+prettyjws") {
            assert_eq!(digest, sha256(body), "another digest than the bytes have: {why}");
        }
        if is_api && (path.contains("/manifests/") || path.contains("/blobs/sha256:")) {
            assert!(digest.contains(':'), "no digest: {why}");
            assert_eq!(seen.header("etag"), format!("\"{digest}\""), "{why}");
            assert!(seen.header("cache-control").contains("no-transform"), "{why}");
        }
    }
    if let Some(value) = headers.get("retry-after") {
        let seconds: u64 = value.to_str().ok().and_then(|text| text.parse().ok()).expect("whole seconds");
        // A limit of our own says when it begins anew.
        let most = if outcome.contains("quota") { 86_400 } else { 60 };
        assert!((1..=most).contains(&seconds), "P-120: {why}");
    }
}

/// Content with a digest says how long it may be kept, and everything else that it may not be kept at all: what a cache in
/// front keeps of one client is given to the next (P-94).
fn caches(seen: &Seen, why: &str) {
    let rules = seen.header("cache-control");
    let is_content = seen.headers.contains_key(ETAG) && rules.contains("no-transform");
    let is_kept_by_right = is_content && (rules.contains("immutable") || rules.contains("private"));
    assert!(is_kept_by_right || rules.contains("no-store"), "P-94: {why}");
}

fn challenges(path: &str, host: &str, seen: &Seen, why: &str) {
    let challenges: Vec<_> = seen.headers.get_all(WWW_AUTHENTICATE).iter().collect();
    // The token endpoint says no to a password, and names no other place to try.
    let is_token = path.split('?').next().is_some_and(|path| path.ends_with("/token"));
    if seen.status != StatusCode::UNAUTHORIZED || is_token {
        assert!(challenges.is_empty(), "a challenge where there is none: {why}");
        return;
    }
    assert_eq!(challenges.len(), 1, "not exactly one challenge: {why}");
    let challenge = challenges[0].to_str().expect("text");
    let realm = challenge.strip_prefix("Bearer realm=\"").and_then(|rest| rest.split_once('"'));
    let (realm, rest) = realm.unwrap_or_else(|| panic!("no realm first: {why}"));
    let place = realm.split_once("://").map_or("", |(_, place)| place);
    assert!(place.starts_with(&format!("{host}/")) && realm.ends_with("/token"), "a realm elsewhere: {why}");
    assert!(!realm.contains('?') && !realm.contains('='), "P-29: {why}");
    assert!(rest.starts_with(&format!(",service=\"{host}\"")), "P-34: {why}");
    assert!(!challenge.contains("\"\""), "an empty parameter: {why}");
    assert!(!challenge.contains(", "), "P-29: {why}");
}

fn lengths(method: &Method, seen: &Seen, why: &str) {
    let claimed = seen.headers.get(CONTENT_LENGTH).map(|value| {
        value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or_else(|| panic!("no number: {why}"))
    });
    assert!(seen.headers.get_all(CONTENT_LENGTH).iter().count() <= 1, "two lengths: {why}");
    if *method == Method::HEAD || seen.status == StatusCode::NOT_MODIFIED {
        return;
    }
    let got = seen.body.len() as u64;
    for promised in [claimed, seen.length].into_iter().flatten() {
        match &seen.end {
            Ok(()) => assert_eq!(promised, got, "Content-Length is not the body's: {why}"),
            Err(error) => assert!(got < promised, "an error ({error}) after all that was promised: {why}"),
        }
    }
    if seen.status == StatusCode::PARTIAL_CONTENT {
        let range =
            seen.header("content-range").strip_prefix("bytes ").unwrap_or_else(|| panic!("no range: {why}"));
        let numbers: Vec<u64> = range.split(['-', '/']).map(|text| text.parse().expect("numbers only")).collect();
        let [first, last, total] = numbers[..] else { panic!("P-97: {why}") };
        assert!(first <= last && last < total, "P-97: {why}");
        assert_eq!(claimed, Some(last - first + 1), "the length is not the range's: {why}");
    }
}

fn errors(seen: &Seen, why: &str) {
    assert_eq!(seen.header("content-type"), "application/json", "{why}");
    assert!(seen.body.len() < 8192, "P-21: {why}");
    let error = &seen.json()["errors"][0];
    assert!(error["code"].is_string() && error["message"].is_string(), "P-21: {why}");
    assert_eq!(seen.header("cache-control"), "no-store", "P-26: {why}");
    assert!(!matches!(seen.status.as_u16(), 500 | 502 | 503), "P-118: {why}");
}

/// The headers of HEAD and GET side by side, with the length that either announces.
async fn assert_head_is_like_get(lab: &Fixture, path: &str, headers: &[(&str, &str)]) {
    let mut head = lab.head(path);
    let mut get = lab.get(path);
    for (name, value) in headers {
        (head, get) = (head.header(name, value), get.header(name, value));
    }
    let (head, get) = (head.await, get.await);
    assert_eq!(head.status, get.status, "{path}");
    let sorted = |seen: &Seen| {
        let mut all: Vec<(String, String)> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            // The second is each answer's own.
            .filter(|(name, _)| name != "content-length" && name != "x-request-id")
            .collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&head), sorted(&get), "{path}");
    let length =
        |seen: &Seen| seen.headers.get(CONTENT_LENGTH).map(|value| value.to_str().expect("text").to_owned());
    let announced = length(&get).or(get.length.map(|length| length.to_string()));
    if get.status != StatusCode::NOT_MODIFIED {
        assert_eq!(length(&head), announced, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_has_the_headers_of_get_everywhere() {
    let (lab, manifest, blob) = Fixture::stocked("");
    lab.registry.put_manifest("a/b", "index", OCI_INDEX, r#"{"manifests":[]}"#);
    let missing = sha256(b"missing");
    for path in [
        "/v2/".to_owned(),
        "/".to_owned(),
        "/v2/a/b/manifests/v1".to_owned(),
        "/v2/a/b/manifests/index".to_owned(),
        "/v2/a/b/manifests/nothing".to_owned(),
        format!("/v2/a/b/manifests/{manifest}"),
        format!("/v2/a/b/blobs/{blob}"),
        format!("/v2/a/b/blobs/{missing}"),
        "/v2/a/b/tags/list".to_owned(),
        "/v2/_catalog".to_owned(),
        "/nowhere".to_owned(),
        "/v2/A/b/tags/list".to_owned(),
    ] {
        assert_head_is_like_get(&lab, &path, &[]).await;
    }
    assert_head_is_like_get(&lab, &format!("/v2/a/b/blobs/{blob}"), &[("if-none-match", &format!("\"{blob}\""))])
        .await;
    let known = format!("\"{manifest}\"");
    assert_head_is_like_get(&lab, "/v2/a/b/manifests/v1", &[("if-none-match", &known)]).await;
}

#[tokio::test(start_paused = true)]
async fn head_has_the_headers_of_get_through_redirects_and_logins() {
    for redirects in ["follow", "rewrite", "pass"] {
        let lab = Fixture::new(&upstream(&format!("redirects='{redirects}'"))).with_tokens();
        lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
        let blob = lab.registry.put_blob("a/b", noise(3000));
        lab.registry.redirect_blobs(STORAGE);
        assert_head_is_like_get(&lab, "/v2/a/b/manifests/v1", &[]).await;
        if redirects == "follow" {
            assert_head_is_like_get(&lab, &format!("/v2/a/b/blobs/{blob}"), &[]).await;
        } else {
            let head = lab.head(&format!("/v2/a/b/blobs/{blob}")).await;
            assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "3000"), "{redirects}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn head_has_the_headers_of_get_where_a_login_is_missing() {
    let lab = Fixture::new("[clients]\nauth='users'\nusers_file='u'");
    for path in ["/v2/", "/v2/a/b/manifests/v1"] {
        assert_head_is_like_get(&lab, path, &[]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_login_decides_caches_are_told_that_it_does() {
    let lab = Fixture::new("[clients]\nauth='users'\nusers_file='u'");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let token = lab.login("alice", "wonder").await;
    for path in ["/v2/", "/", "/v2/a/b/tags/list", "/v2/a/b/manifests/v1", "/v2/a/b/manifests/nothing", "/nowhere"]
    {
        for call in [lab.get(path), lab.get(path).bearer(&token), lab.head(path).bearer(&token)] {
            let seen = call.await;
            let varies = seen.header("vary").split(", ").any(|name| name == "Authorization");
            assert!(varies, "{path}: {} {:?}", seen.status, seen.headers);
            assert!(!seen.header("cache-control").contains("immutable"), "{path}: {:?}", seen.headers);
        }
    }
    let ping = lab.get("/v2/").bearer(&token).await;
    assert_eq!((ping.status.as_u16(), ping.header("cache-control")), (200, "no-store"));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "P-94")]
async fn the_invariant_of_caches_can_fail() {
    let lab = Fixture::new("");
    let mut seen = lab.get("/v2/").await;
    seen.headers.remove("cache-control");
    hold(&Method::GET, "/v2/", HOST_NAME, &seen);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not exactly one challenge")]
async fn the_invariants_themselves_can_fail() {
    let lab = Fixture::new("[clients]\nauth='users'\nusers_file='u'");
    let mut seen = lab.get("/v2/").await;
    seen.headers.remove(WWW_AUTHENTICATE);
    hold(&Method::GET, "/v2/", HOST_NAME, &seen);
}
