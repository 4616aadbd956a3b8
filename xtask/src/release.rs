//! `cargo xtask release --dry-run`: makes every file of a release in one folder, and publishes nothing.
//!
//! The release workflow runs this too, so that a release can be tried without any account. What it adds is there: binaries
//! for macOS, provenance and signature.

mod contents;
mod sources;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::arguments::Release;
use crate::machine;
use crate::machine::target::Target;
use crate::package::{self, Features};
use crate::run::{Shown, cargo, workspace};

/// Both processors, in the order of the list.
const TARGETS: [Target; 2] = [Target::X86_64, Target::Arm64];

pub(crate) fn run(arguments: &Release) -> Result<(), String> {
    if !arguments.dry_run {
        return Err("releases are published by .github/workflows/release.yml, for a tag that is pushed; \
                    --dry-run makes its files and publishes nothing"
            .to_owned());
    }
    let version = version()?;
    if let Some(tag) = &arguments.tag {
        fits(tag, &version)?;
    }
    machine::prepare_release(arguments.install)?;
    let binaries = binaries(arguments)?;
    let making = Making::new(version, &workspace().join(&arguments.out), arguments.install)?;
    let missing: Vec<&str> = TARGETS
        .into_iter()
        .filter(|target| !binaries.iter().any(|(built, _)| built == target))
        .map(name_of)
        .collect();
    if !missing.is_empty() && arguments.tag.is_some() {
        return Err(format!("a release needs binaries for both processors; missing: {}", missing.join(", ")));
    }
    contents::make(&making, &binaries)?;
    sources::make(&making)?;
    let left_out = missing.iter().map(|name| format!("left out: what needs registry-proxy-{name}\n"));
    let text: String = [making.finish()?].into_iter().chain(left_out).collect();
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}

/// The version of the workspace.
fn version() -> Result<String, String> {
    // "path+file:///…/crates/server#registry-proxy@0.1.0"
    let id = cargo(&["pkgid", "--offline", "-p", "registry-proxy"]).output()?;
    let version = id.trim().rsplit(['@', '#']).next().unwrap_or_default();
    Ok(version.to_owned())
}

/// Whether a tag is the one of this version.
fn fits(tag: &str, version: &str) -> Result<(), String> {
    if tag.strip_prefix('v') == Some(version) {
        return Ok(());
    }
    Err(format!("the tag is {tag}, and Cargo.toml has {version}, whose tag is v{version}"))
}

/// The binaries for Linux, and what each is for.
fn binaries(arguments: &Release) -> Result<Vec<(Target, PathBuf)>, String> {
    let Some(folder) = &arguments.binaries else {
        machine::prepare_targets(&TARGETS, arguments.install)?;
        let build = |target| Ok((target, package::build(target, Features::Packaged)?));
        return TARGETS.into_iter().map(build).collect();
    };
    let found = TARGETS
        .map(|target| (target, workspace().join(folder).join(format!("registry-proxy-{}", name_of(target)))));
    let found: Vec<_> = found.into_iter().filter(|(_, path)| path.is_file()).collect();
    if found.is_empty() {
        return Err(format!("{} has no registry-proxy-x86_64 and no registry-proxy-arm64", folder.display()));
    }
    Ok(found)
}

/// What we call a processor in the names of files.
fn name_of(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "x86_64",
        Target::Arm64 => "arm64",
    }
}

/// A release under way.
struct Making {
    version: String,
    /// Everything in it is part of the release.
    out: PathBuf,
    /// Removed at the end.
    work: PathBuf,
    /// When everything was made, in seconds since 1970: the same sources give the same bytes.
    time: String,
    install: bool,
}

impl Making {
    fn new(version: String, out: &Path, install: bool) -> Result<Self, String> {
        // The oldest time that a zip can contain, as in the crate `package`.
        let time = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
        let time = time.unwrap_or_else(|| "315532800".to_owned());
        let mut work = out.as_os_str().to_owned();
        work.push(".work");
        let making = Self { version, out: out.to_owned(), work: work.into(), time, install };
        for folder in [&making.out, &making.work] {
            if folder.exists() {
                fs::remove_dir_all(folder).map_err(|error| wrong(folder, &error))?;
            }
            fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
        }
        Ok(making)
    }

    /// Adds a file that was made elsewhere.
    fn take(&self, file: &Path, name: &str) -> Result<(), String> {
        fs::copy(file, self.out.join(name)).map(drop).map_err(|error| wrong(file, &error))
    }

    /// Writes the sums, and says what there is: name, size, SHA-256.
    fn finish(&self) -> Result<String, String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.out).map_err(|error| wrong(&self.out, &error))? {
            let entry = entry.map_err(|error| wrong(&self.out, &error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let command = Shown::new("sha256sum", &["--"]).arguments(names).folder(&self.out);
        let sums = command.output()?;
        let path = self.out.join("SHA256SUMS");
        fs::write(&path, &sums).map_err(|error| wrong(&path, &error))?;
        fs::remove_dir_all(&self.work).map_err(|error| wrong(&self.work, &error))?;
        sums.lines().map(|line| self.listed(line)).collect()
    }

    /// A line of `sha256sum`, with the size.
    fn listed(&self, line: &str) -> Result<String, String> {
        let (sum, name) = line.split_once("  ").ok_or_else(|| format!("sha256sum says `{line}`"))?;
        let path = self.out.join(name);
        let size = fs::metadata(&path).map_err(|error| wrong(&path, &error))?.len();
        Ok(format!("{size:>11} bytes  {name}\n{:>19}sha256:{sum}\n", ""))
    }
}

fn wrong(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_version_or_refused() {
        assert_eq!(fits("v0.1.0", "0.1.0"), Ok(()));
        for tag in ["0.1.0", "v0.1", "v0.1.1", "vv0.1.0", "v0.1.0-rc.1", ""] {
            assert!(fits(tag, "0.1.0").unwrap_err().contains("v0.1.0"), "{tag}");
        }
    }

    #[test]
    fn without_the_flag_nothing_is_made() {
        let out = PathBuf::from("is-not-made");
        let arguments = Release { dry_run: false, tag: None, binaries: None, out, install: false };
        assert!(run(&arguments).unwrap_err().contains("--dry-run"));
    }
}
