//! `cargo xtask docs`: the pages that are made from the code, and which text the pages in Chinese follow.

use std::fs;

use crate::arguments::Docs;
use crate::pages;
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

pub(crate) fn run(arguments: &Docs) -> Result<(), String> {
    if !arguments.twin.is_empty() {
        return arguments.twin.iter().try_for_each(|twin| pages::mark(twin));
    }
    for (printer, path) in PAGES {
        let page = cargo(&[&["run", "--quiet"], printer].concat()).output()?;
        fs::write(path, page).map_err(|error| format!("cannot write {path}: {error}"))?;
        eprintln!("wrote {path}");
    }
    Ok(())
}
