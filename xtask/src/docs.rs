//! `cargo xtask docs`: the pages and the files of deploy/ that are made from the code, which text the pages in Chinese
//! follow, and all pages as a site.

use std::fs;

use crate::arguments::Docs;
use crate::run::{cargo, workspace};
use crate::{pages, recording, site};

/// What prints a page, as arguments of `cargo run`, and where it belongs.
const PAGES: [(&[&str], &[&str]); 6] = [
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "configuration", "--", "page"],
        &["docs/reference/configuration.md"],
    ),
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "configuration", "--", "schema"],
        &["docs/reference/registry-proxy.schema.json"],
    ),
    (&["-p", "registry-proxy", "--", "outcomes"], &["docs/reference/outcomes.md"]),
    (
        &["-p", "registry-proxy-core", "--features", "testing", "--example", "registries"],
        &["docs/reference/registries.md"],
    ),
    // Helm reads files of the chart's own folder only.
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "monitoring", "--", "dashboard"],
        &["deploy/grafana/dashboard.json", "deploy/kubernetes/chart/files/dashboard.json"],
    ),
    (
        &["-p", "registry-proxy-core", "--features", "schema", "--example", "monitoring", "--", "rules"],
        &["deploy/prometheus/rules.yaml", "deploy/kubernetes/chart/files/rules.yaml"],
    ),
];

/// A terminal, as text and as a picture. `outer/examples/first_minutes.rs` records the text.
const RECORDING: &str = "docs/images/first-minutes.txt";
const PICTURE: &str = "docs/images/first-minutes.svg";
const PICTURE_TITLE: &str =
    "The first minutes: start the proxy, point a client at it, pull an image, see why it was a hit";

/// Completions and man pages.
const SHELL_FILES: &str = "crates/server/shell";

pub(crate) fn run(arguments: &Docs) -> Result<(), String> {
    if !arguments.twin.is_empty() {
        return arguments.twin.iter().try_for_each(|twin| pages::mark(twin));
    }
    if arguments.site {
        return site::run(&arguments.out, arguments.install);
    }
    for (printer, paths) in PAGES {
        let page = cargo(&[&["run", "--quiet"], printer].concat()).output()?;
        for path in paths {
            fs::write(path, &page).map_err(|error| format!("cannot write {path}: {error}"))?;
            eprintln!("wrote {path}");
        }
    }
    fs::write(PICTURE, picture()?).map_err(|error| format!("cannot write {PICTURE}: {error}"))?;
    eprintln!("wrote {PICTURE}");
    // A test, so that what generates them is no part of the binary.
    let writer = "completions::tests::write_the_files";
    cargo(&["test", "--quiet", "-p", "registry-proxy", "--bin", "registry-proxy", "--", "--ignored", writer])
        .run()?;
    eprintln!("wrote {SHELL_FILES}");
    Ok(())
}

fn picture() -> Result<String, String> {
    let path = workspace().join(RECORDING);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(recording::svg(PICTURE_TITLE, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_of_the_terminal_is_made_of_its_text() {
        let made = picture().unwrap();
        let there = fs::read_to_string(workspace().join(PICTURE)).unwrap();
        assert!(made == there, "{PICTURE} is not what {RECORDING} gives: cargo xtask docs");
    }
}
