//! `cargo xtask test`: the machine first, then the inner tests, then the outer ones.

use std::path::{Path, PathBuf};

use crate::arguments::Test;
use crate::machine::target::Target;
use crate::machine::{self, buckets, is_root, npm, pypi};
use crate::run::{Shown, cargo, host_triple, target_folder, workspace};
use crate::{deploy, package, worker};

/// How the outer tests find the product; their fixture `Proxy` says so too.
pub(crate) const BINARY_VARIABLE: &str = "PROXY_UNDER_TEST";
/// How they find what it is packaged in.
const PACKAGES_VARIABLE: &str = "PACKAGES_UNDER_TEST";

/// How they find the packaged Worker, and what runs it; their fixture `Worker` says so too.
const WORKER_VARIABLE: &str = "WORKER_UNDER_TEST";
const TOOLS_VARIABLE: &str = "WORKER_TOOLS";
const NODE_VARIABLE: &str = "WORKER_NODE";

/// What else the outer tests want of the environment: the cargo that the emulator of AWS Lambda asks, and how much to do.
const TOLD: [&str; 4] = ["CARGO", "REGISTRY_PROXY_MATRIX", "REGISTRY_PROXY_LARGEST_MIB", buckets::VARIABLE];

pub(crate) fn run(arguments: &Test) -> Result<(), String> {
    machine::prepare(arguments)?;
    // Without them the fast tests alone do without.
    let buckets = buckets::are_there().then(buckets::Running::start).transpose()?;
    let named = buckets.as_ref().map(buckets::Running::variable).unwrap_or_default();
    if arguments.inner {
        cargo(&["test", "--workspace", "--exclude", "registry-proxy-outer"])
            .variable(buckets::VARIABLE, named)
            .run()?;
        // A build of its own: its locks work under shuttle only.
        cargo(&["test", "-p", "registry-proxy-core", "--features", "shuttle", "--lib", "interleavings"]).run()?;
    }
    if arguments.outer {
        deploy::check(arguments.install)?;
        // What users run is what is tested: the binary that is passed on, and what it is packaged in.
        let binary = package::build(Target::OWN)?;
        let packages = target_folder().join("packages");
        package::pack_all(&[&binary], &packages)?;
        aliyun_pre_deploy()?;
        worker::package(&worker_folder())?;
        outer(&binary, &packages, &arguments.rest)?.variable(buckets::VARIABLE, named).run()?;
    }
    Ok(())
}

fn outer(binary: &Path, packages: &Path, rest: &[String]) -> Result<Shown, String> {
    let variables: Vec<(&str, PathBuf)> = worker_variables()
        .into_iter()
        .chain([(BINARY_VARIABLE, binary.to_owned()), (PACKAGES_VARIABLE, packages.to_owned())])
        .chain(pypi::OUTER.iter().map(|program| (program.variable, program.path())))
        .collect();
    let command = cargo(&["test", "-p", "registry-proxy-outer"]);
    let mut command = variables
        .iter()
        .fold(command, |command, (name, path)| command.variable(name, &path.display().to_string()));
    if !is_root() {
        // Engines mount file systems. cargo stays who it is; only the tests become root.
        let runner = format!("CARGO_TARGET_{}_RUNNER", host_triple()?.to_uppercase().replace('-', "_"));
        let names = variables.iter().map(|(name, _)| *name).chain(TOLD);
        let names = names.collect::<Vec<_>>().join(",");
        command = command.variable(&runner, &format!("sudo --preserve-env={names}"));
    }
    if !rest.is_empty() {
        command = command.arguments(["--".to_owned()]).arguments(rest.iter().cloned());
    }
    Ok(command)
}

/// What `s deploy` runs in a clone before it uploads, as it stands: the binary is built already, so it is quick.
fn aliyun_pre_deploy() -> Result<(), String> {
    let folder = workspace().join("deploy/aliyun");
    Shown::new("sh", &[&folder.join("pre-deploy.sh").display().to_string()])
        .variable("PATH_SECRET", "of-the-tests")
        .run()?;
    let program = folder.join("code/registry-proxy");
    if program.is_file() { Ok(()) } else { Err(format!("{} was not made", program.display())) }
}

/// What says where the packaged Worker is, and what runs it.
pub(crate) fn worker_variables() -> [(&'static str, PathBuf); 3] {
    [(WORKER_VARIABLE, worker_folder()), (TOOLS_VARIABLE, npm::WORKERS.folder()), (NODE_VARIABLE, npm::node())]
}

/// Where it is packaged to.
pub(crate) fn worker_folder() -> PathBuf {
    target_folder().join("worker")
}
