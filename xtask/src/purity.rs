//! `cargo xtask purity`: checks that the core decides everything and touches nothing, and that the pages hold together.

mod dependencies;
mod structure;
mod words;

use crate::arguments::{Part, Purity};
use crate::machine::{self, WASM};
use crate::pages;
use crate::run::cargo;

pub(crate) fn run(arguments: &Purity) -> Result<(), String> {
    match arguments.part {
        Some(Part::Structure) => return judge(&structure::faults()?),
        Some(Part::Pages) => return judge(&pages::faults()?),
        None => machine::prepare_wasm(arguments.install)?,
    }
    judge(&[dependencies::faults()?, words::faults()?, structure::faults()?].concat())?;
    cargo(&["build", "-p", "registry-proxy-core", "--target", WASM]).run()?;
    eprintln!("The core is pure.");
    // For every other target the Worker is empty, so no other check sees its code.
    cargo(&["clippy", "-p", "registry-proxy-worker", "--target", WASM, "--", "-D", "warnings"]).run()?;
    Ok(())
}

fn judge(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() { Ok(()) } else { Err(format!("these rules are broken:\n  {}", faults.join("\n  "))) }
}
