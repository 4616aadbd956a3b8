//! A proxy that streams everything, whatever the platform: each gateway must notice.

use registry_proxy_outer::gateway::Limit;
use registry_proxy_outer::gateway::rules::{CLOUD_RUN, FC, LAMBDA, Rules, SCF};
use registry_proxy_outer::image::tiers::REPOSITORY;
use registry_proxy_outer::{Context, Outcome, http};

use crate::stage::{Kept, Scene, tiers};

/// Takes the platform for a server, and asks for the first layer over so many bytes.
fn streams_in_vain(rules: &Rules, bytes: u64, limit: Limit) -> Outcome {
    let scene =
        Scene::with(rules, Kept::Nowhere, None, |setup| setup.variable("REGISTRY_PROXY_PLATFORM", "server"))?;
    let (layer, _) = tiers()?.layer_over(bytes).context("no layer is as large as that")?;
    let url = scene.function.url(&format!("/v2/{REPOSITORY}/blobs/{layer}"));
    let answer = http::Client::new()?.get(url).ask();
    // Refused, or cut off in the middle.
    registry_proxy_outer::failure::ensure(
        answer.as_ref().map_or(true, |answer| answer.status.is_server_error()),
        "a layer came through that the platform does not let through",
    )?;
    scene.function.ledger().expect_breach(limit)
}

#[test]
fn tencent_scf_refuses_six_megabytes() -> Outcome {
    streams_in_vain(&SCF, 6_000_001, Limit::WholeBody)
}

#[test]
fn aliyun_fc_refuses_a_long_body_that_is_not_chunked() -> Outcome {
    streams_in_vain(&FC, 32_000_001, Limit::WholeBody)
}

#[test]
fn cloud_run_refuses_a_long_body_that_is_not_chunked() -> Outcome {
    streams_in_vain(&CLOUD_RUN, 32 << 20, Limit::WholeBody)
}

#[test]
fn aws_lambda_cuts_off_at_200_megabytes() -> Outcome {
    // At the platform's own speed this takes two minutes; its speed has a test of its own.
    let hurried = Rules { throttle: None, ..LAMBDA };
    streams_in_vain(&hurried, 200 << 20, Limit::StreamedBody)
}
