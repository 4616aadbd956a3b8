//! `cargo xtask package`: builds the binary as it is passed on, and has `package` make the platform's artefact of it.
//!
//! The Cloudflare Worker is no Linux binary: it gets a branch of its own in [`run`].

use std::path::{Path, PathBuf};

use crate::arguments::{Package, Platform};
use crate::machine;
use crate::machine::target::Target;
use crate::run::{Shown, cargo, target_folder, workspace};

pub(crate) fn run(arguments: &Package) -> Result<(), String> {
    machine::prepare_targets(&arguments.targets(), arguments.install)?;
    let binaries: Vec<PathBuf> = arguments.targets().into_iter().map(build).collect::<Result<_, _>>()?;
    let binaries: Vec<&Path> = binaries.iter().map(PathBuf::as_path).collect();
    pack(arguments.platform, &binaries, &workspace().join(&arguments.out))
}

/// Packages for every platform: what the tests look at.
pub(crate) fn pack_all(binaries: &[&Path], out: &Path) -> Result<(), String> {
    Platform::ALL.into_iter().try_for_each(|platform| pack(platform, binaries, out))
}

fn pack(platform: Platform, binaries: &[&Path], out: &Path) -> Result<(), String> {
    let mut command = cargo(&["run", "--quiet", "-p", "registry-proxy-package", "--", platform.name()]);
    command = command.arguments(["--out".to_owned(), out.display().to_string()]);
    for binary in binaries {
        command = command.arguments(["--binary".to_owned(), binary.display().to_string()]);
    }
    command.run()
}

/// Builds the binary for a target, without a trace of where it was built, and says where it is.
pub(crate) fn build(target: Target) -> Result<PathBuf, String> {
    let mut command =
        cargo(&["build", "--release", "--locked", "-p", "registry-proxy", "--target", target.triple()]);
    for (name, value) in target.compiler() {
        command = command.variable(&name, &value);
    }
    // cargo knows this flag and leaves it out of the names of symbols, which would tell the place all the same.
    let flags: Vec<String> =
        renamed_places()?.into_iter().map(|(place, name)| format!("--remap-path-prefix={place}={name}")).collect();
    command = command.variable("CARGO_ENCODED_RUSTFLAGS", &flags.join("\u{1f}"));
    command.run()?;
    Ok(target_folder().join(target.triple()).join("release/registry-proxy"))
}

/// What panics would say of this machine, and what they say instead. The last that fits wins.
fn renamed_places() -> Result<[(String, &'static str); 4], String> {
    let home = || std::env::var("HOME").map(PathBuf::from).map_err(|_| "HOME is not set".to_owned());
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(path) => PathBuf::from(path),
        None => home()?.join(".cargo"),
    };
    let sysroot = Shown::new("rustc", &["--print", "sysroot"]).output()?;
    let library = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust");
    Ok([
        (cargo_home.display().to_string(), "/cargo"),
        (library.display().to_string(), "/rust"),
        (workspace().display().to_string(), "/src"),
        (target_folder().display().to_string(), "/target"),
    ])
}

impl Package {
    /// The targets that the platform's artefact is made of.
    fn targets(&self) -> Vec<Target> {
        match self.platform {
            Platform::Container => Target::ALL.to_vec(),
            Platform::Linux | Platform::Aws | Platform::Aliyun | Platform::Tencent => vec![self.target],
        }
    }
}
