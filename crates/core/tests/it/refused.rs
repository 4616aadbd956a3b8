//! What a registry says of a request that it refuses, and of a push that it takes, reaches the client whole.

use registry_proxy_core::testing::{Answer, Fault, sha256};
use serde_json::{Value, json};

use crate::fixture::{Fixture, OCI_MANIFEST, manifest_of, upstream};

const V1: &str = "/v2/a/b/manifests/v1";
const UPLOADS: &str = "/v2/a/b/blobs/uploads/";

fn pushable() -> Fixture {
    Fixture::new(&upstream("push=true"))
}

/// Lets the registry refuse whatever comes next.
fn refuse(lab: &Fixture, status: u16, body: &Value) {
    lab.net.fault("*", "/v2/", 1, Fault::Say(Answer::new(status).body(body.to_string())));
}

#[tokio::test(start_paused = true)]
async fn every_tag_that_a_push_by_digest_has_set_is_told() {
    let lab = pushable();
    let change = |answer: &mut Answer| {
        *answer = answer.clone().header("oci-tag", "v1").header("oci-tag", "v2").header("oci-tag", "latest");
    };
    lab.net.fault("PUT", "/manifests/", 1, Fault::change(change));
    let body = manifest_of(10);
    let path = format!("/v2/a/b/manifests/{}?tag=v1&tag=v2&tag=latest", sha256(&body));
    let seen = lab.put(&path).header("content-type", OCI_MANIFEST).body(body).await;
    assert_eq!(seen.status, 201);
    assert_eq!(seen.headers.get_all("oci-tag").iter().collect::<Vec<_>>(), ["v1", "v2", "latest"]);
}

#[tokio::test(start_paused = true)]
async fn all_errors_of_a_refused_push_are_told_with_their_details() {
    let said = json!({ "errors": [
        { "code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": { "digest": "sha256:1" } },
        { "code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": { "digest": "sha256:2" } },
        { "code": "PROJECTPOLICYVIOLATION", "message": "the project has no room" },
    ] });
    for status in [400, 404, 409, 412, 413] {
        let lab = pushable();
        let digest = sha256(b"x");
        for call in [
            lab.put(V1).header("content-type", OCI_MANIFEST).body("{}"),
            lab.post(UPLOADS),
            lab.post(&format!("{UPLOADS}?digest={digest}")).body("x"),
            lab.delete(V1),
        ] {
            refuse(&lab, status, &said);
            let seen = call.await;
            assert_eq!((seen.status.as_u16(), seen.json()), (status, said.clone()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_code_of_the_registrys_own_is_passed_on() {
    let lab = Fixture::new("");
    let said = json!({ "errors": [{
        "code": "PAGINATION_NUMBER_INVALID", "message": "invalid number of results requested", "detail": { "n": -1 },
    }] });
    refuse(&lab, 400, &said);
    let seen = lab.get("/v2/a/b/tags/list?n=-1").await;
    assert_eq!((seen.status.as_u16(), seen.json()), (400, said));
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_403_with_what_the_registry_says() {
    for (status, code, expected) in
        [(401, "UNAUTHORIZED", "DENIED"), (403, "DENIED", "DENIED"), (403, "TAG_IMMUTABLE", "TAG_IMMUTABLE")]
    {
        let lab = pushable();
        refuse(
            &lab,
            status,
            &json!({ "errors": [{ "code": code, "message": "no", "detail": [7] }, { "code": "DENIED" }] }),
        );
        let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body("{}").await;
        let words = "the registry reg.example refuses access";
        let told = json!({ "errors": [
            { "code": expected, "message": format!("{words}: no"), "detail": [7] },
            { "code": "DENIED", "message": words },
        ] });
        assert_eq!((seen.status.as_u16(), seen.json()), (403, told), "{status} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_another_form_than_the_specs_is_answered_in_the_specs_form() {
    for body in ["", "<html>no</html>", "{\"errors\":[]}", "{\"errors\":[\"no\"]}"] {
        let lab = pushable();
        lab.net.fault("*", "/v2/", 1, Fault::Say(Answer::new(400).body(body)));
        let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body("{}").await;
        let ours = json!({ "errors": [
            { "code": "UNSUPPORTED", "message": "the registry reg.example declined the request" },
        ] });
        assert_eq!((seen.status.as_u16(), seen.json()), (400, ours), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_does_not_tell_its_own_address() {
    let lab = pushable();
    let said = |host: &str| {
        json!({ "errors": [{
            "code": "UNKNOWN",
            "message": format!("Put \"https://{host}/v2/a/b\" failed"),
            "detail": { "upstream": format!("{host}:443") },
        }] })
    };
    refuse(&lab, 400, &said("origin.up.example.com"));
    let seen = lab.put(V1).header("content-type", OCI_MANIFEST).body("{}").await;
    assert_eq!((seen.status.as_u16(), seen.json()), (400, said("reg.example")));
}
