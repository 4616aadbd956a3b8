//! Our credential helper for clients of containers/image: a link to the binary on their PATH, and a line in their auth.json.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::process::search_path;
use crate::proxy::binary;
use crate::{Context, Outcome};

const PROGRAM: &str = "docker-credential-registry-proxy";

/// Lets clients with this home and auth.json get their login at `registry` from the helper.
pub(super) fn install(home: &Path, auth_file: &Path, registry: &str) -> Outcome {
    fs::create_dir_all(home.join("bin"))?;
    symlink(binary()?, home.join("bin").join(PROGRAM))?;
    fs::write(auth_file, format!("{{\"credHelpers\": {{ \"{registry}\": \"registry-proxy\" }}}}"))?;
    Ok(())
}

/// PATH with the helper, if it is installed.
pub(super) fn path(home: &Path) -> Outcome<OsString> {
    std::env::join_paths([home.join("bin")].into_iter().chain(search_path())).context("PATH")
}

/// What the helper has stored.
pub(super) fn stored(home: &Path) -> Outcome<String> {
    Ok(fs::read_to_string(home.join(".config/registry-proxy/credentials.json"))?)
}
