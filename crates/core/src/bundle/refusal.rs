//! Why a bundle is refused, and at which of its entries: what whoever made it has to know.

/// Longest name of an entry that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// An entry of a bundle, and why the bundle is refused for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {fault}")]
pub struct BundleRefusal {
    /// Its name, without characters that a terminal would obey.
    pub entry: String,
    /// What is wrong with it.
    pub fault: BundleFault,
}

impl BundleRefusal {
    /// For an entry of this name.
    pub fn new(name: &[u8], fault: BundleFault) -> Self {
        let text = String::from_utf8_lossy(name);
        let shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
        let cut = if text.chars().nth(MAX_SHOWN).is_some() { "…" } else { "" };
        let entry = if shown.is_empty() { "an entry without a name".to_owned() } else { shown + cut };
        Self { entry, fault }
    }
}

/// What is wrong with an entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "their sentences say what they are")]
pub enum BundleFault {
    #[error(
        "this name is empty, absolute, leads out of the bundle, or has characters that no file of a bundle has"
    )]
    Name,
    #[error("this is {0}; a bundle consists of files and directories")]
    Kind(&'static str),
    #[error("this is a directory, and claims to have {0} bytes")]
    DirectoryBytes(u64),
    #[error("this entry is there twice")]
    Twice,
    #[error(
        "this is the name of no blob: expected blobs/sha256/ and 64 lower-case hex digits, or blobs/sha512/ and 128"
    )]
    NoBlob,
    #[error("its digest has the algorithm {0}, which this proxy cannot compute; it knows sha256 and sha512")]
    Algorithm(String),
    #[error("it has {bytes} bytes, more than the {limit_bytes} allowed here")]
    TooLong { bytes: u64, limit_bytes: u64 },
    #[error("the bundle has more than {0} entries")]
    Entries(usize),
    #[error("its bytes do not have the digest in its name: they were changed or damaged")]
    Digest,
    #[error("it has {is} bytes, and {names} says {says}")]
    Size { is: u64, says: u64, names: String },
    #[error("it is not there: this is no OCI image layout")]
    Absent,
    #[error(
        "this is the older format of `docker save`, which has no oci-layout; save it with Docker 25 or later, with \
         `podman save --format oci-archive`, or convert it: skopeo copy docker-archive:FILE oci-archive:NEW.tar"
    )]
    OldDocker,
    #[error("this is no JSON document of the expected form: {0}")]
    Json(String),
    #[error("the layout has the version {0}; this proxy knows 1.0.0")]
    Version(String),
    #[error(
        "it names no image; `docker save` names images that it is told by name, and none that it is told by ID"
    )]
    NoImages,
    #[error("it names {0}, which is no digest")]
    NamedDigest(String),
    #[error("it says that {digest} has the type {media_type}, which is no type of manifests")]
    Type { digest: String, media_type: String },
    #[error("it calls two images {0}")]
    Ambiguous(String),
    #[error("{digest} has no full name there{found}; name it: --as docker.io/library/alpine:3.20")]
    Unnamed { digest: String, found: String },
    #[error(
        "it names {0}, and this configuration serves no such name; use the --config of the server, or another name: --as"
    )]
    Unserved(String),
    #[error("it calls {digest} {name}, which has another digest")]
    OtherDigest { name: String, digest: String },
    #[error("it names {0} images, and --as names one; leave --as out, or import bundles of one image each")]
    OneName(usize),
    #[error(
        "it names {0}, which is neither in the bundle nor in the cache; if this bundle was made with --since, import the \
         older one first"
    )]
    Missing(String),
    #[error("none of the images in it is complete, in the bundle and the cache together")]
    Incomplete,
    #[error("this is no manifest of an image, and is named as one")]
    NoManifest,
    #[error("it is nested too deep: an index in an index, more than {0} of them")]
    Depth(usize),
    #[error("it consists of more than {0} parts")]
    Parts(usize),
    #[error("the archive ends within this entry: it was cut short")]
    CutShort,
    #[error("the archive ends here without its end mark: it was cut short")]
    NoEnd,
    #[error("this is no tar archive, or its header is damaged")]
    Header,
    #[error(
        "the archive is compressed with {0}; decompress it first: {0} -dc FILE | registry-proxy cache import -"
    )]
    Compressed(&'static str),
    #[error("its headers claim {header} and {extended} bytes")]
    TwoSizes { header: u64, extended: u64 },
    #[error("it is a sparse file")]
    Sparse,
    #[error("an extended header before it is longer than {0} bytes, is not followed by a file, or cannot be read")]
    Extended(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_an_entry_commands_a_terminal() {
        let shown = |name: &[u8]| BundleRefusal::new(name, BundleFault::Twice).entry;
        assert_eq!(shown(b"blobs/\x1b[2J"), "blobs/\\u{1b}[2J");
        assert_eq!(shown(b"a\nb\xff"), "a\\nb\u{fffd}");
        assert_eq!(shown(&[b'a'; 500]), "a".repeat(200) + "…");
        assert_eq!(shown(b""), "an entry without a name");
    }
}
