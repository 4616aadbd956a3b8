//! cargo-lambda, whose emulator the outer tests take for AWS Lambda: from `PyPI`, in a folder of its own that survives
//! `cargo clean`.

use std::env;
use std::path::PathBuf;

use crate::run::Shown;

/// The variable that names it to the outer tests; set beforehand, it names another.
pub(crate) const VARIABLE: &str = "CARGO_LAMBDA";
const VERSION: &str = "1.9.2";

/// Where it is, or belongs.
pub(crate) fn path() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| folder().join("bin/cargo-lambda"), PathBuf::from)
}

pub(crate) fn is_there() -> bool {
    path().is_file()
}

pub(super) fn install() -> Result<(), String> {
    let folder = folder().display().to_string();
    if Shown::new("python3", &["-c", "import ensurepip"]).output().is_err() {
        eprintln!("This Debian package will be installed: python3-venv");
        super::packages::install(&["python3-venv"])?;
    }
    eprintln!("cargo-lambda {VERSION} will be installed from PyPI to {folder}");
    Shown::new("python3", &["-m", "venv", &folder]).run()?;
    let pip = format!("{folder}/bin/pip");
    // What it would bring is a compiler, for building functions.
    Shown::new(&pip, &["install", "--quiet", "--no-deps", &format!("cargo-lambda=={VERSION}")]).run()
}

fn folder() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("registry-proxy-ci").join(format!("cargo-lambda-{VERSION}"))
}
