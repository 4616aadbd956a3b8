//! Which parts of an image come, and in which order.

use registry_proxy_core::testing::{Answer, Sent};
use registry_proxy_core::warm::{PartOutcome, WarmEvent, WarmRequest};

use super::{Warmed, double, fetched, pull_without_registry, single, wanted, warm};
use crate::fixture::{Fixture, OCI_INDEX, upstream};

/// What became of the parts, in order.
fn parts(warmed: &Warmed) -> Vec<(String, PartOutcome)> {
    let part = |event: &WarmEvent| match event {
        WarmEvent::Part(part) => Some((part.what.clone(), part.outcome)),
        _ => None,
    };
    warmed.events.iter().filter_map(part).collect()
}

fn all(digests: &[String], outcome: PartOutcome) -> Vec<(String, PartOutcome)> {
    digests.iter().map(|digest| (digest.clone(), outcome)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_comes_in_order_each_part_once_and_can_be_pulled_without_its_registry() {
    let lab = Fixture::caching("");
    let (index, amd64, arm64) = double(&lab);
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    let expected = [vec![index.clone()], amd64.clone()].concat();
    assert_eq!(parts(&warmed), all(&expected, PartOutcome::Fetched));
    assert_eq!((warmed.totals.images, warmed.totals.complete, warmed.totals.blobs_fetched), (1, 1, 3));
    assert_eq!(warmed.images()[0].digest.as_ref(), Some(&index));
    for digest in &amd64 {
        assert_eq!(fetched(&lab, digest), 1, "{digest}");
    }
    assert_eq!(fetched(&lab, "/manifests/v1"), 1);
    assert_eq!(fetched(&lab, &arm64[0]), 0, "nobody wants this platform");
    pull_without_registry(&lab, "a/b", &expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_warming_asks_for_nothing_and_says_that_all_was_cached() {
    let lab = Fixture::caching("");
    let (index, amd64, _) = double(&lab);
    let first = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    lab.net.forget();
    let second = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    assert_eq!(lab.net.lines(), Vec::<String>::new());
    assert_eq!(parts(&second), all(&[vec![index], amd64].concat(), PartOutcome::Cached));
    assert_eq!((second.totals.bytes_fetched, second.totals.bytes_cached), (0, first.totals.bytes_fetched));
    // The tag is due by then, and is confirmed by what no registry counts.
    lab.wait(3600).await;
    assert_eq!(warm(&lab, "", &wanted(&["a/b:v1"])).await.totals.complete, 1);
    assert_eq!(lab.net.log().len(), lab.net.sent("HEAD", "/manifests/v1").len());
}

#[tokio::test(start_paused = true)]
async fn platforms_are_those_that_are_named_and_one_that_is_absent_is_missing() {
    for (platforms, complete, count) in [
        (&["linux/amd64", "linux/arm64"][..], 1, 8),
        (&["linux/arm64"], 1, 5),
        // With the attestation.
        (&[], 1, 11),
        (&["linux/amd64", "linux/s390x"], 0, 5),
    ] {
        let lab = Fixture::caching("");
        double(&lab);
        let platforms: Vec<String> = platforms.iter().map(|&platform| platform.to_owned()).collect();
        let warmed = warm(&lab, "", &WarmRequest { platforms, ..wanted(&["a/b:v1"]) }).await;
        assert_eq!((warmed.totals.complete, parts(&warmed).len()), (complete, count), "{:?}", warmed.missing(1));
        if complete == 0 {
            let why = "the image has no such platform; it has linux/amd64, linux/arm64".to_owned();
            assert_eq!(warmed.missing(1), [("linux/s390x".to_owned(), why)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn images_are_told_in_the_order_of_the_list_however_many_come_at_once() {
    for jobs in [1, 3, 16] {
        let lab = Fixture::caching("");
        for (repository, size) in [("a/one", 300_000), ("a/two", 200_000), ("a/three", 100_000)] {
            single(&lab, repository, "v1", &[size]);
        }
        let images = ["a/one:v1", "a/two:v1", "a/three:v1"];
        let warmed = warm(&lab, "", &WarmRequest { jobs, ..wanted(&images) }).await;
        let told: Vec<&str> = warmed.images().iter().map(|image| image.name.as_str()).collect();
        assert_eq!((told, warmed.totals.complete), (images.to_vec(), 3));
    }
}

#[tokio::test(start_paused = true)]
async fn each_image_that_does_not_come_is_named_with_the_reason_and_the_others_come() {
    let text = format!(
        "{}\n[[block]]\nmatch='reg.example/a/blocked'\nreason='SEC-17'",
        upstream("repositories={deny=['a/denied']}")
    );
    let lab = Fixture::caching(&text);
    for repository in ["a/b", "a/blocked", "a/denied"] {
        single(&lab, repository, "v1", &[5000]);
    }
    let images = ["a/none:v1", "a/blocked:v1", "a/denied:v1", "other.example/a/b:v1", "A//B", "a/b:v1"];
    let warmed = warm(&lab, &text, &wanted(&images)).await;
    assert_eq!((warmed.totals.images, warmed.totals.complete), (6, 1));
    for (place, what, part) in [
        (1, "a/none:v1", "the registry does not have it"),
        (2, "a/blocked:v1", "SEC-17"),
        (3, "a/denied:v1", "this repository is not served by this proxy"),
        (4, "other.example/a/b:v1", "`registry-proxy explain`"),
        (5, "A//B", "name"),
    ] {
        let missing = warmed.missing(place);
        let [(named, why)] = missing.as_slice() else { panic!("{missing:?}") };
        assert!(named == what && why.contains(part), "{missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_absent_is_missing_and_the_rest_of_the_image_comes() {
    let lab = Fixture::caching("");
    let (_, blobs) = single(&lab, "a/b", "v1", &[5000, 6000]);
    lab.net.fault("*", &blobs[1], 9, registry_proxy_core::testing::Fault::Say(Answer::new(404)));
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    let image = warmed.images()[0];
    assert_eq!((image.is_complete, image.blobs, image.missing.len()), (false, 2, 1));
    assert_eq!(image.missing[0].what, blobs[1]);
}

#[tokio::test(start_paused = true)]
async fn blobs_that_go_to_clients_by_links_of_the_registry_are_said_not_to_be_cached() {
    let text = upstream("redirects='pass'");
    let lab = Fixture::caching(&text);
    single(&lab, "a/b", "v1", &[5000]);
    let warmed = warm(&lab, &text, &wanted(&["a/b:v1"])).await;
    let missing = warmed.missing(1);
    assert!(missing.len() == 2 && missing[0].1.contains("upstream.redirects"), "{missing:?}");
    assert_eq!(fetched(&lab, "/blobs/"), 0);
}

#[tokio::test(start_paused = true)]
async fn signatures_and_what_refers_to_an_image_come_where_they_are_wanted() {
    for referrers in [false, true] {
        let lab = Fixture::caching("");
        let (image, _) = single(&lab, "a/b", "v1", &[5000]);
        let (listed, _) = single(&lab, "a/b", "listed", &[600]);
        single(&lab, "a/b", &format!("{}.sig", image.replace(':', "-")), &[700]);
        let body =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"digest":"{listed}"}}]}}"#);
        lab.net.serve(&format!("{}/v2/a/b/referrers/{image}", crate::fixture::ORIGIN), move |_: &Sent| {
            Answer::new(200).header("content-type", OCI_INDEX).body(body.clone())
        });
        let warmed = warm(&lab, "", &WarmRequest { referrers, ..wanted(&["a/b:v1"]) }).await;
        assert_eq!(warmed.totals.complete, 1, "{:?}", warmed.missing(1));
        assert_eq!(fetched(&lab, &format!("/manifests/{listed}")), usize::from(referrers));
        // Manifest and two blobs of each.
        assert_eq!(parts(&warmed).len(), if referrers { 9 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn indexes_that_name_each_other_over_and_over_come_to_an_end() {
    let lab = Fixture::caching("");
    let (leaf, _) = single(&lab, "a/b", "leaf", &[500]);
    let mut below = vec![leaf];
    for depth in 0..5 {
        let names: Vec<String> = below.iter().map(|digest| format!(r#"{{"digest":"{digest}"}}"#)).collect();
        let names = vec![names.join(","); 20].join(",");
        let width = if depth == 4 { 1 } else { 5 };
        let put = |number| {
            let text = format!(r#"{{"manifests":[{names}],"annotations":{{"a":"{number}"}}}}"#);
            lab.registry.put_manifest("a/b", "v1", OCI_INDEX, text)
        };
        below = (0..width).map(put).collect();
    }
    let warmed = warm(&lab, "", &wanted(&["a/b:v1"])).await;
    // One on top, four levels of five, and the image with two blobs.
    assert_eq!((warmed.totals.complete, parts(&warmed).len()), (1, 1 + 4 * 5 + 3));
}

#[tokio::test(start_paused = true)]
async fn a_pattern_of_tags_means_the_newest_that_the_registry_lists() {
    let lab = Fixture::caching("");
    for tag in ["3.9", "3.20", "3.20.1", "3.21", "edge", "4.0"] {
        single(&lab, "a/b", tag, &[5000]);
    }
    single(&lab, "a/c", "v1", &[5000]);
    let images = ["a/b:3.*", "a/c:v1", "a/c:w*", "a/none:*"];
    let warmed = warm(&lab, "", &WarmRequest { newest: 2, ..wanted(&images) }).await;
    let told: Vec<(&str, bool)> =
        warmed.images().iter().map(|image| (image.name.as_str(), image.is_complete)).collect();
    let expected =
        [("a/b:3.21", true), ("a/b:3.20.1", true), ("a/c:v1", true), ("a/c:w*", false), ("a/none:*", false)];
    assert_eq!(told, expected);
    assert_eq!(warmed.missing(4)[0].1, "the registry lists no tag that fits");
    assert!(warmed.missing(5)[0].0.contains("tags of a/none"), "{:?}", warmed.missing(5));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_tags_is_read_to_its_last_page() {
    let lab = Fixture::caching("");
    for tag in ["1.0", "9.0"] {
        single(&lab, "a/b", tag, &[5000]);
    }
    lab.net.serve(&format!("{}/v2/a/b/tags/list", crate::fixture::ORIGIN), |sent: &Sent| {
        let answer = Answer::new(200).header("content-type", "application/json");
        match sent.parameter("last").as_deref() {
            None => answer
                .header("link", "</v2/a/b/tags/list?last=1.0&n=1>; rel=\"next\"")
                .body(r#"{"name":"a/b","tags":["1.0"]}"#),
            Some(_) => answer.body(r#"{"name":"a/b","tags":["9.0"]}"#),
        }
    });
    let warmed = warm(&lab, "", &WarmRequest { newest: 1, ..wanted(&["a/b:*"]) }).await;
    assert_eq!(warmed.images()[0].name, "a/b:9.0");
    assert_eq!(warmed.totals.complete, 1);
}
