//! What follows a repository's name in a path.

use crate::digest::Digest;
use crate::error::Error;
use crate::name::Reference;

/// What is wanted in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `manifests/<reference>`
    Manifest(Reference),
    /// `blobs/<digest>`
    Blob(Digest),
    /// `blobs/uploads/`
    Uploads,
    /// `blobs/uploads/<session>`
    Upload,
    /// `tags/list`
    Tags,
    /// `referrers/<digest>`
    Referrers(Digest),
}

/// Splits `<name>/<endpoint>` from the right; the name is not checked yet.
pub(super) fn split_endpoint(text: &str) -> Result<(&str, Endpoint), Error> {
    let unknown = || Error::NoSuchEndpoint;
    if let Some(name) = text.strip_suffix("/blobs/uploads/").or_else(|| text.strip_suffix("/blobs/uploads")) {
        return Ok((name, Endpoint::Uploads));
    }
    let (before, last) = text.rsplit_once('/').ok_or_else(unknown)?;
    let (name, kind) = before.rsplit_once('/').ok_or_else(unknown)?;
    let endpoint = match kind {
        "manifests" => Endpoint::Manifest(Reference::parse(last)?),
        "blobs" => Endpoint::Blob(Digest::parse(last)?),
        "referrers" => Endpoint::Referrers(Digest::parse(last)?),
        "tags" if last == "list" => Endpoint::Tags,
        "uploads" if !last.is_empty() => {
            return Ok((name.strip_suffix("/blobs").ok_or_else(unknown)?, Endpoint::Upload));
        }
        _ => return Err(unknown()),
    };
    Ok((name, endpoint))
}
