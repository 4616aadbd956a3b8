//! A registry in which a tag moves from one image to another.

use tempfile::TempDir;

use super::Registry;
use crate::Outcome;
use crate::client::Skopeo;
use crate::image::Platform;
use crate::image::tiers::write_layout;

/// Bytes of the only layer of each image.
const LAYERS: [u64; 2] = [100_000, 200_000];

/// A registry, and two images that one tag points to in turn. Each is one manifest, with a config and a layer.
pub struct MovingTag {
    pub registry: Registry,
    pub old: Platform,
    pub new: Platform,
    repository: String,
    tag: String,
    layouts: [TempDir; 2],
}

impl MovingTag {
    /// With the tag at the old image.
    pub fn start(repository: &str, tag: &str) -> Outcome<Self> {
        let layouts = [tempfile::tempdir()?, tempfile::tempdir()?];
        let old = write_layout(layouts[0].path(), [LAYERS[0]])?;
        let new = write_layout(layouts[1].path(), [LAYERS[1]])?;
        let registry = Registry::fresh()?;
        let moving = Self { registry, old, new, repository: repository.to_owned(), tag: tag.to_owned(), layouts };
        moving.point_to(0)?;
        Ok(moving)
    }

    /// Moves the tag to the new image.
    pub fn move_on(&self) -> Outcome {
        self.point_to(1)
    }

    fn point_to(&self, image: usize) -> Outcome {
        let source = format!("oci:{}:image", self.layouts[image].path().display());
        let target = format!("{}/{}:{}", self.registry.address(), self.repository, self.tag);
        Skopeo::new()?.push(&source, &target, &[])
    }
}
