//! `cargo xtask docs`: the pages that are made from the code.

use std::fs;

use crate::run::cargo;

const CONFIGURATION: &str = "docs/reference/configuration.md";

pub(crate) fn run() -> Result<(), String> {
    let page = cargo(&["run", "--quiet", "-p", "registry-proxy", "--", "reference"]).output()?;
    fs::write(CONFIGURATION, page).map_err(|error| format!("cannot write {CONFIGURATION}: {error}"))?;
    eprintln!("wrote {CONFIGURATION}");
    Ok(())
}
