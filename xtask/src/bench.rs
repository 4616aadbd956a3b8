//! `cargo xtask bench`: runs the benchmarks on the binary that is released.

use std::{env, fs};

use registry_proxy_bench_options::Scenario;

use crate::arguments::Bench;
use crate::machine::target::Target;
use crate::machine::{self, npm, pypi};
use crate::package::{self, Features};
use crate::run::{cargo, target_folder};
use crate::{test, worker};

/// Tells the benchmark where Fastify is installed; its `service::node` reads it.
const FASTIFY_VARIABLE: &str = "BENCH_FASTIFY";

/// Tells the benchmark where the binary without optional features is; its `scenario::size` reads it.
const SMALLEST_VARIABLE: &str = "BENCH_WITHOUT_OPTIONAL_FEATURES";

/// Tells the benchmark where the bare relay is; its `service::bare` reads it.
const BARE_RELAY_VARIABLE: &str = "BENCH_BARE_RELAY";

pub(crate) fn run(arguments: &Bench) -> Result<(), String> {
    let options = &arguments.options;
    if arguments.install {
        machine::install_for_bench()?;
    }
    let mut command = cargo(&["run", "--release", "-p", "registry-proxy-bench", "--"]);
    // If no binary is named, the one that users get is built and measured.
    if env::var_os(test::BINARY_VARIABLE).is_none() && options.binary.is_none() {
        machine::prepare_targets(&[Target::OWN], arguments.install)?;
        if options.scenarios.contains(&Scenario::Size) {
            // First, because the other build writes the same file.
            let built = package::build(Target::OWN, Features::Default)?;
            let kept = target_folder().join("registry-proxy-without-optional-features");
            fs::copy(&built, &kept).map_err(|error| format!("{}: {error}", built.display()))?;
            command = command.variable(SMALLEST_VARIABLE, &kept.display().to_string());
        }
        let binary = package::build(Target::OWN, Features::Packaged)?;
        command = command.variable(test::BINARY_VARIABLE, &binary.display().to_string());
    }
    if options.scenarios.contains(&Scenario::Manifest)
        && machine::prepare_targets(&[Target::OWN], arguments.install).is_ok()
    {
        let bare = package::build_as_packaged("registry-proxy-bare-relay", Target::OWN)?;
        command = command.variable(BARE_RELAY_VARIABLE, &bare.display().to_string());
    }
    if npm::FASTIFY.is_there() {
        command = command.variable(FASTIFY_VARIABLE, &npm::FASTIFY.folder().display().to_string());
    }
    if options.scenarios.contains(&Scenario::Platforms) {
        if npm::WORKERS.is_there() && machine::has_wasm_target() {
            worker::package(&test::worker_folder())?;
            for (name, path) in test::worker_variables() {
                command = command.variable(name, &path.display().to_string());
            }
        }
        if pypi::CARGO_LAMBDA.is_there() {
            command =
                command.variable(pypi::CARGO_LAMBDA.variable, &pypi::CARGO_LAMBDA.path().display().to_string());
        }
    }
    // The words after `xtask bench` are passed on; only `--install` is not for the benchmark.
    command.arguments(env::args().skip(2).filter(|word| word != "--install")).run()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Cli, Task};

    #[test]
    fn all_scenarios_are_wanted_where_none_is_named() {
        for (line, is_wanted) in [
            ("", true),
            ("--quick --record", true),
            ("--pairs 3", true),
            ("--binary blob", true),
            ("blob", false),
            ("--pairs 3 hit fill", false),
            ("blob platforms", true),
            ("blob --install --binary=platforms", false),
        ] {
            let cli = Cli::try_parse_from(["xtask", "bench"].into_iter().chain(line.split_whitespace()));
            let Some(Task::Bench(Bench { options, .. })) = cli.unwrap().task else { panic!("another task") };
            assert_eq!(options.scenarios.contains(&Scenario::Platforms), is_wanted, "{line}");
        }
    }
}
