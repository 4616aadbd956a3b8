//! One image on every platform that takes images: the one that `cargo xtask package container` writes, unchanged.
//!
//! It is started as the platforms start it: its entry point without arguments, its environment and the platform's, its user
//! (where the platform has none of its own), and no file that can be written but below `/tmp`. Which platform it is, at
//! which port it is asked and where it may keep something, it has to find out.

use std::sync::Arc;

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{By, Puller};
use registry_proxy_outer::failure::ensure;
use registry_proxy_outer::gateway::rules::{AZURE, CLOUD_RUN, FC, LAMBDA, Rules, SCF};
use registry_proxy_outer::image::tiers::REPOSITORY;
use registry_proxy_outer::packaged::PackagedImage;
use registry_proxy_outer::proxy::{Setup, free_port};

use crate::stage::{Kept, Scene, port_9000, tiers};

/// AWS Lambda starts every image as a user of its own, "with least-privileged permissions"; which one, it does not say.
const LAMBDA_USER: &str = "993:990";

/// Pulls by tag from a function that has nothing, and then by digest.
fn serves(rules: &Rules, kept: Kept, setup: impl Fn() -> Setup, port: Option<u16>) -> Outcome {
    let scene = Scene::of_image(rules, kept, setup)?;
    if let Some(port) = port {
        let log = scene.function.log();
        ensure(log.contains(&format!("listening on http://0.0.0.0:{port}")), log)?;
    }
    let repository = format!("reg.test/{REPOSITORY}");
    for (client, by) in [(Puller::Skopeo, By::Tag), (Puller::Podman, By::Digest)] {
        let pulled = client.pull(scene.function.address(), &repository, &tiers()?.platform, by);
        // What the platform has to say of a pull that failed comes first.
        scene.expect_peace()?;
        pulled?;
    }
    Ok(())
}

fn image() -> Outcome<Arc<PackagedImage>> {
    PackagedImage::unpack().map(Arc::new)
}

#[test]
fn the_image_serves_on_aliyun_fc() -> Outcome {
    let (_port, image) = (port_9000(), image()?);
    serves(&FC, Kept::Disk, || Setup::of_image(&image, None), Some(9000))
}

#[test]
fn the_image_serves_on_tencent_scf() -> Outcome {
    let (_port, image) = (port_9000(), image()?);
    serves(&SCF, Kept::Objects, || Setup::of_image(&image, None), Some(9000))
}

#[test]
fn the_image_serves_on_aws_lambda_as_its_user() -> Outcome {
    let image = image()?;
    serves(&LAMBDA, Kept::Objects, || Setup::of_image(&image, Some(LAMBDA_USER)), None)
}

#[test]
fn the_image_serves_on_cloud_run() -> Outcome {
    let (image, port) = (image()?, free_port()?);
    let setup = || Setup::of_image(&image, None).variable("PORT", port.to_string());
    serves(&CLOUD_RUN, Kept::Nowhere, setup, Some(port))
}

#[test]
fn the_image_serves_on_azure_container_apps() -> Outcome {
    let (image, port) = (image()?, free_port()?);
    let setup = || Setup::of_image(&image, None).variable("CONTAINER_APP_PORT", port.to_string());
    serves(&AZURE, Kept::Disk, setup, Some(port))
}
