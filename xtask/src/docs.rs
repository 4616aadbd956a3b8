//! `cargo xtask docs`: the pages that are made from the code.

use std::fs;

use crate::run::cargo;

/// What prints a page, and where it belongs.
const PAGES: [(&str, &str); 2] =
    [("reference", "docs/reference/configuration.md"), ("outcomes", "docs/reference/outcomes.md")];

pub(crate) fn run() -> Result<(), String> {
    for (command, path) in PAGES {
        let page = cargo(&["run", "--quiet", "-p", "registry-proxy", "--", command]).output()?;
        fs::write(path, page).map_err(|error| format!("cannot write {path}: {error}"))?;
        eprintln!("wrote {path}");
    }
    Ok(())
}
