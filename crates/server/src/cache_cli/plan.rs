//! What an export carries: the manifests and blobs of its images that are in the cache, each once, and what is missing of
//! them.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use registry_proxy_core::Config;
use registry_proxy_core::bundle::{BundleImage, ExportedImage, ManifestParts, PlatformFilter};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::explain::why_blocked;
use serde::Serialize;

use super::access::CacheAccess;

/// Most indexes within each other.
const MAX_DEPTH: usize = 4;
/// Most manifests and blobs in one bundle: so many can be imported.
const MAX_CONTENTS: usize = 99_000;

/// A manifest or a blob that is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CarriedContent {
    pub(super) is_manifest: bool,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

/// What is carried.
#[derive(Debug, Default)]
pub(super) struct ExportPlan {
    pub(super) images: Vec<ExportedImage>,
    pub(super) contents: Vec<CarriedContent>,
    /// What is missing of which image, in words.
    pub(super) missing: Vec<(BundleImage, String)>,
    /// Images of indexes that are not carried, since they are not complete in the cache.
    pub(super) left_out: Vec<LeftOut>,
}

/// An image of an index that is not carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    pub(super) image: String,
    pub(super) platform: String,
    pub(super) why: String,
}

/// Makes a plan.
pub(super) struct Planner<'a> {
    pub(super) access: &'a CacheAccess,
    pub(super) config: &'a Config,
    pub(super) platforms: &'a PlatformFilter,
    /// What an earlier bundle has carried.
    pub(super) before: &'a HashSet<Digest>,
}

/// What belongs to a manifest, or what is missing of it.
type ManifestContents = Result<Vec<CarriedContent>, String>;

impl Planner<'_> {
    pub(super) async fn plan(&self, images: Vec<BundleImage>) -> Result<ExportPlan, String> {
        let (mut plan, mut seen) = (ExportPlan::default(), HashSet::new());
        for image in images {
            let Some(digest) = self.access.led_to(&image).await? else {
                plan.missing.push((image, "its tag is not cached".to_owned()));
                continue;
            };
            let contents = match self.manifest(&digest, &image, 0, &mut plan.left_out).await? {
                Ok(contents) => contents,
                Err(what) => {
                    plan.missing.push((image, what));
                    continue;
                }
            };
            let digests: Vec<Digest> = contents.iter().map(|content| content.digest.clone()).collect();
            if let Some(why) = why_blocked(self.config, &image, &digests) {
                return Err(format!("{image}: {why}"));
            }
            plan.images.push(self.exported(image, digest).await?);
            let is_new = |content: &CarriedContent| {
                !self.before.contains(&content.digest) && seen.insert(content.digest.clone())
            };
            plan.contents.extend(contents.into_iter().filter(is_new));
            if plan.contents.len() > MAX_CONTENTS {
                return Err(format!("more than {MAX_CONTENTS} manifests and layers; make several bundles"));
            }
        }
        Ok(plan)
    }

    async fn exported(&self, image: BundleImage, digest: Digest) -> Result<ExportedImage, String> {
        let gone = || format!("{image} is not in the cache any more");
        let bytes = self.read(&digest).await?.ok_or_else(gone)?;
        let (size, media_type) = (bytes.length, bytes.media_type);
        Ok(ExportedImage { image, digest, size, media_type })
    }

    async fn read(&self, digest: &Digest) -> Result<Option<ManifestParts>, String> {
        let bytes = self.access.manifest(digest, self.config.limits.manifest.0).await?;
        Ok(bytes.and_then(|bytes| ManifestParts::of(&bytes)))
    }

    /// What belongs to a manifest.
    fn manifest<'s>(
        &'s self,
        digest: &'s Digest,
        image: &'s BundleImage,
        depth: usize,
        left_out: &'s mut Vec<LeftOut>,
    ) -> BoxFuture<'s, Result<ManifestContents, String>> {
        Box::pin(async move {
            if depth >= MAX_DEPTH {
                return Err(format!("{image}: more than {MAX_DEPTH} indexes within each other"));
            }
            let Some(parts) = self.read(digest).await? else {
                return Ok(Err(format!("the manifest {digest} is not cached")));
            };
            let own = CarriedContent { is_manifest: true, digest: digest.clone(), bytes: parts.length };
            let mut contents = vec![own];
            for blob in &parts.blobs {
                // On the other side it need not be here.
                if self.before.contains(blob) {
                    continue;
                }
                let Some(bytes) = self.access.blob_bytes(blob).await? else {
                    return Ok(Err(format!("the layer or configuration {blob} is not cached")));
                };
                contents.push(CarriedContent { is_manifest: false, digest: blob.clone(), bytes });
            }
            let platforms: Vec<&str> =
                parts.manifests.iter().filter_map(|(_, platform)| platform.as_deref()).collect();
            let lacking = self.platforms.lacking(&platforms);
            if !platforms.is_empty() && !lacking.is_empty() {
                let (lacking, has) = (lacking.join(", "), platforms.join(", "));
                return Ok(Err(format!("it has no image for {lacking}; it has {has}")));
            }
            let mut is_complete = parts.manifests.is_empty();
            for (child, platform) in &parts.manifests {
                if !self.platforms.wants(platform.as_deref()) {
                    continue;
                }
                let which = platform.as_deref().unwrap_or("an image without a platform");
                match self.manifest(child, image, depth + 1, left_out).await? {
                    Ok(more) => {
                        contents.extend(more);
                        is_complete = true;
                    }
                    Err(why) if self.platforms.is_all() => {
                        left_out.push(LeftOut { image: image.to_string(), platform: which.to_owned(), why });
                    }
                    Err(what) => return Ok(Err(format!("{which}: {what}"))),
                }
            }
            if is_complete {
                Ok(Ok(contents))
            } else {
                Ok(Err("none of the images of its index is complete in the cache".to_owned()))
            }
        })
    }
}
