//! `cargo xtask test`: the machine first, then the inner tests, then the outer ones.

use std::path::Path;

use crate::arguments::Test;
use crate::machine::{self, is_root};
use crate::run::{Shown, cargo, host_triple, target_folder};

/// How the outer tests find the product; their fixture `Proxy` says so too.
const BINARY_VARIABLE: &str = "PROXY_UNDER_TEST";

pub(crate) fn run(arguments: &Test) -> Result<(), String> {
    machine::prepare(arguments)?;
    if arguments.inner {
        cargo(&["test", "--workspace", "--exclude", "registry-proxy-outer"]).run()?;
        // A build of its own: its locks work under shuttle only.
        cargo(&["test", "-p", "registry-proxy-core", "--features", "shuttle", "--lib", "interleavings"]).run()?;
    }
    if arguments.outer {
        // What users run is what is tested.
        cargo(&["build", "--release", "-p", "registry-proxy"]).run()?;
        let binary = target_folder().join("release/registry-proxy");
        outer(&binary, &arguments.rest)?.run()?;
    }
    Ok(())
}

fn outer(binary: &Path, rest: &[String]) -> Result<Shown, String> {
    let mut command =
        cargo(&["test", "-p", "registry-proxy-outer"]).variable(BINARY_VARIABLE, &binary.display().to_string());
    if !is_root() {
        // Engines mount file systems. cargo stays who it is; only the tests become root.
        let runner = format!("CARGO_TARGET_{}_RUNNER", host_triple()?.to_uppercase().replace('-', "_"));
        command = command.variable(&runner, &format!("sudo --preserve-env={BINARY_VARIABLE}"));
    }
    if !rest.is_empty() {
        command = command.arguments(["--".to_owned()]).arguments(rest.iter().cloned());
    }
    Ok(command)
}
