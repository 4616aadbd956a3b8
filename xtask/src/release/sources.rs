//! The sources with all crates, for builds without a network, and the SBOM, which is made of them.

use std::fs;
use std::path::Path;

use crate::machine::crates::CYCLONEDX;
use crate::machine::target::Target;
use crate::run::{Shown, cargo};

use super::{Making, wrong};

/// What makes cargo take the crates from the archive.
const CARGO_CONFIG: &str = ".cargo/config.toml";

pub(super) fn make(making: &Making) -> Result<(), String> {
    let name = format!("registry-proxy-{}", making.version);
    let folder = making.work.join(&name);
    committed(making, &name)?;
    vendor(&folder)?;
    is_complete(making, &folder)?;
    let archive = format!("{name}-source.tar.gz");
    tar(making, &name, &archive)?;
    // Last: it writes into the folder.
    bill_of_materials(making, &folder, &name)
}

/// What is committed, and nothing that lies beside it.
fn committed(making: &Making, name: &str) -> Result<(), String> {
    let tar = making.work.join("source.tar").display().to_string();
    let prefix = format!("--prefix={name}/");
    Shown::new("git", &["archive", "--format=tar", &prefix, "--output", &tar, "HEAD"]).run()?;
    Shown::new("tar", &["-xf", &tar]).folder(&making.work).run()
}

fn vendor(folder: &Path) -> Result<(), String> {
    let config = cargo(&["vendor", "--locked", "--versioned-dirs", "vendor"]).folder(folder).output()?;
    let path = folder.join(CARGO_CONFIG);
    let own = fs::read_to_string(&path).map_err(|error| wrong(&path, &error))?;
    fs::write(&path, format!("{own}\n{config}")).map_err(|error| wrong(&path, &error))
}

/// Asks a cargo that has no crates of its own, without a network, for everything that a build needs.
fn is_complete(making: &Making, folder: &Path) -> Result<(), String> {
    let home = making.work.join("empty-cargo-home");
    fs::create_dir_all(&home).map_err(|error| wrong(&home, &error))?;
    let command = cargo(&["metadata", "--frozen", "--format-version=1"]).folder(folder);
    command.variable("CARGO_HOME", &home.display().to_string()).output().map(drop)
}

fn tar(making: &Making, folder: &str, archive: &str) -> Result<(), String> {
    let (out, time) = (making.out.join(archive).display().to_string(), format!("--mtime=@{}", making.time));
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw", "--format=gnu"];
    let words = [&["--create", "--gzip", "--file", &out, &time], &same[..], &[folder]].concat();
    Shown::new("tar", &words).folder(&making.work).run()
}

/// What is in the binary for Linux, as `CycloneDX` says it.
fn bill_of_materials(making: &Making, folder: &Path, name: &str) -> Result<(), String> {
    let target = Target::X86_64.triple();
    let words = [
        "cyclonedx",
        "--manifest-path",
        "crates/server/Cargo.toml",
        "--format=json",
        "--spec-version=1.5",
        "--target",
        target,
        "--override-filename=bill-of-materials",
    ];
    CYCLONEDX.command(&words).variable("SOURCE_DATE_EPOCH", &making.time).folder(folder).run()?;
    let path = folder.join("crates/server/bill-of-materials.json");
    let text = fs::read_to_string(&path).map_err(|error| wrong(&path, &error))?;
    let out = making.out.join(format!("{name}.cdx.json"));
    fs::write(&out, without_folder(&text, folder)?).map_err(|error| wrong(&out, &error))
}

/// References in the SBOM name the folder of our crates. Elsewhere they would be others.
fn without_folder(text: &str, folder: &Path) -> Result<String, String> {
    // cargo has resolved links.
    let folder = fs::canonicalize(folder).map_err(|error| wrong(folder, &error))?.display().to_string();
    let text = text.replace(&format!("file://{folder}/"), "file:///src/");
    if text.contains(&folder) {
        return Err(format!("the SBOM names {folder}, which is on this machine only"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sbom_names_no_folder_of_this_machine() {
        let folder = fs::canonicalize(std::env::temp_dir()).unwrap();
        let place = folder.display();
        let text = format!("\"path+file://{place}/crates/core#0.1.0\" \"registry+https://github.com/x\"");
        let expected = "\"path+file:///src/crates/core#0.1.0\" \"registry+https://github.com/x\"";
        assert_eq!(without_folder(&text, &folder), Ok(expected.to_owned()));
        assert!(without_folder(&format!("{place}x"), &folder).unwrap_err().contains("this machine"));
    }
}
