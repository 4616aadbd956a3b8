//! `cargo xtask worker`: compiles the Cloudflare Worker and puts it, with its JavaScript, into a folder that wrangler and
//! the tests use as it is.

use std::fs;
use std::path::Path;

use crate::arguments::Worker;
use crate::machine::{self, WASM};
use crate::run::{cargo, target_folder, workspace};

/// The files in the folder; `main` in wrangler.toml names the first.
const FILES: [&str; 4] = ["entry.js", "core.js", "native.js", "core_bg.wasm"];

pub(crate) fn run(arguments: &Worker) -> Result<(), String> {
    let folder = match &arguments.out {
        Some(folder) => folder.clone(),
        None => workspace().join("deploy/cloudflare/build"),
    };
    package(&folder)?;
    for name in FILES {
        let length = fs::metadata(folder.join(name)).map_err(|error| format!("{name}: {error}"))?.len();
        eprintln!("{:>8} KiB  {}", length.div_ceil(1024), folder.join(name).display());
    }
    Ok(())
}

/// Compiles it into this folder, and removes what was there.
pub(crate) fn package(folder: &Path) -> Result<(), String> {
    if !machine::has_wasm_target() {
        return Err(format!("this machine lacks {WASM}: rustup target add {WASM}"));
    }
    cargo(&["build", "--locked", "--profile", "worker", "-p", "registry-proxy-worker", "--target", WASM]).run()?;
    let wasm = target_folder().join(WASM).join("worker/registry_proxy_worker.wasm");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let [wasm, out] = [&wasm, folder].map(|path: &Path| path.display().to_string());
    cargo(&["run", "--locked", "--quiet", "-p", "xtask-bindgen", "--", &wasm, &out]).run()?;
    fs::copy(workspace().join("crates/worker/src/entry.js"), folder.join("entry.js")).map_err(failed)?;
    Ok(())
}
