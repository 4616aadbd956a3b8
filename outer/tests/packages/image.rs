//! The image: read by skopeo, loaded and run by docker with a root that cannot be written.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{Docker, Skopeo};
use registry_proxy_outer::failure::ensure;
use registry_proxy_outer::registry::Registry;

use crate::package;

const IMAGE: &str = "registry-proxy:0.1.0";

#[test]
fn a_registry_takes_it_with_its_index() -> Outcome {
    let registry = Registry::fresh()?;
    let source = format!("oci-archive:{}", package("container/registry-proxy.oci.tar")?.display());
    let image = format!("{}/registry-proxy:v1", registry.address());
    let skopeo = Skopeo::new()?;
    skopeo.push(&source, &image, &[])?;
    let index = skopeo.raw_manifest(&image)?;
    ensure(index.contains("application/vnd.oci.image.index.v1+json") && index.contains("amd64"), &index)?;
    // Every file hashed again.
    skopeo.pull(&image, &[])?.digests().map(drop)
}

#[test]
fn docker_loads_it_and_runs_it_with_a_root_that_cannot_be_written() -> Outcome {
    let docker = Docker::start(&[])?;
    let path = package("container/registry-proxy.oci.tar")?.display().to_string();
    let loaded = docker.run(&["load", "--input", &path])?.success()?;
    ensure(loaded.contains(IMAGE), &loaded)?;
    let run = ["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL"];
    let version = docker.run(&[&run[..], &[IMAGE, "--version"]].concat())?.success()?;
    ensure(version.starts_with("registry-proxy "), version)?;
    let checked = docker.run(&[&run[..], &[IMAGE, "check"]].concat())?.success()?;
    ensure(checked.contains("listen = \"0.0.0.0:3000\""), checked)?;
    // A volume takes its owner from the image: the cache can be written by the image's user.
    let volume = ["--volume", "cache:/var/cache/registry-proxy"];
    let stat = docker.run(&[&run[..], &volume, &[IMAGE, "cache", "stat"]].concat())?.success()?;
    ensure(stat.contains("/var/cache/registry-proxy"), stat)
}
