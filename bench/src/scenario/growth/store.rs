//! A cache as a proxy leaves it behind, with so many small blobs, and an image for every ten of them.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::service::upstream::{hex, manifest_of};

/// Blobs of one image: its config and its layers.
const BLOBS: u32 = 10;

/// Of a blob: together they are more than what else is written.
const BYTES: usize = 1 << 10;

/// Images of one repository.
const TAGS: u32 = 100;

/// What was written.
pub(super) struct Written {
    /// The path of a blob that may be served.
    pub(super) blob: String,
    pub(super) bytes: u64,
}

/// Writes it into this directory.
pub(super) fn write(cache: &Path, blobs: u32) -> Result<Written> {
    let folders = ["blobs", "manifests"].map(|kind| cache.join("v1").join(kind).join("sha256"));
    for (folder, shard) in folders.iter().flat_map(|folder| (0..=u8::MAX).map(move |shard| (folder, shard))) {
        fs::create_dir_all(folder.join(hex(&[shard])))?;
    }
    let [blob_folder, manifest_folder] = folders;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (mut digests, mut bytes) = (Vec::new(), 0);
    let mut keep = |path: &Path, content: &[u8]| {
        bytes += content.len() as u64;
        fs::write(path, content)
    };
    for number in 0..blobs {
        let content = content(number);
        let digest = hex(&Sha256::digest(&content));
        keep(&blob_folder.join(&digest[..2]).join(&digest), &content)?;
        digests.push(digest);
        if digests.len() < usize::try_from(BLOBS)? && number + 1 < blobs {
            continue;
        }
        let (media_type, manifest) = manifest_of(&digests);
        let digest = hex(&Sha256::digest(&manifest));
        let record = format!("{media_type}\n{manifest}");
        keep(&manifest_folder.join(&digest[..2]).join(&digest), record.as_bytes())?;
        let image = number / BLOBS;
        let tags = cache.join(format!("v1/tags/bench.test/team/service-{}/_", image / TAGS));
        fs::create_dir_all(&tags)?;
        let tag = format!(r#"{{"digest":"sha256:{digest}","confirmed":{now}}}"#);
        keep(&tags.join(format!("t{}", image % TAGS)), tag.as_bytes())?;
        digests.clear();
    }
    let last = hex(&Sha256::digest(content(blobs - 1)));
    let links = cache.join("v1/links/bench.test/bench/_/sha256");
    fs::create_dir_all(&links)?;
    keep(&links.join(&last), b"shown")?;
    Ok(Written { blob: format!("/v2/bench/blobs/sha256:{last}"), bytes })
}

fn content(number: u32) -> Vec<u8> {
    let mut content = format!("blob {number}").into_bytes();
    content.resize(BYTES, 0);
    content
}

/// How many blobs are in it.
pub(super) fn blobs(cache: &Path) -> Result<usize> {
    let mut count = 0;
    for shard in fs::read_dir(cache.join("v1/blobs/sha256"))? {
        count += fs::read_dir(shard?.path())?.count();
    }
    Ok(count)
}
