//! `registry-proxy warm`: images are fetched once, before anybody pulls them, and pulled when their registry is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use registry_proxy_outer::client::{Containerd, Docker, Podman, Skopeo};
use registry_proxy_outer::digest::hex;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::Platform;
use registry_proxy_outer::image::tiers::write_layout;
use registry_proxy_outer::process::{Signal, wait_until};
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::{Registry, StorageFront};
use registry_proxy_outer::{Failure, Outcome};

use crate::stage::engine_turn;

const DEADLINE: Duration = Duration::from_mins(1);

/// An image at the registry.
struct Pushed {
    repository: String,
    platform: Platform,
}

/// Pushes images of these layers, in bytes.
fn push(registry: &Registry, images: &[&[u64]]) -> Outcome<Vec<Pushed>> {
    let skopeo = Skopeo::new()?;
    let pushed = images.iter().enumerate().map(|(number, layers)| {
        let folder = tempfile::tempdir()?;
        let platform = write_layout(folder.path(), layers.iter().copied())?;
        let repository = format!("team/app{number}");
        let source = format!("oci:{}:image", folder.path().display());
        skopeo.push(&source, &format!("{}/{repository}:v1", registry.address()), &[])?;
        Ok(Pushed { repository, platform })
    });
    pushed.collect()
}

fn list(folder: &Path, images: &[Pushed]) -> Outcome<PathBuf> {
    let lines: Vec<String> = images.iter().map(|image| format!("reg.test/{}:v1\n", image.repository)).collect();
    let path = folder.join("images.txt");
    fs::write(&path, format!("# six of them\n{}", lines.concat()))?;
    Ok(path)
}

/// How often the registry was asked for the bytes of a blob or manifest.
fn asked(registry: &Registry, what: &str) -> usize {
    let log = registry.log();
    log.lines().filter(|line| line.contains("\"GET /v2/") && line.contains(&format!("/{what} "))).count()
}

#[test]
fn six_images_come_once_and_four_clients_pull_them_when_the_registry_is_gone() -> Outcome {
    let _turn = engine_turn();
    let (folder, lists) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = Registry::fresh()?;
    let images = push(
        &registry,
        &[
            &[40_000, 90_000],
            &[41_000, 91_000],
            &[42_000, 92_000],
            &[43_000, 93_000],
            &[44_000, 94_000],
            &[45_000, 2_000_000],
        ],
    )?;
    let list = list(lists.path(), &images)?.display().to_string();
    let proxy = Setup::new()
        .cache(folder.path(), &["tag_ttl = \"1h\""])
        .upstream("reg.test", registry.address(), &[])
        .start()?;
    let words = ["warm", "--platform", "linux/amd64", "--file", &list];
    let told = proxy.command(&words)?.success()?;
    ensure(told.contains("6 of 6 images complete"), told)?;
    for image in &images {
        for digest in &image.platform.layers {
            equal(digest, &asked(&registry, &format!("blobs/{digest}")), &1)?;
        }
        equal(&image.repository, &asked(&registry, "manifests/v1"), &images.len())?;
    }
    let requests = registry.log().matches("\"GET /v2/").count();
    let again = proxy.command(&words)?.success()?;
    ensure(again.contains("6 of 6 images complete; 0 B fetched"), again)?;
    equal("requests of the second warming", &registry.log().matches("\"GET /v2/").count(), &requests)?;

    drop(registry);
    let (podman, containerd, docker) = (Podman::new("")?, Containerd::start()?, Docker::start(&[])?);
    for Pushed { repository, platform } in &images {
        let name = format!("{}/reg.test/{repository}:v1", proxy.address());
        equal(&name, &Skopeo::new()?.pull(&name, &[])?.digests()?, &platform.digests())?;
        podman.pull(&name, &["--tls-verify=false"])?.expect(platform)?;
        containerd.pull(&name, &["--plain-http"])?.success()?;
        docker.pull(&name)?.expect(platform)?;
    }
    let missing = proxy.command(&["warm", "reg.test/team/none:v1"])?.refusal()?;
    ensure(missing.contains("0 of 1 images complete"), missing)
}

/// Blobs that lie in the folder, whole.
fn kept<'a>(folder: &Path, image: &'a Pushed) -> Vec<&'a String> {
    let is_kept = |digest: &&String| {
        let hex = hex(digest);
        folder.join(format!("v1/blobs/sha256/{}/{hex}", &hex[..2])).is_file()
    };
    image.platform.layers.iter().filter(is_kept).collect()
}

#[test]
fn a_server_that_is_killed_while_it_warms_fetches_only_the_rest_afterwards() -> Outcome {
    let (folder, lists) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = Registry::fresh()?;
    let layers = [1_000_000, 1_100_000, 1_200_000, 4_000_000, 4_100_000, 4_200_000];
    let images = push(&registry, &[&layers])?;
    let list = list(lists.path(), &images)?.display().to_string();
    let front = StorageFront::slow(&registry, 2_000_000)?;
    let start = || -> Outcome<Proxy> {
        Setup::new()
            .cache(folder.path(), &[])
            .upstream("reg.test", front.address(), &["redirects = \"follow\""])
            .start()
    };
    let mut proxy = start()?;
    let [image] = images.as_slice() else { return Err(Failure::new("one image")) };
    let before = thread::scope(|scope| {
        let warming = scope.spawn(|| {
            proxy.command(&["warm", "--file", &list]).and_then(registry_proxy_outer::process::Finished::refusal)
        });
        let before = wait_until("some layers should be kept", DEADLINE, || {
            Ok(Some(kept(folder.path(), image)).filter(|kept| kept.len() >= 2))
        });
        proxy.service.signal(Signal::Kill)?;
        let told = warming.join().map_err(|_| Failure::new("the thread panicked"))??;
        ensure(told.contains("registry-proxy: the server"), told)?;
        before
    })?;
    proxy.service.wait(DEADLINE)?;
    ensure(before.len() < layers.len(), "it was killed too late")?;
    let proxy = start()?;
    let told = proxy.command(&["warm", "--file", &list])?.success()?;
    ensure(told.contains("1 of 1 images complete"), told)?;
    for digest in before {
        equal(digest, &asked(&registry, &format!("blobs/{digest}")), &1)?;
    }
    Ok(())
}
