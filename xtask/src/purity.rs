//! `cargo xtask purity`: the core decides everything and touches nothing.

mod dependencies;
mod structure;
mod words;

use crate::machine::{self, WASM};
use crate::run::cargo;

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let install = match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => false,
        (Some("--install"), None) => true,
        (Some("structure"), None) => return judge(&structure::faults()?),
        _ => return Err("`purity` takes nothing, --install, or `structure` for that part alone".to_owned()),
    };
    machine::prepare_wasm(install)?;
    judge(&[dependencies::faults()?, words::faults()?, structure::faults()?].concat())?;
    cargo(&["build", "-p", "registry-proxy-core", "--target", WASM]).run()?;
    eprintln!("The core is pure.");
    // The Worker is empty for every other target, so nobody else looks at it.
    cargo(&["clippy", "-p", "registry-proxy-worker", "--target", WASM, "--", "-D", "warnings"]).run()?;
    Ok(())
}

fn judge(faults: &[String]) -> Result<(), String> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("the code is not as it has to be:\n  {}", faults.join("\n  ")))
    }
}
