//! What lies in a store, and what manifests say.

use bytes::Bytes;

use crate::cache::{Described, Key, Kind, Pointer, StoredManifest};
use crate::digest::Digest;
use crate::evidence::{Link, Origins};
use crate::media;
use crate::name::{RepositoryName, Tag};
use crate::quota::report::{MAX_CLIENTS, UsageReport};

/// A key, and keys of what the text names.
pub(super) fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(key) = Key::parse(text) {
        assert_eq!(key.as_str(), text);
        check(&key);
    }
    // `<upstream> <repository> <tag or digest>`
    let mut words = text.split(' ');
    let (Some(upstream), Some(repository), Some(last)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let is_upstream = !upstream.is_empty() && !upstream.starts_with('.') && !upstream.contains(['/', '\\', '\0']);
    let Ok(repository) = RepositoryName::parse(repository) else { return };
    if !is_upstream || upstream.len() > 253 {
        return;
    }
    if let Some(tag) = Tag::parse(last) {
        let key = Key::tag(upstream, &repository, tag.as_str());
        let Some(Kind::Tag { upstream: up, repository: name, tag: read }) = check(&key) else { panic!("{key}") };
        assert_eq!((&*up, &*name, &*read), (upstream, repository.as_str(), tag.as_str()));
    }
    if let Ok(digest) = Digest::parse(last) {
        for key in [
            Key::blob(&digest),
            Key::manifest(&digest),
            Key::origins(&digest),
            Key::lease(&digest, 7),
            Key::link(upstream, &repository, &digest),
        ] {
            let (Kind::Blob(read)
            | Kind::Manifest(read)
            | Kind::Origins(read)
            | Kind::Lease { digest: read, .. }
            | Kind::Link { digest: read, .. }) = check(&key).expect("it reads back")
            else {
                panic!("{key}")
            };
            assert_eq!(read, digest, "{key}");
        }
    }
}

/// What holds of every key of ours: it stays below its prefix, reads back, and has one spelling.
fn check(key: &Key) -> Option<Kind> {
    let text = key.as_str();
    assert!(text.starts_with("v1/") && text.split('/').all(|part| !matches!(part, "" | "." | "..")), "{text}");
    assert_eq!(Key::parse(text).as_ref(), Some(key));
    let kind = key.kind();
    let name = |text: &str| RepositoryName::parse(text).expect("a name");
    let spelled = match kind.as_ref()? {
        Kind::Blob(digest) => Key::blob(digest),
        Kind::Manifest(digest) => Key::manifest(digest),
        Kind::Tag { upstream, repository, tag } => Key::tag(upstream, &name(repository), tag),
        Kind::Link { upstream, repository, digest } => Key::link(upstream, &name(repository), digest),
        Kind::Origins(digest) => Key::origins(digest),
        Kind::Lease { digest, epoch } => Key::lease(digest, *epoch),
        Kind::Ingest(digest) if text.ends_with("/tail") => Key::ingest_tail(digest),
        Kind::Ingest(digest) => Key::ingest(digest),
        Kind::Hold { upstream, repository, tag } => Key::hold(upstream, &name(repository), tag),
        Kind::HeldDigest { upstream, repository, digest } => Key::held_digest(upstream, &name(repository), digest),
        Kind::Usage { day, instance } => Key::usage(*day, instance),
    };
    assert_eq!(&spelled, key, "one spelling");
    kind
}

/// A manifest: a line with a media type or nothing, then its bytes.
pub(super) fn manifest(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let described = Described::of(body);
    for pieces in [&described.manifests, &described.blobs] {
        assert!(pieces.len() <= 1000, "bounded");
        assert!(pieces.iter().all(|piece| Digest::parse(piece.digest.as_str()).as_ref() == Ok(&piece.digest)));
        assert!(pieces.iter().all(|piece| piece.platform.as_deref() != Some("")));
    }
    if let Some(media_type) = std::str::from_utf8(header).ok().and_then(media::manifest_type) {
        assert_eq!(media::manifest_type(media_type), Some(media_type));
    }
    let Some(stored) = StoredManifest::new(Digest::sha256(body), Bytes::copy_from_slice(body)) else { return };
    assert_eq!(media::manifest_type(stored.media_type), Some(stored.media_type), "one of those that are served");
    let read = StoredManifest::from_record(&stored.digest, &stored.to_record()).expect("what is kept reads back");
    assert_eq!((read.media_type, read.bytes, read.digest), (stored.media_type, stored.bytes, stored.digest));
}

/// A record of any kind.
pub(super) fn record(bytes: &[u8]) {
    if let Some(pointer) = Pointer::from_record(bytes) {
        assert_eq!(Pointer::from_record(&pointer.to_record()).as_ref(), Some(&pointer));
        assert!(pointer.may_be_stale(1, pointer.confirmed) && !pointer.may_be_stale(0, pointer.confirmed));
    }
    if let Some(link) = Link::from_record(bytes) {
        assert_eq!(link.to_record(), bytes);
    }
    if let Some(origins) = Origins::from_record(bytes) {
        assert_eq!(Origins::from_record(&origins.to_record()).as_ref(), Some(&origins));
        assert_eq!(origins.with(&origins), None);
    }
    if let Some(note) = UsageReport::from_record(bytes) {
        assert!(note.clients.len() <= MAX_CLIENTS, "bounded");
        assert_eq!(UsageReport::from_record(&note.to_record()).as_ref(), Some(&note));
        assert_eq!(note.clone().at(note.hour), note);
    }
    let behind = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let record = Bytes::copy_from_slice(bytes);
    if let Some(stored) = StoredManifest::from_record(&Digest::sha256(&bytes[behind..]), &record) {
        let again = StoredManifest::from_record(&stored.digest, &stored.to_record()).expect("it reads back");
        assert_eq!((again.media_type, again.bytes), (stored.media_type, stored.bytes));
    }
    assert!(StoredManifest::from_record(&Digest::sha256(b"something else"), &record).is_none());
}
