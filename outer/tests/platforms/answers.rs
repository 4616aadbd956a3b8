//! Single answers, as they arrive behind each platform.

use std::time::Duration;

use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::gateway::rules::{AZURE, CLIENT, CLOUD_RUN, FC, LAMBDA, Rules, SCF, SECRET};
use registry_proxy_outer::image::layout::MANIFEST;
use registry_proxy_outer::image::tiers::{REPOSITORY, patience};
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::{Context, Outcome, http};

use crate::stage::{Kept, Scene, port_9000, tiers};

const ALL: [&Rules; 4] = [&SCF, &FC, &CLOUD_RUN, &LAMBDA];
const SOON: Duration = Duration::from_secs(10);
/// Far more than it takes.
const INGEST: Duration = Duration::from_mins(3);

/// Each of these platforms takes the length of a HEAD away, and clients that then find a digest give up.
#[test]
fn a_head_without_a_length_names_no_digest() -> Outcome {
    for rules in ALL {
        let scene = Scene::start(rules, Kept::Nowhere, None)?;
        let client = http::Client::new()?;
        let url = scene.function.url(&format!("/v2/{REPOSITORY}/manifests/v1"));
        let answer = client.head(url).header("accept", MANIFEST).ask()?.expect_status(200)?;
        equal(rules.name, &answer.header("content-length"), &"")?;
        equal(rules.name, &answer.header("docker-content-digest"), &"")?;
        scene.expect_peace()?;
    }
    Ok(())
}

/// Links are signed for GET.
#[test]
fn a_head_of_a_large_layer_is_not_redirected() -> Outcome {
    for rules in ALL {
        let scene = Scene::start(rules, Kept::Nowhere, None)?;
        let (layer, _) = tiers()?.layer_over(200 << 20).context("no large layer")?;
        let url = scene.function.url(&format!("/v2/{REPOSITORY}/blobs/{layer}"));
        http::Client::new()?.head(url).ask()?.expect_status(200)?;
        scene.expect_peace()?;
    }
    Ok(())
}

/// What no answer carries gets into the store, without work after a response, and comes from there afterwards.
fn is_ingested(rules: &Rules) -> Outcome {
    let scene = Scene::start(rules, Kept::Objects, None)?;
    let client = http::Client::new()?;
    let manifest = scene.function.url(&format!("/v2/{REPOSITORY}/manifests/v1"));
    client.get(manifest).header("accept", MANIFEST).ask()?.expect_status(200)?;
    let store = scene.store().context("there is no store")?;
    for (layer, size) in tiers()?.layers() {
        if size < 6_000_000 {
            continue;
        }
        let url = scene.function.url(&format!("/v2/{REPOSITORY}/blobs/{layer}"));
        wait_until(&format!("a layer of {size} bytes should come from the store"), patience(INGEST), || {
            let answer = client.get(&url).ask()?.expect_status(307)?;
            Ok(answer.location().starts_with(&format!("http://{store}/")).then_some(()))
        })?;
    }
    let sent = scene.front.sent();
    for layer in &tiers()?.platform.layers {
        let url = scene.function.url(&format!("/v2/{REPOSITORY}/blobs/{layer}"));
        let answer = client.get(&url).ask()?;
        let answer = if answer.status == 307 { client.get(answer.location()).ask()? } else { answer };
        let bytes = answer.expect_status(200)?.body;
        equal("digest", &registry_proxy_outer::digest::of_bytes(&bytes), layer)?;
    }
    ensure(scene.front.sent() - sent < 6_000_000, "the upstream was asked for what the store has")?;
    scene.expect_peace()
}

#[test]
fn tencent_scf_serves_large_layers_from_the_store() -> Outcome {
    is_ingested(&SCF)
}

#[test]
fn aws_lambda_serves_large_layers_from_the_store() -> Outcome {
    is_ingested(&LAMBDA)
}

/// Limits for each client, and the log, go by it.
#[test]
fn no_client_gives_itself_another_address() -> Outcome {
    for rules in ALL {
        let scene = Scene::start(rules, Kept::Nowhere, None)?;
        let url = scene.function.url(&format!("/v2/{REPOSITORY}/manifests/v1"));
        let client = http::Client::new()?;
        let log = wait_until("a request should be in the log", SOON, || {
            let ask = client.get(&url).header("accept", MANIFEST).header("x-forwarded-for", "203.0.113.66");
            ask.ask()?.expect_status(200)?;
            // A process that is frozen behind its answer writes the line when it runs again.
            let log = scene.function.log();
            Ok(log.contains("duration_ms").then_some(log))
        })?;
        ensure(!log.contains("203.0.113.66"), &log)?;
        // The emulator's events do not name anybody.
        ensure(rules.name == LAMBDA.name || log.contains(CLIENT), &log)?;
    }
    Ok(())
}

/// What `expect_peace` relies on.
#[test]
fn the_upstream_notices_a_secret() -> Outcome {
    let scene = Scene::start(&SCF, Kept::Nowhere, None)?;
    scene.expect_peace()?;
    let url = format!("http://{}/v2/", scene.front.address());
    http::Client::new()?.get(url).header("x", SECRET).ask()?.expect_status(200)?;
    ensure(scene.expect_peace().is_err(), "a secret went unnoticed")
}

/// Without anybody telling it where to listen.
#[test]
fn it_listens_where_the_platform_asks() -> Outcome {
    let _port = port_9000();
    for (rules, more, expected) in [
        (&SCF, &[][..], "http://0.0.0.0:9000"),
        (&FC, &[][..], "http://0.0.0.0:9000"),
        (&FC, &[("FC_SERVER_PORT", "9753")][..], "http://0.0.0.0:9753"),
        (&CLOUD_RUN, &[("PORT", "9754")][..], "http://0.0.0.0:9754"),
        (&AZURE, &[("CONTAINER_APP_PORT", "9755")][..], "http://0.0.0.0:9755"),
    ] {
        let named = rules.environment.iter().chain(more);
        let setup =
            named.fold(Setup::new().listens_by_itself(), |setup, (name, value)| setup.variable(name, *value));
        let (service, _folder) = setup.start_until("listening on ")?;
        ensure(service.log().contains(expected), service.log())?;
    }
    Ok(())
}
