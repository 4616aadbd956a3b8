//! What each platform takes. A folder that comes out can be handed to the platform's own tool as it is.

use std::path::PathBuf;

use crate::arguments::{Arguments, Platform};
use crate::artefact::Artefact;
use crate::elf::{Binary, Linkage};
use crate::error::Error;
use crate::files::{self, Entry};
use crate::{image, zip};

const LICENCE: &[u8] = include_bytes!("../../LICENSE");
const SCHEMA: &[u8] = include_bytes!("../../docs/reference/registry-proxy.schema.json");
/// Completions and man pages, which `cargo xtask docs` has written.
const SHELL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/server/shell");
/// All completions in one piece, which the binary has.
const PACKED: &str = "scripts.gz";
const NAME: &str = "registry-proxy";

pub(crate) fn package(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    if let Some(binary) = arguments.binaries.iter().find(|binary| binary.linkage != Linkage::Static) {
        let what = format!("it needs {}, and none of these platforms promises one", binary.linkage);
        return Err(Error::binary(&binary.path, what));
    }
    match arguments.platform {
        Platform::Linux => linux(arguments),
        Platform::Aws => aws(arguments),
        Platform::Aliyun => aliyun(arguments),
        Platform::Tencent => tencent(arguments),
        Platform::Container => container(arguments),
    }
}

/// The binary, and the archive to pass on.
fn linux(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    let making = Making::new(arguments);
    let binary = making.binary;
    let name = format!("{NAME}-{}", binary.machine.name());
    let mut tar = tar::Builder::new(Vec::new());
    let own = [
        Entry::text(&format!("{name}/LICENSE"), LICENCE),
        Entry::program(&format!("{name}/{NAME}"), &binary.bytes),
        Entry::text(&format!("{name}/registry-proxy.schema.json"), SCHEMA),
    ];
    let shell = files::folder(SHELL.as_ref())?.into_iter().filter(|entry| entry.name != PACKED);
    let shell = shell.map(|entry| {
        let is_page = std::path::Path::new(&entry.name).extension().is_some_and(|ending| ending == "1");
        let folder = if is_page { "man/man1" } else { "completions" };
        Entry { name: format!("{name}/{folder}/{}", entry.name), ..entry }
    });
    for entry in own.into_iter().chain(shell) {
        files::add(&mut tar, &entry, tar::EntryType::Regular, 0)?;
    }
    let tar = tar.into_inner().map_err(|error| Error::io(&name, error))?;
    Ok(vec![
        making.file(&name, 0o755, &binary.bytes)?,
        making.file(&format!("{name}.tar.gz"), 0o644, &files::gzip(&tar)?)?,
    ])
}

/// The runtime `provided.al2023` starts `bootstrap` at the root of the zip.
fn aws(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    let making = Making::new(arguments);
    making.deploy_files()?;
    let bytes =
        zip::archive(&[Entry::text("LICENSE", LICENCE), Entry::program("bootstrap", &making.binary.bytes)])?;
    Ok(vec![making.file(&format!("{NAME}.zip"), 0o644, &bytes)?])
}

/// `s deploy` uploads a folder; the console takes a zip.
fn aliyun(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    let making = Making::new(arguments);
    making.deploy_files()?;
    let bytes = zip::archive(&[Entry::text("LICENSE", LICENCE), Entry::program(NAME, &making.binary.bytes)])?;
    let program = making.file(&format!("code/{NAME}"), 0o755, &making.binary.bytes)?;
    Ok(vec![making.file(&format!("{NAME}.zip"), 0o644, &bytes)?, program])
}

/// SCF starts `scf_bootstrap`, which must be executable and have Unix line ends. Terraform takes the zip, Serverless
/// Cloud Framework the folder.
fn tencent(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    let making = Making::new(arguments);
    making.deploy_files()?;
    let path = arguments.deploy.join("tencent/scf_bootstrap");
    let script = std::fs::read(&path).map_err(|error| Error::io(path.display(), error))?;
    if script.contains(&b'\r') || !script.starts_with(b"#!") {
        return Err(Error::Usage(format!("{}: must begin with #! and have Unix line ends", path.display())));
    }
    making.file("code/scf_bootstrap", 0o755, &script)?;
    let program = making.file(&format!("code/{NAME}"), 0o755, &making.binary.bytes)?;
    let bytes = zip::archive(&[
        Entry::text("LICENSE", LICENCE),
        Entry::program(NAME, &making.binary.bytes),
        Entry::program("scf_bootstrap", &script),
    ])?;
    Ok(vec![making.file(&format!("{NAME}.zip"), 0o644, &bytes)?, program])
}

/// One image for all processors; and what is in it, for those who build it with an engine.
fn container(arguments: &Arguments) -> Result<Vec<Artefact>, Error> {
    let making = Making::new(arguments);
    making.deploy_files()?;
    let bytes = image::archive(&arguments.binaries, LICENCE)?;
    let mut artefacts = vec![making.file(&format!("{NAME}.oci.tar"), 0o644, &bytes)?];
    for binary in &arguments.binaries {
        let name = format!("rootfs-{}.tar.gz", binary.machine.in_images());
        artefacts.push(making.file(&name, 0o644, &image::root(binary, LICENCE)?)?);
    }
    Ok(artefacts)
}

/// An artefact under way.
struct Making<'a> {
    arguments: &'a Arguments,
    binary: &'a Binary,
}

impl<'a> Making<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        // `Arguments` has one binary at least.
        Self { arguments, binary: &arguments.binaries[0] }
    }

    fn file(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<Artefact, Error> {
        let path: PathBuf = self.arguments.out.join(name);
        files::write(&path, mode, bytes)?;
        Ok(Artefact { path, linkage: self.binary.linkage.clone() })
    }

    /// What describes the deployment goes along, so that the folder is all that is needed.
    fn deploy_files(&self) -> Result<(), Error> {
        for entry in files::folder(&self.arguments.deploy.join(self.arguments.platform.name()))? {
            files::write(&self.arguments.out.join(&entry.name), entry.mode, &entry.bytes)?;
        }
        Ok(())
    }
}
