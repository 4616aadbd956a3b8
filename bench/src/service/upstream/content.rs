//! What the upstream has: manifests of everyday images, small blobs, and large ones as sparse files, which cost it least.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::Result;

/// The path of the manifest.
pub(crate) const MANIFEST: &str = "/v2/bench/manifests/latest";

/// The path of the blob for relays. The digest is made up: nobody in a relay
/// hashes, and a sparse file of zeros costs the upstream least.
pub(crate) const BLOB: &str =
    "/v2/bench/blobs/sha256:be9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9c";

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Layers of the one manifest, and of those that are many.
const LAYERS: u32 = 7;
const LAYERS_OF_MANY: u32 = 11;

/// Of an image's config.
const SMALL_BYTES: usize = 8 << 10;

/// An image: paths of what a client asks for.
pub(crate) struct Image {
    pub(crate) manifest: String,
    pub(crate) config: String,
    pub(crate) layers: Vec<String>,
}

/// Files in a directory, until an upstream serves them.
pub(crate) struct Content {
    room: PathBuf,
    manifest: String,
    /// The length and the path of the large blob.
    large: (u64, String),
    /// Lines of nginx's `map`: the digest of each manifest's path.
    pub(super) digests: String,
}

impl Content {
    /// One manifest, and one blob of so many mebibytes.
    pub(crate) fn new(room: PathBuf, mebibytes: u32) -> Result<Self> {
        let large = (0, String::new());
        let mut this = Self { room, manifest: manifest(0, LAYERS), large, digests: String::new() };
        let manifest = this.manifest.clone();
        this.add_manifest("bench", "latest", &manifest)?;
        let blob = this.blob(mebibytes, 0)?;
        symlink(this.file(&blob), this.file(BLOB))?;
        this.large = (u64::from(mebibytes) << 20, blob);
        Ok(this)
    }

    /// Manifests of 2 KB, each of them another, as so many tags in each of so many repositories; their paths.
    pub(crate) fn manifests(&mut self, repositories: u32, tags: u32) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        // Neighbours are of other repositories.
        for tag in 0..tags {
            for repository in 0..repositories {
                let manifest = manifest(1 + repository * tags + tag, LAYERS_OF_MANY);
                paths.push(self.add_manifest(&repository_name(repository), &format!("t{tag}"), &manifest)?);
            }
        }
        Ok(paths)
    }

    /// So many blobs of 8 KB, spread over so many repositories; their paths.
    pub(crate) fn small_blobs(&mut self, count: u32, repositories: u32) -> Result<Vec<String>> {
        (0..count).map(|number| self.add_blob(&repository_name(number % repositories), &small(number))).collect()
    }

    /// A blob of so many mebibytes, all of them zeros but for its number; its path.
    pub(crate) fn blob(&mut self, mebibytes: u32, number: u32) -> Result<String> {
        let path = format!("/v2/bench/blobs/sha256:{}", digest_of_sparse(mebibytes, number));
        let mut file = create(&self.file(&path))?;
        file.write_all(&number.to_le_bytes())?;
        file.set_len(u64::from(mebibytes) << 20)?;
        Ok(path)
    }

    /// An image of so many layers, of so many mebibytes each.
    pub(crate) fn image(&mut self, layers: u32, mebibytes: u32) -> Result<Image> {
        let config = self.add_blob("bench", &small(0))?;
        let layers: Vec<String> =
            (1..=layers).map(|number| self.blob(mebibytes, number)).collect::<Result<_>>()?;
        let descriptors: Vec<String> = layers
            .iter()
            .map(|path| layer(path.rsplit(':').next().unwrap_or_default(), u64::from(mebibytes) << 20))
            .collect();
        let text = text(config.rsplit(':').next().unwrap_or_default(), SMALL_BYTES as u64, &descriptors);
        Ok(Image { manifest: self.add_manifest("bench", "image", &text)?, config, layers })
    }

    fn add_manifest(&mut self, repository: &str, tag: &str, manifest: &str) -> Result<String> {
        let digest = hex(&Sha256::digest(manifest));
        let by_tag = format!("/v2/{repository}/manifests/{tag}");
        let by_digest = format!("/v2/{repository}/manifests/sha256:{digest}");
        create(&self.file(&by_tag))?.write_all(manifest.as_bytes())?;
        symlink(self.file(&by_tag), self.file(&by_digest))?;
        for path in [&by_tag, &by_digest] {
            writeln!(self.digests, "{path} sha256:{digest};")?;
        }
        Ok(by_tag)
    }

    fn add_blob(&mut self, repository: &str, content: &[u8]) -> Result<String> {
        let path = format!("/v2/{repository}/blobs/sha256:{}", hex(&Sha256::digest(content)));
        create(&self.file(&path))?.write_all(content)?;
        Ok(path)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.files().join(path.trim_start_matches('/'))
    }

    pub(super) fn room(&self) -> &Path {
        &self.room
    }

    pub(super) fn files(&self) -> PathBuf {
        self.room.join("files")
    }

    pub(super) fn manifest(&self) -> &[u8] {
        self.manifest.as_bytes()
    }

    pub(super) fn into_large_blob(self) -> (u64, String) {
        self.large
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(path)
}

fn repository_name(number: u32) -> String {
    format!("team{}/service-{number}", number % 10)
}

/// What looks like compressed data, and is another with each number.
fn small(number: u32) -> Vec<u8> {
    let pieces = (0_u32..).flat_map(|piece| Sha256::digest([number.to_le_bytes(), piece.to_le_bytes()].concat()));
    pieces.take(SMALL_BYTES).collect()
}

/// The digest of what a sparse file holds: its number, then zeros.
fn digest_of_sparse(mebibytes: u32, number: u32) -> String {
    let mut mebibyte = vec![0; 1 << 20];
    mebibyte[..4].copy_from_slice(&number.to_le_bytes());
    let mut hash = Sha256::new();
    for _ in 0..mebibytes {
        hash.update(&mebibyte);
        mebibyte[..4].fill(0);
    }
    hex(&hash.finalize())
}

/// A manifest like that of an everyday image: seven layers, 1.5 KB; eleven, 2 KB.
fn manifest(number: u32, layers: u32) -> String {
    let digest = |layer: u32| hex(&Sha256::digest([number.to_le_bytes(), layer.to_le_bytes()].concat()));
    let layers: Vec<String> = (1..=layers).map(|of| layer(&digest(of), u64::from(31_357_624 / of))).collect();
    text(&digest(0), SMALL_BYTES as u64, &layers)
}

/// The manifest of an image, and its type: of these digests the first is that of its config.
pub(crate) fn manifest_of(digests: &[String]) -> (&'static str, String) {
    let layers: Vec<String> = digests.iter().skip(1).map(|digest| layer(digest, 1)).collect();
    (MANIFEST_TYPE, text(digests.first().map_or("", String::as_str), 1, &layers))
}

fn text(config: &str, length: u64, layers: &[String]) -> String {
    let config = descriptor("application/vnd.oci.image.config.v1+json", config, length);
    let layers = layers.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{config},"layers":[{layers}]}}"#)
}

fn layer(digest: &str, length: u64) -> String {
    descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest, length)
}

fn descriptor(media_type: &str, digest: &str, length: u64) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{digest}","size":{length}}}"#)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_as_long_as_those_of_everyday_images() {
        let length = manifest(0, LAYERS).len();
        assert!((1300..1700).contains(&length), "{length}");
        let length = manifest(1, LAYERS_OF_MANY).len();
        assert!((1900..2150).contains(&length), "{length}");
    }

    #[test]
    fn digests_are_digests() {
        assert_eq!(BLOB.rsplit(':').next().map(str::len), Some(64));
        assert_eq!(hex(&[0, 0xab]), "00ab");
        let mut content = vec![0; 2 << 20];
        assert_eq!(digest_of_sparse(2, 0), hex(&Sha256::digest(&content)));
        content[0] = 7;
        assert_eq!(digest_of_sparse(2, 7), hex(&Sha256::digest(&content)));
    }

    #[test]
    fn each_of_many_is_another() {
        let room = tempfile::tempdir().unwrap();
        let mut content = Content::new(room.path().to_owned(), 1).unwrap();
        let mut paths = content.manifests(3, 2).unwrap();
        paths.extend(content.small_blobs(5, 3).unwrap());
        let mut all: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(content.file(path)).unwrap()).collect();
        all.sort();
        all.dedup();
        assert_eq!((paths.len(), all.len()), (11, 11));
    }
}
