//! Programs from crates.io, compiled once into the folder where `.ci/run` has its own.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::run::{Shown, cargo};

/// A crate that has a program of its name, of this version and no other.
pub(crate) struct Crate {
    name: &'static str,
    version: &'static str,
    /// How it is compiled.
    options: &'static [&'static str],
}

/// Writes the SBOM; it is the `CycloneDX` project's own.
pub(crate) const CYCLONEDX: Crate = Crate { name: "cargo-cyclonedx", version: "0.5.9", options: &[] };

/// Makes the site; without its web server, which half of its dependencies are for.
pub(crate) const MDBOOK: Crate =
    Crate { name: "mdbook", version: "0.5.4", options: &["--no-default-features", "--features", "search"] };

impl Crate {
    /// Whether it is there: cargo notes what it installed into a folder.
    pub(crate) fn is_there(&self) -> bool {
        let noted = fs::read_to_string(folder().join(".crates.toml")).unwrap_or_default();
        noted.contains(&format!("\"{} {} (", self.name, self.version))
    }

    /// Says what it installs, and does.
    pub(super) fn install(&self) -> Result<(), String> {
        let folder = folder().display().to_string();
        eprintln!("{} {} will be compiled from crates.io into {folder}", self.name, self.version);
        let package = format!("{}@{}", self.name, self.version);
        // Without optimisation: it runs for a second, once.
        let command = ["install", "--locked", "--debug", "--root", &folder, &package];
        cargo(&[&command[..], self.options].concat())
            .variable("CARGO_TARGET_DIR", &format!("{folder}-target"))
            .run()
    }

    /// The command that runs it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Shown {
        Shown::new(&folder().join("bin").join(self.name).display().to_string(), arguments)
    }
}

/// Where `.ci/run` has its own.
fn folder() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("registry-proxy-ci/tools")
}

/// What, and where, for people.
impl fmt::Display for Crate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.name, self.version, folder().join("bin").display())
    }
}
