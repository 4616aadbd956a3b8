//! The upstream: files served by nginx, which costs as little as can be.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Service, free_address, nginx};
use crate::{Result, http};

/// The path of the manifest.
pub(crate) const MANIFEST: &str = "/v2/bench/manifests/latest";

/// The path of the blob for relays. The digest is made up: nobody in a relay
/// hashes, and a sparse file of zeros costs the upstream least.
pub(crate) const BLOB: &str =
    "/v2/bench/blobs/sha256:be9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9cbe9c";

/// Where nginx tells how many requests it has had.
const STATUS: &str = "/status";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) struct Upstream {
    service: Service,
    pub(crate) address: SocketAddr,
    /// The length of the blob.
    pub(crate) length: u64,
    /// The path of the same blob under its true digest, for those who hash.
    pub(crate) blob: String,
}

impl Upstream {
    /// How many requests it has had, this one included.
    pub(crate) fn requests(&self) -> Result<u32> {
        let body = String::from_utf8(http::get(self.service.address, STATUS)?.body()?)?;
        // The third line holds accepted and handled connections, then requests.
        body.lines()
            .nth(2)
            .and_then(|line| line.split_whitespace().nth(2)?.parse().ok())
            .ok_or_else(|| format!("nginx reports {body:?}").into())
    }
}

/// Starts it with a blob of so many mebibytes.
pub(crate) fn start(room: &Path, mebibytes: u32) -> Result<Upstream> {
    let length = u64::from(mebibytes) << 20;
    File::create(room.join("blob"))?.set_len(length)?;
    let manifest = manifest();
    fs::write(room.join("manifest"), &manifest)?;
    let digest = hex(&Sha256::digest(&manifest));
    let true_digest = digest_of_zeros(length);
    let blob = format!("/v2/bench/blobs/sha256:{true_digest}");
    let address = free_address()?;
    let room_path = room.display();
    let blob_digest = BLOB.rsplit('/').next().unwrap_or_default();
    let http = format!(
        "access_log off;
open_file_cache max=16 inactive=1h;
open_file_cache_valid 1h;
types {{ }}
server {{
  listen {address} backlog=1024;
  location = /v2/ {{
    default_type application/json;
    add_header Docker-Distribution-Api-Version registry/2.0;
    return 200 '{{}}';
  }}
  location ~ ^/v2/bench/manifests/(latest|sha256:{digest})$ {{
    alias {room_path}/manifest;
    default_type {MANIFEST_TYPE};
    add_header Docker-Content-Digest sha256:{digest};
    add_header Docker-Distribution-Api-Version registry/2.0;
  }}
  location = {BLOB} {{
    alias {room_path}/blob;
    default_type application/octet-stream;
    add_header Docker-Content-Digest {blob_digest};
    add_header Docker-Distribution-Api-Version registry/2.0;
  }}
  location = {blob} {{
    alias {room_path}/blob;
    default_type application/octet-stream;
    add_header Docker-Content-Digest sha256:{true_digest};
    add_header Docker-Distribution-Api-Version registry/2.0;
  }}
  location = {STATUS} {{
    stub_status;
  }}
}}
"
    );
    let service = nginx::serve(room, address, &http)?;
    let answer = http::get(address, MANIFEST)?;
    if answer.header("content-type") != Some(MANIFEST_TYPE) || answer.body()? != manifest.as_bytes() {
        return Err("the upstream does not serve the manifest as it should".into());
    }
    Ok(Upstream { service, address, length, blob })
}

/// The digest of so many zeros, which is what a sparse file holds.
fn digest_of_zeros(length: u64) -> String {
    let mut hash = Sha256::new();
    let mebibyte = vec![0; 1 << 20];
    for _ in 0..length >> 20 {
        hash.update(&mebibyte);
    }
    hex(&hash.finalize())
}

/// A manifest like that of an everyday image: seven layers, 1.5 KB.
fn manifest() -> String {
    let layers: Vec<String> = (1..=7)
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer, 31_357_624 / layer))
        .collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", 0, 7023);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    )
}

fn descriptor(media_type: &str, seed: u32, size: u32) -> String {
    let digest = hex(&Sha256::digest(seed.to_le_bytes()));
    format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{digest}","size":{size}}}"#)
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
    fn an_everyday_manifest() {
        let length = manifest().len();
        assert!((1300..1700).contains(&length), "{length}");
    }

    #[test]
    fn digests_are_digests() {
        assert_eq!(BLOB.rsplit(':').next().map(str::len), Some(64));
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(digest_of_zeros(1 << 20), hex(&Sha256::digest(vec![0; 1 << 20])));
    }
}
