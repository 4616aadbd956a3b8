//! Lists of tags and referrers, and their pages.

use registry_proxy_core::testing::{Answer, Fault, sha256};

use crate::fixture::{Fixture, HOST_NAME, OCI_INDEX, OCI_MANIFEST, Seen};

fn with_tags() -> Fixture {
    let lab = Fixture::new("");
    for tag in ["t1", "t2", "t3", "t4", "t5"] {
        lab.registry.put_manifest("a/b", tag, OCI_MANIFEST, format!("{{\"tag\":\"{tag}\"}}"));
    }
    lab
}

/// The address that a `Link` leads to.
fn next(seen: &Seen) -> Option<String> {
    let (path, _) = seen.header("link").strip_prefix('<')?.split_once('>')?;
    Some(path.to_owned())
}

#[tokio::test(start_paused = true)]
async fn pages_lead_back_to_us_by_the_way_the_client_came() {
    let lab = with_tags();
    for (path, expected) in [
        ("/v2/a/b/tags/list?n=2", "</v2/a/b/tags/list?n=2&last=t2>; rel=\"next\""),
        ("/v2/reg.example/a/b/tags/list?n=2", "</v2/reg.example/a/b/tags/list?n=2&last=t2>; rel=\"next\""),
        ("/reg.example/v2/a/b/tags/list?n=2", "</reg.example/v2/a/b/tags/list?n=2&last=t2>; rel=\"next\""),
        ("/v2/a/b/tags/list?n=2&ns=reg.example", "</v2/a/b/tags/list?n=2&last=t2&ns=reg.example>; rel=\"next\""),
    ] {
        assert_eq!(lab.get(path).await.header("link"), expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_together_are_the_list() {
    let lab = with_tags();
    let mut path = "/v2/reg.example/a/b/tags/list?n=2".to_owned();
    let mut tags = Vec::new();
    for _ in 0..3 {
        let seen = lab.get(&path).await;
        assert_eq!(seen.json()["name"], "reg.example/a/b");
        tags.extend(seen.json()["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        match next(&seen) {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(tags, ["t1", "t2", "t3", "t4", "t5"]);
}

#[tokio::test(start_paused = true)]
async fn a_relative_link_is_rewritten_as_well() {
    let lab = with_tags();
    let body = Answer::new(200)
        .header("link", "</v2/a/b/tags/list?last=t1%2Bx&n=1>; rel=next")
        .body("{\"name\":\"a/b\"}");
    lab.net.fault("GET", "/tags/", 1, Fault::Say(body));
    let seen = lab.get("/v2/reg.example/a/b/tags/list?n=1").await;
    assert_eq!(seen.header("link"), "</v2/reg.example/a/b/tags/list?last=t1%2Bx&n=1>; rel=\"next\"");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_name_leads_on() {
    for (path, ns) in [("/v2/a/b/tags/list?n=1", ""), ("/v2/a/b/tags/list?n=1&ns=reg.example", "&ns=reg.example")]
    {
        let lab = with_tags();
        let first = Answer::new(200)
            .header("link", "</v2/a/b/tags/list?n=1&nextToken=x%2Fy%3D&token=secret>; rel=\"next\"")
            .body("{\"name\":\"a/b\"}");
        lab.net.fault("GET", "/tags/", 1, Fault::Say(first));
        let link = next(&lab.get(path).await).expect("another page");
        assert!(link.ends_with(ns) && !link.contains("nextToken") && !link.contains("secret"), "{link}");
        let seen = lab.get(&link).await;
        assert_eq!(seen.status, 200);
        let asked = lab.net.lines().pop().unwrap();
        assert_eq!(
            asked,
            "GET https://origin.up.example.com/v2/a/b/tags/list?n=1&nextToken=x%2Fy%3D&token=secret"
        );
        // What is no cursor of ours for this list is not the first page: its client would come again for ever.
        let forged = link.replace("_p=", "_p=A");
        for wrong in [&forged, &link.replace("/a/b/", "/a/c/"), "/v2/a/b/tags/list?_p="] {
            assert_eq!(lab.get(wrong).await.status, 404, "{wrong}");
        }
        assert_eq!(lab.net.log().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn page_parameters_pass_and_no_others() {
    let lab = with_tags();
    let path = format!("/v2/a/b/tags/list?n=3&evil=1&last=t1&ns=reg.example&token=x&host={HOST_NAME}");
    assert_eq!(lab.get(&path).await.status, 200);
    assert_eq!(lab.net.lines(), ["GET https://origin.up.example.com/v2/a/b/tags/list?n=3&last=t1"]);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_not_there_is_name_unknown() {
    let lab = Fixture::new("");
    assert!(lab.get("/v2/a/b/tags/list").await.is(404, "NAME_UNKNOWN"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_none_is_a_failure() {
    for body in ["<html>", "[]", ""] {
        let lab = with_tags();
        lab.net.fault("GET", "/tags/", 9, Fault::Say(Answer::new(200).body(body)));
        assert!(lab.get("/v2/a/b/tags/list").await.is(504, "UNAVAILABLE"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_larger_than_the_limit_is_a_failure() {
    let lab = Fixture::new("[limits]\nlisting='1KiB'");
    let large = format!("{{\"name\":\"a/b\",\"tags\":[\"{}\"]}}", "x".repeat(2000));
    lab.net.fault("GET", "/tags/", 9, Fault::Say(Answer::new(200).body(large)));
    assert!(lab.get("/v2/a/b/tags/list").await.is(504, "UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn referrers_pass_with_their_exact_type_and_filter() {
    let lab = Fixture::new("");
    let subject = sha256(b"subject");
    let answer = Answer::new(200)
        .header("content-type", "application/json")
        .header("oci-filters-applied", "artifactType")
        .body("{\"manifests\":[]}");
    lab.net.fault("GET", "/referrers/", 1, Fault::Say(answer));
    let seen = lab.get(&format!("/v2/a/b/referrers/{subject}?artifactType=a/b&x=1")).await;
    assert_eq!((seen.header("content-type"), seen.header("oci-filters-applied")), (OCI_INDEX, "artifactType"));
    let sent = &lab.net.log()[0];
    assert_eq!(sent.path_and_query(), format!("/v2/a/b/referrers/{subject}?artifactType=a%2Fb"));
    assert_eq!(sent.header("accept"), OCI_INDEX);
}

#[tokio::test(start_paused = true)]
async fn without_referrers_upstream_there_are_none_here() {
    let lab = Fixture::new("");
    let path = format!("/v2/a/b/referrers/{}", sha256(b"subject"));
    for answer in [Answer::new(404), Answer::new(403), Answer::new(401)] {
        lab.net.fault("GET", "/referrers/", 1, Fault::Say(answer));
        assert_eq!(lab.get(&path).await.status, 404);
    }
}

#[tokio::test(start_paused = true)]
async fn the_catalogue_is_not_offered() {
    let lab = Fixture::new("");
    assert!(lab.get("/v2/_catalog").await.is(404, "UNSUPPORTED"));
    assert!(lab.net.log().is_empty());
}

/// A login page, an error, nothing, an image: registries without referrers answer so with 200.
#[tokio::test(start_paused = true)]
async fn what_is_no_index_is_no_list_of_referrers_and_is_not_cached() {
    let path = format!("/v2/a/b/referrers/{}", sha256(b"subject"));
    for lab in [Fixture::new(""), Fixture::caching("")] {
        for body in ["<html>Sign in</html>", "", "{}", r#"{"errors":[]}"#, r#"{"layers":[]}"#, r#"{"manifests":["#]
        {
            let said = Answer::new(200).header("content-type", OCI_INDEX).body(body);
            lab.net.fault("GET", "/referrers/", 1, Fault::Say(said));
            let seen = lab.get(&path).await;
            assert_eq!(seen.status, 404, "{body}: {seen:?}");
        }
        let index = Answer::new(200).header("content-type", "application/json").body(r#"{"manifests":[]}"#);
        lab.net.fault("GET", "/referrers/", 1, Fault::Say(index));
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, OCI_INDEX), "none of it was kept");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_of_tags_is_not_cached() {
    let lab = Fixture::caching("");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, r#"{"layers":[]}"#);
    lab.net.fault("GET", "/tags/", 1, Fault::Say(Answer::new(200).body("<html>")));
    assert_eq!(lab.get("/v2/a/b/tags/list").await.status, 504);
    assert_eq!(lab.get("/v2/a/b/tags/list").await.json()["tags"][0], "v1");
}
