//! `cargo xtask docs`: the pages that are made from the code.

use std::fs;

use crate::run::cargo;

/// What prints a page, as arguments of `cargo run`, and where it belongs.
const PAGES: [(&[&str], &str); 4] = [
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "configuration", "--", "page"],
        "docs/reference/configuration.md",
    ),
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "configuration", "--", "schema"],
        "docs/reference/registry-proxy.schema.json",
    ),
    (&["-p", "registry-proxy", "--", "outcomes"], "docs/reference/outcomes.md"),
    (
        &["-p", "registry-proxy-core", "--features", "testing", "--example", "registries"],
        "docs/reference/registries.md",
    ),
];

pub(crate) fn run() -> Result<(), String> {
    for (printer, path) in PAGES {
        let page = cargo(&[&["run", "--quiet"], printer].concat()).output()?;
        fs::write(path, page).map_err(|error| format!("cannot write {path}: {error}"))?;
        eprintln!("wrote {path}");
    }
    Ok(())
}
