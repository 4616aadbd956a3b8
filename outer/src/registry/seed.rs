//! The images, pushed once into a registry's storage that every later registry reads.
//!
//! It lies in the build folder, so that only the first run pays for it. Two runs at a time take
//! turns by a file lock; a half-made seed has another name and is never used.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Access, Registry, Storage};
use crate::client::Skopeo;
use crate::image::layout::INDEX;
use crate::image::{Artifact, Catalogue, catalogue::VERSION};
use crate::{Outcome, digest, http};

/// The tag of every image in every repository.
pub const TAG: &str = "v1";

/// What was made.
pub struct Seed {
    folder: PathBuf,
    catalogue: Catalogue,
}

impl Seed {
    /// Makes it in `build_folder`, or finds it there.
    pub fn prepare(build_folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(build_folder)?;
        let lock = File::create(build_folder.join("seed.lock"))?;
        lock.lock()?;
        let folder = build_folder.join(format!("seed-{VERSION}"));
        if !folder.exists() {
            let unfinished = TempDir::new_in(build_folder)?;
            make(unfinished.path())?;
            fs::rename(unfinished.keep(), &folder)?;
        }
        let catalogue = serde_json::from_slice(&fs::read(folder.join("catalogue.json"))?)?;
        Ok(Self { folder, catalogue })
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// A source for skopeo: the layout's image with this name.
    pub fn layout(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.folder.join("layout").display())
    }

    pub(super) fn storage(&self) -> PathBuf {
        self.folder.join("storage")
    }
}

fn make(folder: &Path) -> Outcome {
    let layout = folder.join("layout");
    let catalogue = Catalogue::write(&layout)?;
    let registry = Registry::start(&Storage::At(&folder.join("storage")), &Access::Open)?;
    let skopeo = Skopeo::new()?;
    for (name, repository, tag) in [
        ("sample", "library/sample", TAG),
        ("sample", "team/app", TAG),
        ("sample", "public/app", TAG),
        ("large", "library/large", TAG),
        ("secret", "private/app", TAG),
        ("artifact", "library/sample", "artifact"),
    ] {
        skopeo.push(
            &format!("oci:{}:{name}", layout.display()),
            &format!("{}/{repository}:{tag}", registry.address()),
            &[],
        )?;
    }
    put_fallback(&layout, &catalogue.artifact, &registry)?;
    fs::write(folder.join("catalogue.json"), serde_json::to_vec_pretty(&catalogue)?)?;
    Ok(())
}

/// Pushes the tag that lists the artifact. skopeo would write that index anew, without the fields
/// which are not in its own idea of an index.
fn put_fallback(layout: &Path, artifact: &Artifact, registry: &Registry) -> Outcome {
    let blob = digest::hex(&artifact.fallback_index);
    let index = fs::read(layout.join("blobs/sha256").join(blob))?;
    let tag = &artifact.fallback_tag;
    let url = format!("http://{}/v2/library/sample/manifests/{tag}", registry.address());
    let client = http::Client::new()?;
    let question = client.put(url).header("content-type", INDEX).body(index);
    question.ask()?.expect_status(201)?;
    Ok(())
}
