//! `cargo xtask test`: checks what the machine has, then runs the inner tests, then the outer ones.

use std::path::{Path, PathBuf};

use crate::arguments::Test;
use crate::machine::target::Target;
use crate::machine::{self, buckets, is_root, npm, pypi};
use crate::run::{Shown, cargo, host_triple, target_folder, workspace};
use crate::{deploy, package, worker};

/// Tells the outer tests where the binary is; their fixture `Proxy` reads it.
pub(crate) const BINARY_VARIABLE: &str = "PROXY_UNDER_TEST";
/// Tells them where the packages are.
const PACKAGES_VARIABLE: &str = "PACKAGES_UNDER_TEST";

/// These tell them where the packaged Worker is, and what runs it; their fixture `Worker` reads them.
const WORKER_VARIABLE: &str = "WORKER_UNDER_TEST";
const TOOLS_VARIABLE: &str = "WORKER_TOOLS";
const NODE_VARIABLE: &str = "WORKER_NODE";

/// Tells them where what drives a browser is; it runs on the Worker's Node.js.
const PAGE_VARIABLE: &str = "PAGE_TOOLS";

/// Other variables that the outer tests read: the cargo that the emulator of AWS Lambda calls, and how much to test.
const TOLD: [&str; 5] =
    ["CARGO", "PAGE_SCREENSHOTS", "REGISTRY_PROXY_MATRIX", "REGISTRY_PROXY_LARGEST_MIB", buckets::VARIABLE];

pub(crate) fn run(arguments: &Test) -> Result<(), String> {
    machine::prepare(arguments)?;
    // If they are not installed, the inner tests run without them.
    let buckets = buckets::are_there().then(buckets::Running::start).transpose()?;
    let named = buckets.as_ref().map(buckets::Running::variable).unwrap_or_default();
    if arguments.inner() {
        cargo(&["test", "--workspace", "--exclude", "registry-proxy-outer"])
            .variable(buckets::VARIABLE, named)
            .run()?;
        // What the released binary has besides: the tests of it alone, because the others have run.
        cargo(&[
            "test",
            "-p",
            "registry-proxy",
            "--features",
            package::OPTIONAL_FEATURES,
            "--",
            "traces",
            "signature_keys",
            "cloud_login",
            "issuers",
            "timetable",
        ])
        .variable(buckets::VARIABLE, named)
        .run()?;
        // A build of its own: its locks work under shuttle only.
        cargo(&["test", "-p", "registry-proxy-core", "--features", "shuttle", "--lib", "interleavings"]).run()?;
    }
    if arguments.outer() {
        deploy::check(arguments.install)?;
        // The tests use what users use: the binary that is released, and its packages.
        let binary = package::build(Target::OWN, package::Features::Packaged)?;
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
        .chain([(PAGE_VARIABLE, npm::PAGE.folder())])
        .chain(pypi::OUTER.iter().map(|program| (program.variable, program.path())))
        .collect();
    let command = cargo(&["test", "-p", "registry-proxy-outer"]);
    let mut command = variables
        .iter()
        .fold(command, |command, (name, path)| command.variable(name, &path.display().to_string()));
    if !is_root() {
        // Container engines mount file systems. Only the tests run as root; cargo does not.
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

/// Runs what `s deploy` runs in a clone before it uploads. The binary is built already, so this is quick.
fn aliyun_pre_deploy() -> Result<(), String> {
    let folder = workspace().join("deploy/aliyun");
    Shown::new("sh", &[&folder.join("pre-deploy.sh").display().to_string()])
        .variable("PATH_SECRET", "of-the-tests")
        .run()?;
    let program = folder.join("code/registry-proxy");
    if program.is_file() { Ok(()) } else { Err(format!("{} was not made", program.display())) }
}

/// The variables for the packaged Worker and what runs it.
pub(crate) fn worker_variables() -> [(&'static str, PathBuf); 3] {
    [(WORKER_VARIABLE, worker_folder()), (TOOLS_VARIABLE, npm::WORKERS.folder()), (NODE_VARIABLE, npm::node())]
}

/// Where the tests package it.
pub(crate) fn worker_folder() -> PathBuf {
    target_folder().join("worker")
}
