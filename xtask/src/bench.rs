//! `cargo xtask bench`: the benchmarks, on the binary that is passed on.

use crate::machine::target::Target;
use crate::machine::{self, emulator, npm};
use crate::run::cargo;
use crate::{package, test, worker};

/// Where the benchmark finds its peer; its `service::node` says so too.
const FASTIFY_VARIABLE: &str = "BENCH_FASTIFY";

/// `--install` is ours, everything else the benchmark's own.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (install, arguments): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument == "--install");
    if !install.is_empty() {
        machine::install_for_bench()?;
    }
    let mut command = cargo(&["run", "--release", "-p", "registry-proxy-bench", "--"]);
    // What was named is measured; else what users get.
    if std::env::var_os(test::BINARY_VARIABLE).is_none() {
        let binary = package::build(Target::X86_64)?;
        command = command.variable(test::BINARY_VARIABLE, &binary.display().to_string());
    }
    if npm::FASTIFY.is_there() {
        command = command.variable(FASTIFY_VARIABLE, &npm::FASTIFY.folder().display().to_string());
    }
    let measures_platforms = arguments.is_empty() || arguments.iter().any(|argument| argument == "platforms");
    if measures_platforms && npm::WORKERS.is_there() && machine::has_wasm_target() {
        worker::package(&test::worker_folder())?;
        for (name, path) in test::worker_variables() {
            command = command.variable(name, &path.display().to_string());
        }
    }
    command = command.variable(emulator::VARIABLE, &emulator::path().display().to_string());
    command.arguments(arguments).run()
}
