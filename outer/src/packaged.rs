//! What `cargo xtask package` made: the files, and the container image as a container runtime starts it.
//!
//! `PACKAGES_UNDER_TEST` names the folder; `cargo xtask test` fills it.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File, Permissions};
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use tar::Archive;
use tempfile::TempDir;

use crate::process::{Program, Tool};
use crate::{Context, Outcome};

/// What the image calls this machine's processor.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Makes the image's files the root, read-only but for `/tmp`, and starts the program as its user. The shell stays, as the
/// first process of the container: it ends with the test, and so does everything in the container then. The program
/// itself would not, because the kernel forgets a signal for the parent's death when the user changes.
const CONTAINER: &str = "\
mount=$1 chroot=$2 root=$3 tmp=$4 user=$5 && shift 5 &&
\"$mount\" --bind \"$root\" \"$root\" &&
\"$mount\" -t proc proc \"$root/proc\" &&
\"$mount\" --bind \"$tmp\" \"$root/tmp\" &&
\"$mount\" -o remount,bind,ro \"$root\" &&
\"$chroot\" --userspec=\"$user\" --groups= \"$root\" \"$@\"
exit $?";

/// A file below the folder of packages.
pub fn package(path: &str) -> Outcome<PathBuf> {
    let folder = env::var_os("PACKAGES_UNDER_TEST")
        .context("PACKAGES_UNDER_TEST is not set: run `cargo xtask test`, which makes the packages")?;
    Path::new(&folder).join(path).canonicalize().context(path)
}

/// The image for this machine's processor, unpacked.
pub struct PackagedImage {
    root: TempDir,
    config: Config,
}

/// What an image says of how it is to be started (OCI image specification, `config`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    user: String,
    env: Vec<String>,
    entrypoint: Vec<String>,
}

impl PackagedImage {
    /// The one that was packaged.
    pub fn unpack() -> Outcome<Self> {
        let layout = Layout::read(&package("container/registry-proxy.oci.tar")?)?;
        let top = layout.json("index.json")?;
        let index = layout.blob(&top["manifests"][0])?;
        let images = index["manifests"].as_array().context("the image has no index")?;
        let image = images.iter().find(|image| image["platform"]["architecture"] == ARCHITECTURE);
        let manifest = layout.blob(image.context("the image is not for this processor")?)?;
        let mut config = layout.blob(&manifest["config"])?;
        let config = serde_json::from_value(config["config"].take())?;
        let root = tempfile::tempdir()?;
        for layer in manifest["layers"].as_array().context("the image has no layers")? {
            let mut files = Archive::new(GzDecoder::new(layout.bytes(layer)?));
            files.set_preserve_permissions(true);
            files.set_preserve_ownerships(true);
            files.unpack(root.path())?;
        }
        // Container runtimes make the folders that they mount something on. The image's user has to get into its root.
        fs::create_dir(root.path().join("proc"))?;
        fs::set_permissions(root.path(), Permissions::from_mode(0o755))?;
        Ok(Self { root, config })
    }

    /// Its entry point with its environment, where this folder is the only one that can be written: `/tmp`. `user`
    /// (`UID:GID`) is for platforms that start every image as a user of theirs.
    pub fn program(&self, tmp: &Path, user: Option<&str>) -> Outcome<Program> {
        fs::set_permissions(tmp, Permissions::from_mode(0o1777))?;
        let program = Program::tool(Tool::UNSHARE)?.arguments(["--mount", "--pid", "--fork", "--kill-child"]);
        let program = program.argument(Tool::SHELL.path()?).arguments(["-c", CONTAINER, "sh"]);
        let program = program.argument(Tool::MOUNT.path()?).argument(Tool::CHROOT.path()?);
        let program = program.argument(self.root.path()).argument(tmp);
        let program = program.argument(user.unwrap_or(&self.config.user)).arguments(&self.config.entrypoint);
        let variables = self.config.env.iter().filter_map(|pair| pair.split_once('='));
        Ok(variables.fold(program, |program, (name, value)| program.variable(name, value)))
    }
}

/// An OCI layout in a tar, in memory: its files by their names.
struct Layout(HashMap<PathBuf, Vec<u8>>);

impl Layout {
    fn read(archive: &Path) -> Outcome<Self> {
        let mut archive = Archive::new(File::open(archive)?);
        let mut files = HashMap::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let (path, mut bytes) = (entry.path()?.into_owned(), Vec::new());
            entry.read_to_end(&mut bytes)?;
            files.insert(path, bytes);
        }
        Ok(Self(files))
    }

    fn json(&self, name: &str) -> Outcome<Value> {
        Ok(serde_json::from_slice(self.0.get(Path::new(name)).context(name)?)?)
    }

    /// The JSON that a descriptor names.
    fn blob(&self, descriptor: &Value) -> Outcome<Value> {
        self.json(&place(descriptor))
    }

    fn bytes(&self, descriptor: &Value) -> Outcome<Cursor<&[u8]>> {
        let name = place(descriptor);
        Ok(Cursor::new(self.0.get(Path::new(&name)).context(name)?))
    }
}

fn place(descriptor: &Value) -> String {
    format!("blobs/{}", descriptor["digest"].as_str().unwrap_or_default().replace(':', "/"))
}
