//! `cargo xtask package`: builds the binary that is released, and calls `package` to make the platform's artefact of it.
//!
//! The Cloudflare Worker is no Linux binary: `cargo xtask worker` makes it.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use crate::arguments::Package;
use crate::machine;
use crate::machine::target::Target;
use crate::run::{Shown, cargo, target_folder, workspace};

/// The profile of Cargo.toml that packages are built with; `release` is for a clone, and compiles sooner.
const PROFILE: &str = "dist";

/// The feature of crates/server/Cargo.toml that lists what a released binary has besides the default features.
pub(crate) const OPTIONAL_FEATURES: &str = "packaged";

/// Which features the binary has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Features {
    /// Those of a release.
    Packaged,
    /// The default ones alone.
    Default,
}

pub(crate) fn run(arguments: &Package) -> Result<(), String> {
    // First, because the build takes minutes.
    let targets = targets(&platforms()?, arguments)?;
    machine::prepare_targets(&targets, arguments.install)?;
    let features = if arguments.without_optional_features { Features::Default } else { Features::Packaged };
    let binaries: Vec<PathBuf> =
        targets.into_iter().map(|target| build(target, features)).collect::<Result<_, _>>()?;
    let binaries: Vec<&Path> = binaries.iter().map(PathBuf::as_path).collect();
    pack(&arguments.platform, &binaries, &workspace().join(&arguments.out))
}

/// Packages for every platform, for the tests.
pub(crate) fn pack_all(binaries: &[&Path], out: &Path) -> Result<(), String> {
    platforms()?.iter().try_for_each(|platform| pack(&platform.name, binaries, out))
}

/// A platform, as the crate `package` knows it.
struct Platform {
    name: String,
    takes_all: bool,
    targets: Vec<Target>,
}

fn platforms() -> Result<Vec<Platform>, String> {
    let listed = cargo(&["run", "--quiet", "-p", "registry-proxy-package", "--", "platforms"]).output()?;
    let platform = |line: &str| {
        let mut words = line.split(' ');
        let (name, many) = (words.next()?.to_owned(), words.next()?);
        Some(Platform {
            name,
            takes_all: many == "all",
            targets: words.map(|name| Target::from_str(name, false)).collect::<Result<_, _>>().ok()?,
        })
    };
    listed.lines().map(|line| platform(line).ok_or_else(|| format!("`package platforms` says `{line}`"))).collect()
}

/// The targets that the artefact is made of.
fn targets(platforms: &[Platform], arguments: &Package) -> Result<Vec<Target>, String> {
    let Package { platform: name, arch: target, .. } = arguments;
    let Some(platform) = platforms.iter().find(|platform| platform.name == *name) else {
        let names: Vec<&str> = platforms.iter().map(|platform| platform.name.as_str()).collect();
        return Err(format!("there is no platform `{name}`, only {}", names.join(", ")));
    };
    match target {
        Some(target) if platform.targets.contains(target) => Ok(vec![*target]),
        Some(_) => Err(format!("{name} does not run on that processor")),
        None if platform.takes_all => Ok(platform.targets.clone()),
        None => Ok(vec![Target::X86_64]),
    }
}

/// Packages for this platform, in a folder of its name in `out`.
pub(crate) fn pack(platform: &str, binaries: &[&Path], out: &Path) -> Result<(), String> {
    let mut command = cargo(&["run", "--quiet", "-p", "registry-proxy-package", "--", platform]);
    command = command.arguments(["--out".to_owned(), out.display().to_string()]);
    for binary in binaries {
        command = command.arguments(["--binary".to_owned(), binary.display().to_string()]);
    }
    command.run()
}

/// Builds the binary for a target and returns its path. The binary contains no path of this machine. The next build for
/// this target has the same path.
pub(crate) fn build(target: Target, features: Features) -> Result<PathBuf, String> {
    build_with("registry-proxy", features, target)
}

/// Builds the binary of a crate of the same name in the same way.
pub(crate) fn build_as_packaged(name: &str, target: Target) -> Result<PathBuf, String> {
    build_with(name, Features::Default, target)
}

fn build_with(name: &str, features: Features, target: Target) -> Result<PathBuf, String> {
    let mut command = cargo(&["build", "--profile", PROFILE, "--locked", "-p", name, "--target", target.triple()]);
    if features == Features::Packaged {
        command = command.arguments(["--features".to_owned(), OPTIONAL_FEATURES.to_owned()]);
    }
    for (name, value) in target.compiler() {
        command = command.variable(&name, &value);
    }
    // cargo leaves this flag out of the hash in symbols' names, which would differ from folder to folder otherwise.
    let renamed = renamed_places()?.into_iter().map(|(place, name)| format!("--remap-path-prefix={place}={name}"));
    let flags = renamed.chain(packed_relocations(target)?.map(str::to_owned)).chain([INLINE_LESS.to_owned()]);
    let flags: Vec<String> = flags.collect();
    command = command.variable("CARGO_ENCODED_RUSTFLAGS", &flags.join("\u{1f}"));
    // Sources that were downloaded know no commit; then `--version` names none.
    if let Ok(commit) = Shown::new("git", &["rev-parse", "--short=12", "HEAD"]).output() {
        command = command.variable("REGISTRY_PROXY_COMMIT", commit.trim());
    }
    command.run()?;
    Ok(target_folder().join(target.triple()).join(PROFILE).join(name))
}

/// LLVM inlines functions whose estimated cost is below 225 by itself. With 50 the binary is more than 1 MB smaller; a cached manifest takes
/// 39,500 instructions in place of 37,700, a cached blob 37,900 in place of 36,700, a relayed manifest 2 % more.
const INLINE_LESS: &str = "-Cllvm-args=-inline-threshold=50";

/// The flag that packs relocations, where the linker and the C library support it. A static binary has 16,000 of them: they
/// take 0.4 MB, and packed a hundredth of that. GNU ld packs them for `x86_64` since 2.38, for other processors later; musl
/// unpacks them at the start since 1.2.4, which Rust brings since 1.93.
fn packed_relocations(target: Target) -> Result<Option<&'static str>, String> {
    let version = Shown::new("rustc", &["--version"]).output()?;
    let mut numbers = version.trim_start_matches("rustc ").split('.').map(str::parse::<u32>);
    let is_known = matches!((numbers.next(), numbers.next()), (Some(Ok(1)), Some(Ok(93..))));
    let flag = "-Clink-arg=-Wl,-z,pack-relative-relocs";
    Ok(match target {
        Target::X86_64 => is_known.then_some(flag),
        Target::Arm64 => None,
    })
}

/// The paths of this machine that panics would contain, and what they contain instead. The last that matches wins.
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
