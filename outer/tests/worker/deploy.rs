//! What is deployed, and what is said where it cannot work.

use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::Client;
use registry_proxy_outer::worker::{Setup, dry_run};
use registry_proxy_outer::{Outcome, digest};

use crate::stage::turn;

#[test]
fn wrangler_would_deploy_it() -> Outcome {
    let said = dry_run()?.success()?;
    ensure(said.contains("env.BLOBS") && said.contains("--dry-run: exiting now"), said)
}

#[test]
fn a_wrong_configuration_is_said_in_the_log_and_not_to_clients() -> Outcome {
    let _turn = turn();
    let worker = Setup::new().variable("REGISTRY_PROXY_CACHE__STORE", "file:///secret-place").start()?;
    let client = Client::new()?;
    let answer = client.get(worker.url("/v2/")).ask()?.expect_status(503)?;
    equal("code", &answer.json()?["errors"][0]["code"].as_str(), &Some("UNAVAILABLE"))?;
    ensure(!String::from_utf8_lossy(&answer.body).contains("store"), "the client hears of the configuration")?;
    ensure(worker.log().contains("cache.store: on Workers it is the R2 bucket bound as BLOBS"), worker.log())?;
    client.get(worker.url("/healthz")).ask()?.expect_status(200)?;
    Ok(())
}

#[test]
fn the_first_pages_are_there_without_any_configuration() -> Outcome {
    let _turn = turn();
    let worker = Setup::new().start()?;
    let client = Client::new()?;
    let ping = client.get(worker.url("/v2/")).ask()?.expect_status(200)?;
    equal("api version", &ping.header("docker-distribution-api-version"), &"registry/2.0")?;
    let unknown = client.get(worker.url("/v2/nowhere.example/x/blobs/sha256:1")).ask()?;
    ensure(unknown.status.is_client_error() && unknown.json()?["errors"].is_array(), format_args!("{unknown:?}"))?;
    let path = format!("/v2/x/y/blobs/uploads/?digest={}", digest::of_bytes(b""));
    let push = client.post(worker.url(&path)).body("x").ask()?;
    ensure(push.json()?["errors"].is_array(), format_args!("{push:?}"))?;
    let warning = "anybody who finds this address may pull whatever they like";
    ensure(worker.log().contains(warning), worker.log())
}

#[test]
fn a_worker_that_not_everybody_may_use_is_not_warned_of() -> Outcome {
    let _turn = turn();
    let worker = Setup::new().variable("REGISTRY_PROXY_QUOTA__TOTAL__BYTES_PER_DAY", "1TiB").start()?;
    Client::new()?.get(worker.url("/v2/")).ask()?.expect_status(200)?;
    ensure(!worker.log().contains("finds this address"), worker.log())
}
