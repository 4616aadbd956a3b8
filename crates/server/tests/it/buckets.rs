//! Buckets that do not let us in: `check`, the log and `/readyz` say why, and clients have their answers all the same.

use std::net::SocketAddr;
use std::time::Duration;

use crate::fixture::{Client, Setup, Shelf, Upstream, noise, one_upstream};

/// What asks no machine and no role who we are.
const ALONE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

fn keys(bucket: SocketAddr) -> String {
    format!("[cache]\nstore = 's3://bucket/x?endpoint=http://{bucket}'")
}

/// A bucket that is asked by nobody it knows.
async fn closed() -> Upstream {
    Upstream::start(|_, exchange| async {
        exchange.answer("403 Forbidden", "", b"<Error><Code>AccessDenied</Code></Error>").await
    })
    .await
}

fn with(variables: &[(&str, &str)]) -> Setup {
    let setup = Setup::new().variable(ALONE.0, ALONE.1);
    variables.iter().fold(setup, |setup, (name, value)| setup.variable(name, value))
}

#[tokio::test]
async fn a_bucket_that_lets_nobody_in_is_told_of_by_check_the_log_and_readyz() {
    let (bucket, shelf) = (closed().await, Shelf::default());
    let path = shelf.blob(&noise(1, 5000));
    let upstream = shelf.serve(Duration::ZERO).await;
    let toml = one_upstream(&keys(bucket.address), upstream.address, "");
    let key = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let none = "there are no credentials for the cache";
    let why = "AWS_SECRET_ACCESS_KEY is not set, and neither a profile nor a role of this machine has any";
    for (variables, said, because) in [
        (&[][..], none, format!("AWS_ACCESS_KEY_ID is not set, {why}")),
        // A Compose file makes this of a variable that nobody has set.
        (&[("AWS_ACCESS_KEY_ID", "")][..], none, format!("AWS_ACCESS_KEY_ID is set and empty, {why}")),
        (&key[..], "the cache cannot be read: access is denied", "AccessDenied".to_owned()),
    ] {
        let setup = with(variables);
        let config = setup.file("proxy.toml", &toml);
        let output = setup.run(&["--config", &config, "check"]).await;
        let warned = String::from_utf8(output.stderr).unwrap();
        let line = warned.lines().find(|line| line.contains("cache.store")).unwrap_or_else(|| panic!("{warned}"));
        assert!(line.contains(said) && line.contains(&because), "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");

        let product = setup.start(&toml).await;
        let line = product.wait_for_line(&format!("{said}; until it answers nothing is cached")).await;
        assert!(line.contains(&because), "{line}");
        assert!(!product.log().contains("cannot be written"), "it was only read");
        let mut client = Client::connect(product.address).await;
        let (head, body) = client.get("/readyz").await;
        assert_eq!(head.status, 200, "it serves all the same");
        assert_eq!(String::from_utf8(body).unwrap(), format!("ready\nwarning: {said}\n"));
        assert!(client.get(&path).await.1 == noise(1, 5000), "{}", product.log());
    }
}
