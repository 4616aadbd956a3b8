//! Mounts of blobs from another repository.

use registry_proxy_core::testing::sha256;

use super::{UPLOADS, pushable};
use crate::fixture::{Fixture, ORIGIN, upstream};

#[tokio::test(start_paused = true)]
async fn a_mount_from_the_same_registry_uses_the_registrys_own_name() {
    let lab = pushable();
    let digest = sha256(b"x");
    for from in ["c/d", "reg.example/c/d", "reg.example%2Fc%2Fd"] {
        lab.net.forget();
        let seen = lab.post(&format!("/v2/reg.example/a/b/blobs/uploads/?mount={digest}&from={from}")).await;
        assert_eq!(
            (seen.status.as_u16(), seen.header("location")),
            (201, &*format!("/v2/reg.example/a/b/blobs/{digest}"))
        );
        let sent = &lab.net.log()[0];
        assert_eq!(
            (sent.parameter("mount"), sent.parameter("from")),
            (Some(digest.clone()), Some("c/d".to_owned())),
            "{from}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_from_another_registry_becomes_an_upload() {
    let text = format!(
        "{}\n[[upstream]]\nname='other.example'\nurls=['https://origin.other.test']",
        upstream("push=true")
    );
    let lab = Fixture::new(&text);
    let digest = sha256(b"x");
    for from in ["other.example/c/d", "unknown.example/c/d", "..%2F..%2Fc"] {
        lab.net.forget();
        let seen = lab.post(&format!("{UPLOADS}?mount={digest}&from={from}")).await;
        assert_eq!(seen.status, 202, "{from}");
        assert_eq!(lab.net.lines(), [format!("POST {ORIGIN}{UPLOADS}")], "{from}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_from_a_repository_that_the_rules_leave_out_becomes_an_upload() {
    let lab = Fixture::new(&upstream("push=true\nrepositories={deny=['secret/**']}"));
    let digest = sha256(b"x");
    assert_eq!(lab.post(&format!("{UPLOADS}?mount={digest}&from=secret/c")).await.status, 202);
    assert!(lab.net.log()[0].parameter("mount").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_mount_asks_for_a_token_that_reads_the_other_repository() {
    let lab = pushable().with_tokens();
    let digest = sha256(b"x");
    assert_eq!(lab.post(&format!("{UPLOADS}?mount={digest}&from=c/d")).await.status, 201);
    let token = &lab.net.sent("*", "auth.up.example.com")[0];
    assert!(
        token.url.ends_with("scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%2Fd%3Apull"),
        "{}",
        token.url
    );
}
