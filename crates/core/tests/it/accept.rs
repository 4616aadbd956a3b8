//! What a registry is asked for: the four types of today's images, and what the client names besides (P-81).

use registry_proxy_core::testing::{Answer, Sent};

use crate::fixture::{DOCKER_MANIFEST, Fixture, OCI_INDEX, OCI_MANIFEST};

const V1: &str = "/v2/a/b/manifests/v1";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// The four, as they stand at the beginning of each list.
fn four() -> String {
    [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(", ")
}

#[tokio::test(start_paused = true)]
async fn what_the_client_names_is_asked_for_beside_the_four() {
    let many: Vec<String> = (0..40).map(|number| format!("application/vnd.x{number}+json")).collect();
    let first: Vec<String> = many.iter().take(16).cloned().collect();
    for (lines, expected) in [
        (&[][..], String::new()),
        (&[OCI_MANIFEST], String::new()),
        (&["*/*"], ", */*;q=0.1".to_owned()),
        (&["application/*"], ", application/*;q=0.1".to_owned()),
        (
            &[ARTIFACT, "application/json , application/VND.oci.image.index.v1+json"],
            format!(", {ARTIFACT}, application/json"),
        ),
        (
            &[&*format!("{SCHEMA_1};q=0.5, {ARTIFACT}, {ARTIFACT}"), "*/*;q=0.2"],
            format!(", {SCHEMA_1};q=0.5, {ARTIFACT}, */*;q=0.1"),
        ),
        // A browser gets no pages, and nonsense goes nowhere.
        (
            &["text/html, image/avif,application/xhtml+xml;q=0.9,*/*;q=0.8", "application/, application, , a b/c"],
            ", application/xhtml+xml;q=0.9, */*;q=0.1".to_owned(),
        ),
        (&[&*many.join(",")], format!(", {}", first.join(", "))),
    ] {
        for lab in [Fixture::stocked("").0, Fixture::caching("")] {
            let mut call = lab.get(V1);
            for line in lines {
                call = call.header("accept", line);
            }
            call.await;
            assert_eq!(lab.net.log()[0].header("accept"), format!("{}{expected}", four()), "{lines:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_another_type_is_had_by_those_who_name_it() {
    for lab in [Fixture::new(""), Fixture::caching("")] {
        let text = format!(r#"{{"mediaType":"{ARTIFACT}","blobs":[]}}"#);
        lab.net.serve("https://origin.up.example.com/v2/a/b/manifests/", move |sent: &Sent| {
            if sent.header("accept").contains(ARTIFACT) {
                Answer::new(200).header("content-type", ARTIFACT).body(text.clone())
            } else {
                Answer::new(404)
            }
        });
        // Who does not name it hears that there is none, and no other hears that.
        assert_eq!(lab.get(V1).header("accept", OCI_MANIFEST).await.status, 404);
        for _ in 0..2 {
            let seen = lab.get(V1).header("accept", &format!("{OCI_MANIFEST}, {ARTIFACT}")).await;
            assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, ARTIFACT), "{seen:?}");
        }
        let (narrow, wide) = futures_util::future::join(
            async { lab.get("/v2/a/b/manifests/v2").header("accept", OCI_MANIFEST).await },
            async { lab.get("/v2/a/b/manifests/v2").header("accept", ARTIFACT).await },
        )
        .await;
        assert_eq!((narrow.status.as_u16(), wide.status.as_u16()), (404, 200), "asked at once");
    }
}
