//! What an entry of a bundle is, by its name and kind. A name is never used as a path: it either says which part of a layout
//! the entry is, or the entry is passed over.

use super::refusal::BundleFault;
use super::{INDEX_FILE, LAYOUT_FILE};
use crate::digest::Digest;

/// An entry of an archive, or of a directory, before its bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEntry {
    /// As the archive has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes that it claims to have.
    pub size: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Anything else, in words: `a symbolic link`.
    Other(&'static str),
}

/// Which part of a layout a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LayoutPart {
    /// `oci-layout`
    Layout,
    /// `index.json`
    Index,
    /// `manifest.json` of `docker save`.
    DockerManifest,
    /// A blob that goes by this digest.
    Blob(Digest),
    /// None: a layout may have other files.
    Foreign,
}

/// Where a blob lies in a layout: `blobs/sha256/…`.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.encoded())
}

/// Which part of a layout an entry is; `None`: a directory.
pub(super) fn part_of(entry: &BundleEntry) -> Result<Option<LayoutPart>, BundleFault> {
    let segments = segments(&entry.name).ok_or(BundleFault::Name)?;
    if is_old_docker(&segments) {
        return Err(BundleFault::OldDocker);
    }
    match entry.kind {
        EntryKind::Other(what) => Err(BundleFault::Kind(what)),
        EntryKind::Directory if entry.size > 0 => Err(BundleFault::DirectoryBytes(entry.size)),
        EntryKind::Directory => Ok(None),
        EntryKind::File => file(&segments).map(Some),
    }
}

fn file(segments: &[&str]) -> Result<LayoutPart, BundleFault> {
    match segments {
        [] => Err(BundleFault::Name),
        [LAYOUT_FILE] => Ok(LayoutPart::Layout),
        [INDEX_FILE] => Ok(LayoutPart::Index),
        ["manifest.json"] => Ok(LayoutPart::DockerManifest),
        ["blobs", algorithm, encoded] => {
            let digest = Digest::parse(&format!("{algorithm}:{encoded}")).map_err(|_| BundleFault::NoBlob)?;
            if digest.is_computable() {
                Ok(LayoutPart::Blob(digest))
            } else {
                Err(BundleFault::Algorithm(digest.algorithm().to_owned()))
            }
        }
        ["blobs", ..] => Err(BundleFault::NoBlob),
        _ => Ok(LayoutPart::Foreign),
    }
}

/// The segments of a name, none of them empty, `.` or `..`; `None`: another name. `tar -C DIR .` begins names with `./`,
/// and directories may end in a slash.
fn segments(name: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(name).ok()?;
    if text.is_empty() || text.chars().any(|one| one.is_control() || one == '\\') {
        return None;
    }
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if matches!(text, "" | ".") {
        // `/` is no name of ours, `./` is the bundle itself.
        return (name.first() == Some(&b'.')).then(Vec::new);
    }
    let segments: Vec<&str> = text.split('/').collect();
    segments.iter().all(|segment| !matches!(*segment, "" | "." | "..")).then_some(segments)
}

/// Files of `docker save` before version 25, and of podman's `docker-archive`: a directory for each layer.
fn is_old_docker(segments: &[&str]) -> bool {
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(segments, [id, "VERSION" | "json" | "layer.tar"] if is_id(id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    fn part(name: &[u8], kind: EntryKind) -> Result<Option<LayoutPart>, BundleFault> {
        part_of(&BundleEntry { name: name.to_vec(), kind, size: 0 })
    }

    #[test]
    fn what_a_file_is_follows_from_its_whole_name() {
        let blob = || LayoutPart::Blob(Digest::parse(&format!("sha256:{HEX}")).unwrap());
        for (name, expected) in [
            ("oci-layout", LayoutPart::Layout),
            ("./oci-layout", LayoutPart::Layout),
            ("index.json", LayoutPart::Index),
            ("./index.json", LayoutPart::Index),
            ("manifest.json", LayoutPart::DockerManifest),
            (&format!("blobs/sha256/{HEX}"), blob()),
            (&format!("./blobs/sha256/{HEX}"), blob()),
            ("repositories", LayoutPart::Foreign),
            ("a/index.json", LayoutPart::Foreign),
            ("Index.json", LayoutPart::Foreign),
            ("..index.json", LayoutPart::Foreign),
            ("README 读我", LayoutPart::Foreign),
        ] {
            assert_eq!(part(name.as_bytes(), EntryKind::File), Ok(Some(expected)), "{name}");
        }
        for name in ["./", ".", "blobs", "blobs/", "./blobs/sha256/", "anything/else"] {
            assert_eq!(part(name.as_bytes(), EntryKind::Directory), Ok(None), "{name}");
        }
    }

    #[test]
    fn a_name_that_leads_anywhere_is_refused() {
        for name in [
            &b""[..],
            b"/",
            b"//",
            b"/index.json",
            b"..",
            b"../index.json",
            b"./../index.json",
            b"blobs/../index.json",
            b"blobs/./index.json",
            b"blobs//sha256",
            b"././index.json",
            b"index.json/..",
            b"..\\index.json",
            b"index.json\0.txt",
            b"index\n.json",
            b"\xff\xfe",
        ] {
            for kind in [EntryKind::File, EntryKind::Directory, EntryKind::Other("a symbolic link")] {
                assert_eq!(part(name, kind), Err(BundleFault::Name), "{}", name.escape_ascii());
            }
        }
        assert_eq!(part(b"./", EntryKind::File), Err(BundleFault::Name));
    }

    #[test]
    fn below_blobs_there_is_nothing_but_digests() {
        let upper = format!("blobs/sha256/{}", HEX.to_uppercase());
        let (long, nested) = (format!("blobs/sha256/{HEX}00"), format!("blobs/sha256/{HEX}/x"));
        for name in ["blobs/x", "blobs/sha256/x", "blobs/sha256/x/y", "blobs/sha 256/x", &upper, &long, &nested] {
            assert_eq!(part(name.as_bytes(), EntryKind::File), Err(BundleFault::NoBlob), "{name}");
        }
        let name = format!("blobs/blake3/{HEX}");
        assert_eq!(part(name.as_bytes(), EntryKind::File), Err(BundleFault::Algorithm("blake3".into())));
    }

    #[test]
    fn the_older_format_of_docker_is_told_from_its_first_layer() {
        for name in ["VERSION", "json", "layer.tar"] {
            for kind in [EntryKind::File, EntryKind::Other("a symbolic link")] {
                assert_eq!(part(format!("{HEX}/{name}").as_bytes(), kind), Err(BundleFault::OldDocker), "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn only_a_name_without_a_way_out_is_anything(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Some(_)) = part(&name, EntryKind::File) {
                let text = std::str::from_utf8(&name).unwrap();
                prop_assert!(!text.starts_with('/') && text.split('/').all(|segment| segment != ".."));
            }
        }

        #[test]
        fn a_blob_is_found_where_it_is_put(bytes: Vec<u8>) {
            let digest = Digest::sha256(&bytes);
            let found = part(blob_path(&digest).as_bytes(), EntryKind::File);
            prop_assert_eq!(found, Ok(Some(LayoutPart::Blob(digest))));
        }
    }
}
