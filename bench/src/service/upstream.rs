//! The upstream: files served by nginx, which costs as little as can be.

mod content;

use std::net::SocketAddr;

pub(crate) use self::content::{BLOB, Content, Image, MANIFEST, hex, manifest_of};
use super::{Service, free_address, nginx};
use crate::{Result, http};

/// Where nginx tells how many requests it has had.
const STATUS: &str = "/status";

pub(crate) struct Upstream {
    service: Service,
    pub(crate) address: SocketAddr,
    /// The length of the large blob.
    pub(crate) length: u64,
    /// The path of the same blob under its true digest, for those who hash.
    pub(crate) blob: String,
}

impl Upstream {
    /// Serves this.
    pub(crate) fn start(content: Content) -> Result<Self> {
        let address = free_address()?;
        let service = nginx::serve(content.room(), address, &configuration(address, &content))?;
        let answer = http::get(address, MANIFEST)?;
        let is_typed = answer.head.header("content-type") == Some(content::MANIFEST_TYPE);
        if !is_typed || answer.body()? != content.manifest() {
            return Err("the upstream does not serve the manifest as it should".into());
        }
        let (length, blob) = content.into_large_blob();
        Ok(Self { service, address, length, blob })
    }

    /// How many requests it has had, this one included.
    pub(crate) fn requests(&self) -> Result<u32> {
        let body = String::from_utf8(http::get(self.service.address, STATUS)?.body()?)?;
        // The third line holds accepted and handled connections, then requests.
        body.lines()
            .nth(2)
            .and_then(|line| line.split_whitespace().nth(2)?.parse().ok())
            .ok_or_else(|| format!("nginx reports {body:?}").into())
    }

    /// How many requests it has had since it had so many.
    pub(crate) fn requests_since(&self, before: u32) -> Result<u32> {
        // The second count counts itself.
        Ok(self.requests()?.wrapping_sub(before).saturating_sub(1))
    }

    /// Fails if it was asked since it had so many requests: what was measured are no hits then.
    pub(crate) fn was_not_asked_since(&self, before: u32) -> Result<()> {
        match self.requests_since(before)? {
            0 => Ok(()),
            asked => Err(format!("the upstream was asked {asked} times: these are no hits").into()),
        }
    }
}

fn configuration(address: SocketAddr, content: &Content) -> String {
    let Content { digests, .. } = content;
    let files = content.files();
    let (files, manifest_type) = (files.display(), content::MANIFEST_TYPE);
    format!(
        "access_log off;
open_file_cache max=30000 inactive=1h;
open_file_cache_valid 1h;
types {{ }}
map_hash_max_size 65536;
map_hash_bucket_size 256;
map $uri $manifest_digest {{
{digests}}}
server {{
  listen {address} backlog=4096;
  location = /v2/ {{
    default_type application/json;
    add_header Docker-Distribution-Api-Version registry/2.0;
    return 200 '{{}}';
  }}
  location ~ ^/v2/.+/manifests/ {{
    root {files};
    default_type {manifest_type};
    add_header Docker-Content-Digest $manifest_digest;
    add_header Docker-Distribution-Api-Version registry/2.0;
  }}
  location ~ ^/v2/.+/blobs/(?<blob_digest>.+)$ {{
    root {files};
    default_type application/octet-stream;
    add_header Docker-Content-Digest $blob_digest;
    add_header Docker-Distribution-Api-Version registry/2.0;
  }}
  location = {STATUS} {{
    stub_status;
  }}
}}
"
    )
}
