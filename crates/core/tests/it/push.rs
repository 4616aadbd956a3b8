//! Pushes and deletions.

mod mounts;
mod sessions;

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault, Gate, sha256};

use crate::fixture::{Fixture, Lines, OCI_MANIFEST, REALM, manifest_of, upstream};

const UPLOADS: &str = "/v2/a/b/blobs/uploads/";

fn pushable() -> Fixture {
    Fixture::new(&upstream("push=true"))
}

/// Begins an upload and tells where it goes on.
async fn begin(lab: &Fixture) -> String {
    let seen = lab.post(UPLOADS).await;
    assert_eq!(seen.status, 202);
    seen.header("location").to_owned()
}

#[tokio::test(start_paused = true)]
async fn where_push_is_off_every_write_is_405_and_goes_nowhere() {
    let lab = Fixture::new("");
    let digest = sha256(b"x");
    for call in [
        lab.post(UPLOADS),
        lab.put("/v2/a/b/manifests/v1").body("{}"),
        lab.patch("/v2/a/b/blobs/uploads/u1"),
        lab.put("/v2/a/b/blobs/uploads/u1"),
        lab.delete("/v2/a/b/manifests/v1"),
        lab.delete(&format!("/v2/a/b/blobs/{digest}")),
    ] {
        assert!(call.await.is(405, "UNSUPPORTED"));
    }
    assert!(lab.net.log().is_empty());
    let lab = pushable();
    assert_eq!(lab.post(&format!("{UPLOADS}?ns=reg.example")).await.status, 405, "with ns nothing is written");
}

#[tokio::test(start_paused = true)]
async fn a_push_in_chunks_goes_through() {
    let lab = pushable();
    let location = begin(&lab).await;
    assert!(location.starts_with("/v2/a/b/blobs/uploads/u1?_s="), "{location}");
    let seen = lab
        .patch(&location)
        .header("content-range", "0-9")
        .header("content-type", "application/octet-stream")
        .streamed(b"0123456789")
        .await;
    assert_eq!(
        (seen.status.as_u16(), seen.header("range"), seen.header("docker-upload-uuid")),
        (202, "0-9", "u1")
    );
    let location = seen.header("location").to_owned();
    let status = lab.get(&location).await;
    assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-4"));
    let digest = sha256(b"0123456789");
    let seen = lab.put(&format!("{location}&digest={digest}")).await;
    assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (201, &*digest));
    assert_eq!(seen.header("location"), format!("/v2/a/b/blobs/{digest}"));
    let patch = &lab.net.sent("PATCH", "")[0];
    assert_eq!((&patch.body[..], patch.header("content-range")), (&b"0123456789"[..], "0-9"));
    assert_eq!(lab.net.sent("POST", "")[0].header("content-length"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_whole_blob_at_once_goes_through() {
    let lab = pushable();
    let digest = sha256(b"0123456789");
    let seen = lab.post(&format!("{UPLOADS}?digest={digest}")).streamed(b"0123456789").await;
    assert_eq!((seen.status.as_u16(), seen.header("location")), (201, &*format!("/v2/a/b/blobs/{digest}")));
    assert_eq!(&lab.net.sent("POST", "")[0].body[..], b"0123456789");
    assert!(lab.post(&format!("{UPLOADS}?digest=sha256:abc")).await.is(400, "DIGEST_INVALID"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_once_and_with_the_login_it_needs() {
    let lab = pushable().with_tokens();
    let digest = sha256(b"0123456789");
    let seen = lab.post(&format!("{UPLOADS}?digest={digest}")).chunked(b"0123456789").await;
    assert_eq!(seen.status, 201, "{:?}", lab.net.lines());
    let posts = lab.net.sent("POST", "");
    assert_eq!((posts.len(), &posts[0].body[..]), (1, &b"0123456789"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_at_a_replica_that_knows_no_challenge_is_sent_with_its_login() {
    let account = upstream("push=true\nusername='robot'\npassword='s3cret'");
    let text = format!("signing_key_file='k'\n{account}");
    for gate in [Gate::Bearer { realm: REALM.to_owned(), service: None }, Gate::Basic] {
        let mut lab = Fixture::new(&text);
        lab.registry.guard(gate.clone());
        lab.registry.add_user("robot", "s3cret");
        let location = begin(&lab).await;
        lab.restart(&text);
        lab.net.forget();
        // Its `/v2/` is open.
        lab.net.fault("GET", "", 1, Fault::Say(Answer::new(200).body("{}")));
        let seen = lab.patch(&location).streamed(b"0123456789").await;
        assert_eq!(seen.status, 202, "{gate:?} {:?}", lab.net.lines());
        let patches = lab.net.sent("PATCH", "");
        assert_eq!((patches.len(), &patches[0].body[..]), (1, &b"0123456789"[..]));
        let before = &lab.net.log()[1];
        assert_eq!((before.method.as_str(), before.header("authorization")), ("GET", ""), "{:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_cannot_say_which_login_it_wants_is_not_sent_a_stream() {
    for (answer, status) in [(Answer::new(503), 504), (Answer::new(429).header("retry-after", "9"), 429)] {
        let lab = pushable().with_tokens();
        let digest = sha256(b"0123456789");
        lab.net.fault("GET", "/v2/", 1, Fault::Say(answer));
        let seen = lab.post(&format!("{UPLOADS}?digest={digest}")).chunked(b"0123456789").await;
        assert_eq!(seen.status, status, "and not 403: {:?}", lab.net.lines());
        assert!(lab.net.sent("POST", "").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn manifests_are_pushed_to_the_byte() {
    let lab = pushable();
    let body = manifest_of(500);
    let digest = sha256(&body);
    let seen =
        lab.put("/v2/reg.example/a/b/manifests/v1").header("content-type", OCI_MANIFEST).body(body.clone()).await;
    assert_eq!((seen.status.as_u16(), seen.header("docker-content-digest")), (201, &*digest));
    assert_eq!(seen.header("location"), format!("/v2/reg.example/a/b/manifests/{digest}"));
    assert_eq!(seen.header("oci-subject"), "sha256:of-the-subject");
    let sent = &lab.net.log()[0];
    assert_eq!((&sent.body, sent.header("content-type")), (&body, OCI_MANIFEST));
    assert_eq!(lab.get("/v2/a/b/manifests/v1").await.body, body);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_beyond_the_limit_is_413() {
    let lab = pushable();
    let seen = lab.put("/v2/a/b/manifests/v1").body(vec![b' '; (4 << 20) + 1]).await;
    assert!(seen.is(413, "MANIFEST_INVALID"), "P-88: {seen:?}");
    let chunked = vec![b' '; (4 << 20) + 1].leak();
    assert!(lab.put("/v2/a/b/manifests/v1").chunked(chunked).await.is(413, "MANIFEST_INVALID"));
    assert!(lab.net.log().is_empty());
    assert_eq!(lab.put("/v2/a/b/manifests/v1").body(vec![b' '; 4 << 20]).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_may_come_slowly_and_must_not_stand_still() {
    let lab = pushable();
    // Seven bytes at a time.
    let seen = lab.put("/v2/a/b/manifests/v1").slow(b"0123456789012345678901234567890", Duration::from_secs(24));
    assert_eq!(seen.await.status, 201, "two minutes, and never 25 seconds without a byte");
    lab.net.forget();
    let begun = lab.now();
    let seen = lab.put("/v2/a/b/manifests/v1").slow(b"0123456789", Duration::from_secs(26)).await;
    assert_eq!((seen.status.as_u16(), lab.now().since(begun)), (400, Duration::from_secs(25)));
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_a_manifest_pushed_by_digest_pass_each_of_them() {
    let lab = pushable();
    let body = manifest_of(10);
    let path = format!("/v2/a/b/manifests/{}", sha256(&body));
    assert_eq!(lab.put(&format!("{path}?tag=v1&tag=latest&ns2=x&tag=a%26b")).body(body).await.status, 201);
    let sent = &lab.net.sent("PUT", "")[0];
    assert_eq!(sent.path_and_query(), format!("{path}?tag=v1&tag=latest&tag=a%26b"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_take_minutes_to_put_a_layer_in_its_place() {
    let lab = pushable();
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    for (seconds, status) in [(299, 201), (301, 504)] {
        let location = begin(&lab).await;
        lab.net.fault("PUT", "", 1, Fault::Late(Duration::from_secs(seconds)));
        let begun = lab.now();
        assert_eq!(lab.put(&format!("{location}&digest={}", sha256(b"x"))).await.status, status, "{seconds} s");
        assert_eq!(lab.now().since(begun), Duration::from_secs(seconds.min(300)));
        // A slow write says nothing of the address.
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_its_client_cuts_or_lets_stand_is_not_blamed_on_the_registry() {
    const PAST_PATIENCE: Duration = Duration::from_secs(301);
    let lab = pushable();
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    let warnings = Lines::of_warnings();
    let location = begin(&lab).await;
    for call in [lab.patch(&location).cut(b"0123456789"), lab.patch(&location).slow(b"0123456789", PAST_PATIENCE)]
    {
        let seen = call.await;
        assert!(seen.is(400, "UNKNOWN"), "{seen:?}");
        assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"request broke off\"");
        assert_eq!(lab.get("/v2/a/b/manifests/v1").await.status, 200, "the address is not left alone");
    }
    assert_eq!(warnings.take(), []);
    // Where all has come it is the registry that is awaited.
    lab.net.fault("PATCH", "", 1, Fault::Silence);
    assert!(lab.patch(&location).streamed(b"0123456789").await.is(504, "UNAVAILABLE"));
    assert!(warnings.only()["message"].contains("upstream gave no answer"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_is_given_up_before_an_upload_begins() {
    for path in [UPLOADS, "/v2/a/b/manifests/v1"] {
        let lab = pushable();
        let write = || if path == UPLOADS { lab.post(path) } else { lab.delete(path) };
        lab.net.fault("*", "", 99, Fault::Silence);
        let begun = lab.now();
        assert!(write().await.is(504, "UNAVAILABLE"), "{path}");
        assert_eq!(lab.now().since(begun), Duration::from_secs(25), "{path}");
        let begun = lab.now();
        assert!(write().await.is(504, "UNAVAILABLE"), "{path}");
        assert!(lab.now().since(begun) < Duration::from_millis(50), "left alone for a while: {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn deletions_pass() {
    let lab = pushable().with_tokens();
    let digest = sha256(b"x");
    assert_eq!(lab.delete("/v2/a/b/manifests/v1").await.status, 202);
    assert_eq!(lab.delete(&format!("/v2/a/b/blobs/{digest}")).await.status, 202);
    assert_eq!(lab.registry.deleted(), ["a/b v1".to_owned(), format!("a/b {digest}")]);
    assert_eq!(
        lab.net.sent("*", "auth.up.example.com")[0].parameter("scope").as_deref(),
        Some("repository:a/b:delete")
    );
    lab.net.fault("DELETE", "", 1, Fault::Say(Answer::new(405).body(r#"{"errors":[{"code":"UNSUPPORTED"}]}"#)));
    assert!(lab.delete("/v2/a/b/manifests/v1").await.is(405, "UNSUPPORTED"));
}

#[tokio::test(start_paused = true)]
async fn in_upstream_mode_a_push_goes_with_the_clients_login() {
    let lab = Fixture::new(&format!("[clients]\nauth='upstream'\n{}", upstream("push=true"))).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.make_private("a/b", &["alice"]);
    let alice = lab.login_for("alice", "wonder", "repository:a/b:pull,push").await;
    let seen = lab.post(UPLOADS).bearer(&alice).await;
    assert_eq!(seen.status, 202);
    assert_eq!(lab.patch(seen.header("location")).bearer(&alice).streamed(b"0123456789").await.status, 202);
    let nobody = lab.anonymous().await;
    let seen = lab.post(UPLOADS).bearer(&nobody).await;
    assert_eq!(seen.status, 401);
}
