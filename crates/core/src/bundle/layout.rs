//! The entries of a bundle, one after the other. From a pipe they can be read only once, and `index.json` may be the first
//! or the last of them: each blob is kept under its digest as it comes, and what the bundle means is known at its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;

use super::entry::{BundleEntry, LayoutPart, blob_path, part_of};
use super::image::BundleImage;
use super::index::{self, IndexedManifest};
use super::refusal::{BundleFault, BundleRefusal};
use super::{INDEX_FILE, LAYOUT_FILE};
use crate::digest::Digest;
use crate::name::Reference;

/// Most entries of a bundle: ten thousand images of ten parts.
const MAX_ENTRIES: usize = 100_000;
/// Longest `oci-layout`, in bytes; the one there is has 30.
const MAX_LAYOUT_BYTES: u64 = 4096;

/// Reads the entries of a bundle.
#[derive(Debug)]
pub struct LayoutReader {
    index_limit: u64,
    entries: usize,
    has_layout: bool,
    is_docker: bool,
    has_index: bool,
    index: Option<Vec<IndexedManifest>>,
    blobs: HashMap<Digest, u64>,
}

/// What is done with the bytes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing.
    Skip,
    /// They are read as a whole, and given to [`LayoutReader::document`].
    Read(LayoutDocument),
    /// They are kept, if they have this digest.
    Keep(Digest),
}

/// A document that says what the bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutDocument {
    /// `oci-layout`
    Layout,
    /// `index.json`
    Index,
}

/// What a bundle has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleLayout {
    /// Images, by the names that the bundle has for them.
    pub images: Vec<IndexedManifest>,
    /// Blobs and manifests, and their lengths in bytes.
    pub blobs: HashMap<Digest, u64>,
}

impl LayoutReader {
    /// `index.json` may have so many bytes.
    pub fn new(index_limit: u64) -> Self {
        Self {
            index_limit,
            entries: 0,
            has_layout: false,
            is_docker: false,
            has_index: false,
            index: None,
            blobs: HashMap::new(),
        }
    }

    /// What is done with the next entry.
    pub fn entry(&mut self, entry: &BundleEntry) -> Result<Disposition, BundleRefusal> {
        self.disposition(entry).map_err(|fault| BundleRefusal::new(&entry.name, fault))
    }

    fn disposition(&mut self, entry: &BundleEntry) -> Result<Disposition, BundleFault> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(BundleFault::Entries(MAX_ENTRIES));
        }
        match part_of(entry)? {
            Some(LayoutPart::Layout) => {
                once(&mut self.has_layout, entry.size, MAX_LAYOUT_BYTES)?;
                Ok(Disposition::Read(LayoutDocument::Layout))
            }
            Some(LayoutPart::Index) => {
                once(&mut self.has_index, entry.size, self.index_limit)?;
                Ok(Disposition::Read(LayoutDocument::Index))
            }
            Some(LayoutPart::DockerManifest) => {
                self.is_docker = true;
                Ok(Disposition::Skip)
            }
            Some(LayoutPart::Blob(digest)) => match self.blobs.entry(digest.clone()) {
                Entry::Occupied(_) => Err(BundleFault::Twice),
                Entry::Vacant(place) => {
                    place.insert(entry.size);
                    Ok(Disposition::Keep(digest))
                }
            },
            Some(LayoutPart::Foreign) | None => Ok(Disposition::Skip),
        }
    }

    /// The bytes of a document.
    pub fn document(&mut self, document: LayoutDocument, bytes: &[u8]) -> Result<(), BundleRefusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct LayoutShape {
            image_layout_version: String,
        }
        let (name, read) = match document {
            LayoutDocument::Layout => {
                let shape = serde_json::from_slice::<LayoutShape>(bytes);
                let read = match shape.map(|shape| shape.image_layout_version) {
                    Ok(version) if version == "1.0.0" => Ok(()),
                    Ok(version) => Err(BundleFault::Version(version.escape_debug().to_string())),
                    Err(error) => Err(BundleFault::Json(error.to_string())),
                };
                (LAYOUT_FILE, read)
            }
            LayoutDocument::Index => (INDEX_FILE, index::read(bytes).map(|index| self.index = Some(index))),
        };
        read.map_err(|fault| BundleRefusal::new(name.as_bytes(), fault))
    }

    /// The bundle has no more entries.
    pub fn finish(self) -> Result<BundleLayout, BundleRefusal> {
        let refused = |name: &str, fault| Err(BundleRefusal::new(name.as_bytes(), fault));
        if !self.has_layout {
            return if self.is_docker {
                refused("manifest.json", BundleFault::OldDocker)
            } else {
                refused(LAYOUT_FILE, BundleFault::Absent)
            };
        }
        let Some(images) = self.index else { return refused(INDEX_FILE, BundleFault::Absent) };
        if images.is_empty() {
            return refused(INDEX_FILE, BundleFault::NoImages);
        }
        for image in &images {
            let is = self.blobs.get(&image.digest).copied();
            if let (Some(is), Some(says)) = (is, image.size)
                && is != says
            {
                let fault = BundleFault::Size { is, says, names: INDEX_FILE.to_owned() };
                return refused(&blob_path(&image.digest), fault);
            }
        }
        Ok(BundleLayout { images, blobs: self.blobs })
    }
}

/// Takes a document that may be there once, and no longer than that.
fn once(is_there: &mut bool, bytes: u64, limit_bytes: u64) -> Result<(), BundleFault> {
    if std::mem::replace(is_there, true) {
        return Err(BundleFault::Twice);
    }
    if bytes > limit_bytes { Err(BundleFault::TooLong { bytes, limit_bytes }) } else { Ok(()) }
}

impl BundleLayout {
    /// Under which names its images are imported: `name`, if one is given, otherwise those of the bundle, as `resolve` reads
    /// them.
    pub fn named(
        &self,
        name: Option<&BundleImage>,
        resolve: impl Fn(&str) -> Option<BundleImage>,
    ) -> Result<Vec<(BundleImage, IndexedManifest)>, BundleRefusal> {
        let named = match name {
            Some(name) => self.under(name),
            None => self.images.iter().map(|one| Ok((own_name(one, &resolve)?, one.clone()))).collect(),
        };
        named.and_then(distinct).map_err(|fault| BundleRefusal::new(INDEX_FILE.as_bytes(), fault))
    }

    /// All of it under one name, if it is one image.
    fn under(&self, name: &BundleImage) -> Result<Vec<(BundleImage, IndexedManifest)>, BundleFault> {
        let mut digests: Vec<&str> = self.images.iter().map(|one| one.digest.as_str()).collect();
        digests.sort_unstable();
        digests.dedup();
        match self.images.first() {
            Some(one) if digests.len() == 1 => Ok(vec![(name.clone(), one.clone())]),
            Some(_) | None => Err(BundleFault::OneName(digests.len())),
        }
    }
}

fn own_name(
    one: &IndexedManifest,
    resolve: impl Fn(&str) -> Option<BundleImage>,
) -> Result<BundleImage, BundleFault> {
    let Some(name) = &one.name else {
        let found = one.ref_name.as_ref().map(|found| format!(", only {found:?}")).unwrap_or_default();
        return Err(BundleFault::Unnamed { digest: one.digest.to_string(), found });
    };
    resolve(name).ok_or_else(|| BundleFault::Unserved(name.escape_debug().to_string()))
}

/// Each name once. One that leads to two images, or to another digest than it has itself, is refused.
fn distinct(all: Vec<(BundleImage, IndexedManifest)>) -> Result<Vec<(BundleImage, IndexedManifest)>, BundleFault> {
    let mut seen = HashMap::<BundleImage, Digest>::new();
    let mut kept = Vec::new();
    for (image, manifest) in all {
        if let Reference::Digest(digest) = &image.reference
            && *digest != manifest.digest
        {
            let digest = manifest.digest.to_string();
            return Err(BundleFault::OtherDigest { name: image.to_string(), digest });
        }
        match seen.insert(image.clone(), manifest.digest.clone()) {
            None => kept.push((image, manifest)),
            Some(digest) if digest == manifest.digest => {}
            Some(_) => return Err(BundleFault::Ambiguous(image.to_string())),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
