//! `cargo xtask bench`: the benchmarks, on the binary that is passed on.

use crate::machine::target::Target;
use crate::machine::{self, npm, pypi};
use crate::run::cargo;
use crate::{package, test, worker};

/// Where the benchmark finds its peer; its `service::node` says so too.
const FASTIFY_VARIABLE: &str = "BENCH_FASTIFY";
/// An option of the benchmark's, which names what to measure.
const BINARY: &str = "--binary";

/// `--install` is ours, everything else the benchmark's own.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (install, arguments): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument == "--install");
    let install = !install.is_empty();
    if install {
        machine::install_for_bench()?;
    }
    let mut command = cargo(&["run", "--release", "-p", "registry-proxy-bench", "--"]);
    // What was named is measured; else what users get.
    if std::env::var_os(test::BINARY_VARIABLE).is_none() && !arguments.iter().any(|argument| argument == BINARY) {
        machine::prepare_targets(&[Target::OWN], install)?;
        let binary = package::build(Target::OWN)?;
        command = command.variable(test::BINARY_VARIABLE, &binary.display().to_string());
    }
    if npm::FASTIFY.is_there() {
        command = command.variable(FASTIFY_VARIABLE, &npm::FASTIFY.folder().display().to_string());
    }
    if measures_platforms(&arguments) {
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
    command.arguments(arguments).run()
}

/// Whether the scenario is named, or none is.
fn measures_platforms(arguments: &[String]) -> bool {
    let mut scenarios = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if [BINARY, "--pairs"].contains(&argument.as_str()) {
            rest.next();
        } else if !argument.starts_with("--") {
            scenarios.push(argument);
        }
    }
    scenarios.is_empty() || scenarios.iter().any(|scenario| *scenario == "platforms")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(measures_platforms(&arguments), is_wanted, "{line}");
        }
    }
}
