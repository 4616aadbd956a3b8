//! `cargo xtask bench`: the benchmarks, built as a user's binary is built.

use crate::run::cargo;

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    cargo(&["build", "--release", "-p", "registry-proxy"]).run()?;
    cargo(&["run", "--release", "-p", "registry-proxy-bench", "--"]).arguments(arguments).run()
}
