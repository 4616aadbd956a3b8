//! `registry-proxy cache import`: everything in a bundle is kept as a blob first, each held against its digest. Only when the
//! bundle has been read to its end, and all that its images need is here, do they get their names. What an import has kept
//! that fails is thrown away again.

use std::collections::HashSet;

use futures_util::stream;
use registry_proxy_core::Config;
use registry_proxy_core::admin::{AdoptMode, Adopted, Adoption, KeepError, Kept};
use registry_proxy_core::bundle::{
    BundleEntry, BundleFault, BundleImage, BundleLayout, BundleRefusal, Disposition, IndexedManifest, LayoutReader,
};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::explain::image_in_full;
use serde::Serialize;

use super::access::CacheAccess;
use super::show::Show;
use super::source::BundleSource;
use crate::error_text::with_source;
use crate::human::size;

/// What is imported, and how.
pub(super) struct Import<'a> {
    pub(super) access: &'a CacheAccess,
    pub(super) config: &'a Config,
    /// The name of the one image, where that of the bundle is not to be taken.
    pub(super) name: Option<BundleImage>,
    pub(super) show: &'a Show,
}

/// A line of what an import tells.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ImportEvent<'a> {
    /// An image that the cache has now.
    Image { name: &'a str, digest: &'a Digest, manifests: usize, blobs: usize, bytes: u64 },
    /// The end.
    Imported(&'a ImportTotals),
}

/// What an import has done.
#[derive(Debug, Serialize)]
struct ImportTotals {
    images: usize,
    /// Blobs and manifests that were not in the cache before, and their bytes.
    new: usize,
    new_bytes: u64,
    /// Blobs of the bundle that no image needs.
    unused: usize,
}

impl Import<'_> {
    /// Imports a bundle of so many bytes, where that is known.
    pub(super) async fn run(&self, mut source: BundleSource, total: Option<u64>) -> Result<(), String> {
        let mut new = Vec::new();
        let done = self.import(&mut source, total, &mut new).await;
        if done.is_err() {
            // The error of the import counts, not that of the clearing: what stays is verified, and evicted in time.
            let _ = self.access.discard(&new).await;
        }
        done
    }

    /// `new`: blobs that were not in the cache before, and that nothing needs yet.
    async fn import(
        &self,
        source: &mut BundleSource,
        total: Option<u64>,
        new: &mut Vec<Digest>,
    ) -> Result<(), String> {
        let layout = self.keep_all(source, total, new).await?;
        let resolve = |name: &str| image_in_full(self.config, name);
        let images = layout.named(self.name.as_ref(), resolve).map_err(|refusal| refusal.to_string())?;
        for (image, manifest) in &images {
            let adopted = self.access.adopt(&self.adoption(image, manifest), AdoptMode::Check).await?;
            is_whole(&layout, &adopted)?;
        }
        // From here on images need what was kept, so that none of it is thrown away if the store fails.
        let new = std::mem::take(new);
        let (mut blobs, mut known) = (HashSet::new(), HashSet::new());
        for (image, manifest) in &images {
            let adopted = self.access.adopt(&self.adoption(image, manifest), AdoptMode::Write).await?;
            self.tell_image(image, manifest, &adopted);
            blobs.extend(adopted.blobs.iter().cloned());
            known.extend(adopted.blobs.into_iter().chain(adopted.manifests));
        }
        // Manifests are not blobs any more.
        let spare: Vec<Digest> = new.iter().filter(|digest| !blobs.contains(*digest)).cloned().collect();
        self.access.discard(&spare).await?;
        let is_known = |digest: &&Digest| known.contains(*digest);
        let length = |digest: &Digest| layout.blobs.get(digest).copied().unwrap_or(0);
        let totals = ImportTotals {
            images: images.len(),
            new: new.iter().filter(is_known).count(),
            new_bytes: new.iter().filter(is_known).map(length).fold(0, u64::saturating_add),
            unused: layout.blobs.keys().filter(|digest| !is_known(digest)).count(),
        };
        let unused = match totals.unused {
            0 => String::new(),
            count => format!("; {count} blobs of the bundle belong to no image, and were not kept"),
        };
        let text = format!(
            "imported: {} images, {} new manifests and layers, {}{unused}\n",
            totals.images,
            totals.new,
            size(totals.new_bytes)
        );
        self.show.line(&ImportEvent::Imported(&totals), &text);
        Ok(())
    }

    /// Reads a bundle to its end, and keeps its blobs.
    async fn keep_all(
        &self,
        source: &mut BundleSource,
        total: Option<u64>,
        new: &mut Vec<Digest>,
    ) -> Result<BundleLayout, String> {
        let mut reader = LayoutReader::new(self.config.limits.manifest.0);
        while let Some(entry) = source.next()? {
            match reader.entry(&entry).map_err(|refusal| refusal.to_string())? {
                Disposition::Skip => {}
                Disposition::Read(document) => {
                    let bytes = source.all()?;
                    reader.document(document, &bytes).map_err(|refusal| refusal.to_string())?;
                }
                Disposition::Keep(digest) => {
                    if self.keep(source, total, &entry, &digest).await? == Kept::New {
                        new.push(digest);
                    }
                }
            }
        }
        reader.finish().map_err(|refusal| refusal.to_string())
    }

    async fn keep(
        &self,
        source: &mut BundleSource,
        total: Option<u64>,
        entry: &BundleEntry,
        digest: &Digest,
    ) -> Result<Kept, String> {
        let next = || {
            self.show.progress(source.position(), total);
            source.piece().transpose()
        };
        let mut pieces = stream::iter(std::iter::from_fn(next));
        let kept = self.access.keep(digest, entry.size, &mut pieces).await;
        kept.map_err(|error| match error {
            KeepError::Mismatch(_) => BundleRefusal::new(&entry.name, BundleFault::Digest).to_string(),
            // It says itself which entry.
            KeepError::Source(what) => what,
            KeepError::NotAdmitted(_) | KeepError::Store(_) => {
                format!("{}: {}", entry.name.escape_ascii(), with_source(&error))
            }
        })
    }

    fn adoption(&self, image: &BundleImage, manifest: &IndexedManifest) -> Adoption {
        Adoption {
            image: image.clone(),
            digest: manifest.digest.clone(),
            size: manifest.size,
            manifest_limit: self.config.limits.manifest.0,
        }
    }

    fn tell_image(&self, image: &BundleImage, manifest: &IndexedManifest, adopted: &Adopted) {
        let (name, digest, bytes) = (&*image.to_string(), &manifest.digest, adopted.bytes);
        let (manifests, blobs) = (adopted.manifests.len(), adopted.blobs.len());
        let text = format!("{name}  {digest}  {}\n", size(bytes));
        self.show.line(&ImportEvent::Image { name, digest, manifests, blobs, bytes }, &text);
    }
}

/// Refuses a bundle that has a manifest without all that it names: other platforms may be missing as a whole only.
fn is_whole(layout: &BundleLayout, adopted: &Adopted) -> Result<(), String> {
    match adopted.left_out.iter().find(|(digest, _)| layout.blobs.contains_key(digest)) {
        Some((_, why)) => Err(why.clone()),
        None => Ok(()),
    }
}
