//! Upload sessions: where they lead, whose they are, and what is said of a refused chunk.

use registry_proxy_core::testing::{Answer, Fault, Registry, Sent, sha256};

use super::{UPLOADS, begin, pushable};
use crate::fixture::{Fixture, ORIGIN, upstream};

#[tokio::test(start_paused = true)]
async fn a_location_survives_sealing_to_the_byte() {
    let digest = sha256(b"x");
    let encoded = digest.replace(':', "%3A");
    for (location, asked) in [
        ("/v2/a/b/blobs/uploads/u1", format!("{ORIGIN}/v2/a/b/blobs/uploads/u1?digest={encoded}")),
        (
            "https://origin.up.example.com/v2/a/b/blobs/uploads/u1?_state=a%2Fb+c%3D&x=%20y",
            format!("{ORIGIN}/v2/a/b/blobs/uploads/u1?_state=a%2Fb+c%3D&x=%20y&digest={encoded}"),
        ),
        ("u2?_state=a%2Fb%2Bc", format!("{ORIGIN}/v2/a/b/blobs/uploads/u2?_state=a%2Fb%2Bc&digest={encoded}")),
        ("/artifacts-uploads/a%2Fb/u%3A1", format!("{ORIGIN}/artifacts-uploads/a%2Fb/u%3A1?digest={encoded}")),
    ] {
        let lab = pushable();
        lab.registry.set_upload_location(location);
        let ours = begin(&lab).await;
        lab.net.forget();
        // Clients decode, sort and encode again.
        for ours in [format!("{ours}&digest={digest}"), {
            let (path, query) = ours.split_once('?').unwrap();
            format!("{path}?digest={encoded}&{query}")
        }] {
            let _ = lab.put(&ours).await;
        }
        for line in lab.net.lines() {
            assert_eq!(line, format!("PUT {asked}"), "{location}");
        }
        assert_eq!(lab.net.log().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_location_keeps_the_form_of_the_clients_path() {
    let lab = pushable();
    for prefix in ["/v2/", "/v2/reg.example/", "/reg.example/v2/"] {
        let seen = lab.post(&format!("{prefix}a/b/blobs/uploads/")).await;
        assert!(seen.header("location").starts_with(&format!("{prefix}a/b/blobs/uploads/u1?")), "{prefix}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_201_to_a_chunk_becomes_the_202_that_clients_know() {
    let lab = pushable();
    let location = begin(&lab).await;
    lab.net.fault("PATCH", "", 1, Fault::change(|answer| answer.status = http::StatusCode::CREATED));
    let seen = lab.patch(&location).body("x").await;
    assert_eq!(seen.status, 202);
    assert!(seen.header("location").contains("_s="));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_of_one_repository_and_cannot_be_forged() {
    let lab = pushable();
    let location = begin(&lab).await;
    let sealed = location.split_once("_s=").unwrap().1.to_owned();
    lab.net.forget();
    let mut tampered = sealed.clone();
    tampered.replace_range(50..51, if &sealed[50..51] == "A" { "B" } else { "A" });
    for path in [
        format!("/v2/c/d/blobs/uploads/u1?_s={sealed}"),
        format!("/v2/a/b/blobs/uploads/u1?_s={tampered}"),
        "/v2/a/b/blobs/uploads/u1".to_owned(),
        "/v2/a/b/blobs/uploads/u1?_s=https://evil.example/".to_owned(),
    ] {
        assert!(lab.patch(&path).body("x").await.is(404, "BLOB_UPLOAD_UNKNOWN"), "{path}");
        assert!(lab.put(&path).body("x").await.is(404, "BLOB_UPLOAD_UNKNOWN"), "{path}");
    }
    lab.wait(24 * 3600).await;
    assert!(lab.patch(&location).body("x").await.is(404, "BLOB_UPLOAD_UNKNOWN"), "too old");
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_no_session_and_a_session_is_no_token() {
    let lab = Fixture::new(&format!("[clients]\nauth='users'\nusers_file='u'\n{}", upstream("push=true")));
    let token = lab.login("alice", "wonder").await;
    let location = lab.post(UPLOADS).bearer(&token).await.header("location").to_owned();
    let sealed = location.split_once("_s=").unwrap().1;
    assert_eq!(lab.patch(&format!("{UPLOADS}u1?_s={token}")).bearer(&token).body("x").await.status, 404);
    assert_eq!(lab.get("/v2/").bearer(sealed).await.status, 401);
    let stranger = lab.patch(&location).body("x").await;
    assert_eq!(stranger.status, 401);
    assert!(stranger.header("www-authenticate").contains("scope=\"repository:a/b:pull,push\""));
}

#[tokio::test(start_paused = true)]
async fn an_upload_can_be_given_up() {
    let lab = pushable();
    let location = begin(&lab).await;
    assert_eq!(lab.delete(&location).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_out_of_order_keeps_its_416_with_where_to_go_on() {
    let lab = pushable();
    let location = begin(&lab).await;
    let said = Answer::new(416).header("location", "/v2/a/b/blobs/uploads/u1?x=1").header("range", "0-99");
    lab.net.fault("PATCH", "", 1, Fault::Say(said));
    let seen = lab.patch(&location).body("x").await;
    assert_eq!((seen.status.as_u16(), seen.header("range")), (416, "0-99"));
    assert!(seen.header("location").starts_with("/v2/a/b/blobs/uploads/session?_s="), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn other_refusals_of_a_chunk_keep_where_to_go_on_too() {
    for status in [400, 404, 409, 413] {
        let lab = pushable();
        let location = begin(&lab).await;
        let said = Answer::new(status)
            .header("location", "https://origin.up.example.com/v2/a/b/blobs/uploads/u1?x=1")
            .header("range", "0-99")
            .header("docker-upload-uuid", "u1")
            .header("set-cookie", "sticky=1")
            .body(r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"not in order"}]}"#);
        lab.net.fault("PATCH", "", 1, Fault::Say(said));
        let seen = lab.patch(&location).body("x").await;
        assert!(seen.is(status, "BLOB_UPLOAD_INVALID"), "{seen:?}");
        assert_eq!((seen.header("range"), seen.header("docker-upload-uuid")), ("0-99", "u1"), "P-137");
        assert!(seen.header("location").starts_with("/v2/a/b/blobs/uploads/u1?_s="), "{seen:?}");
        assert_eq!(lab.patch(seen.header("location")).body("y").await.status, 202);
        assert_eq!(lab.net.sent("PATCH", "")[1].path_and_query(), "/v2/a/b/blobs/uploads/u1?x=1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_with_a_senseless_location_stays_what_it_is() {
    let lab = pushable();
    let location = begin(&lab).await;
    lab.net.fault("PATCH", "", 1, Fault::Say(Answer::new(400).header("location", "https://[")));
    let seen = lab.patch(&location).body("x").await;
    assert_eq!((seen.status.as_u16(), seen.header("location")), (400, ""));
    let said = Answer::new(400).header("location", "https://origin.up.example.com/v2/a/b/manifests/x");
    lab.net.fault("PUT", "/manifests/", 1, Fault::Say(said));
    let seen = lab.put("/v2/a/b/manifests/v1").body("{}").await;
    assert_eq!((seen.status.as_u16(), seen.header("location")), (400, ""), "no upload goes on there");
}

#[tokio::test(start_paused = true)]
async fn a_session_on_a_storage_host_gets_no_login() {
    let lab = pushable().with_tokens();
    lab.registry.set_upload_location("https://cdn.up.example.com/uploads/u1?sig=a%2Fb");
    lab.net.serve("https://cdn.up.example.com/uploads/", |_: &Sent| {
        Answer::new(202).header("location", "/uploads/u2?sig=c")
    });
    let location = begin(&lab).await;
    let seen = lab.patch(&location).streamed(b"0123456789").await;
    assert_eq!(seen.status, 202);
    let sent = &lab.net.sent("PATCH", "cdn.up.example.com")[0];
    assert_eq!((sent.header("authorization"), sent.path_and_query()), ("", "/uploads/u1?sig=a%2Fb"));
    let next = lab.patch(seen.header("location")).body("x").await;
    assert_eq!(next.status, 202);
    assert_eq!(lab.net.sent("PATCH", "cdn.up.example.com")[1].path_and_query(), "/uploads/u2?sig=c");
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_lead_into_the_private_network() {
    for location in ["https://127.0.0.1/x", "http://cdn.up.example.com/x", "https://169.254.169.254/x"] {
        let lab = pushable();
        lab.net.serve(location, Registry::default());
        lab.registry.set_upload_location(location);
        let seen = lab.post(UPLOADS).await;
        lab.net.forget();
        if seen.status == 202 {
            let seen = lab.patch(seen.header("location")).body("x").await;
            assert_eq!(seen.status, 504, "{location}");
        }
        assert!(lab.net.log().is_empty(), "P-66: {:?}", lab.net.lines());
    }
}
