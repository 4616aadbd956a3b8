//! `cargo xtask purity`: the core decides everything and touches nothing.

mod dependencies;
mod words;

use crate::machine::{self, WASM};
use crate::run::cargo;

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let install = match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => false,
        (Some("--install"), None) => true,
        _ => return Err("`purity` takes nothing, or --install".to_owned()),
    };
    machine::prepare_wasm(install)?;
    let faults = [dependencies::faults()?, words::faults()?].concat();
    if !faults.is_empty() {
        return Err(format!("the core is not pure:\n  {}", faults.join("\n  ")));
    }
    cargo(&["build", "-p", "registry-proxy-core", "--target", WASM]).run()?;
    eprintln!("The core is pure.");
    // The Worker is empty for every other target, so nobody else looks at it.
    cargo(&["clippy", "-p", "registry-proxy-worker", "--target", WASM, "--", "-D", "warnings"]).run()?;
    Ok(())
}
