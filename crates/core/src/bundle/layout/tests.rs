use proptest::prelude::*;

use super::*;
use crate::bundle::{EntryKind, LAYOUT_JSON};

fn file(name: &str, size: u64) -> BundleEntry {
    BundleEntry { name: name.as_bytes().to_vec(), kind: EntryKind::File, size }
}

fn index(manifests: &[(&Digest, &str)]) -> String {
    let one = |(digest, name): &(&Digest, &str)| {
        format!(
            r#"{{"digest":"{digest}","size":3,"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#
        )
    };
    let all: Vec<String> = manifests.iter().map(one).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","))
}

/// Reads these entries; a document has this text.
fn read(entries: &[(&str, u64)], index: &str) -> Result<BundleLayout, BundleRefusal> {
    let mut reader = LayoutReader::new(1000);
    for (name, size) in entries {
        match reader.entry(&file(name, *size))? {
            Disposition::Read(LayoutDocument::Layout) => {
                reader.document(LayoutDocument::Layout, LAYOUT_JSON.as_bytes())?;
            }
            Disposition::Read(LayoutDocument::Index) => {
                reader.document(LayoutDocument::Index, index.as_bytes())?;
            }
            Disposition::Skip | Disposition::Keep(_) => {}
        }
    }
    reader.finish()
}

#[test]
fn the_order_of_entries_says_nothing() {
    let digest = Digest::sha256(b"{}\n");
    let (blob, index) = (blob_path(&digest), index(&[(&digest, "docker.io/library/a:1")]));
    let mut entries = [("oci-layout", 30), ("index.json", 200), (&*blob, 3)];
    let first = read(&entries, &index).unwrap();
    assert_eq!(first.blobs, HashMap::from([(digest.clone(), 3)]));
    for _ in 0..2 {
        entries.rotate_left(1);
        assert_eq!(read(&entries, &index).as_ref(), Ok(&first));
    }
    let twice = [entries[0], entries[1], entries[2], entries[0]];
    assert_eq!(read(&twice, &index).unwrap_err().fault, BundleFault::Twice);
}

#[test]
fn what_is_no_layout_is_told() {
    let digest = Digest::sha256(b"{}\n");
    let (blob, one) = (blob_path(&digest), index(&[(&digest, "docker.io/library/a:1")]));
    for (entries, index, expected) in [
        (&[("index.json", 9)][..], &*one, "oci-layout: it is not there: this is no OCI image layout"),
        (&[("manifest.json", 9), ("index.json", 9)], &one, "manifest.json: this is the older format of"),
        (&[("oci-layout", 30)], &one, "index.json: it is not there"),
        (&[("oci-layout", 4097)], &one, "oci-layout: it has 4097 bytes, more than the 4096 allowed"),
        (&[("oci-layout", 30), ("index.json", 1001)], &one, "index.json: it has 1001 bytes, more than the 1000"),
        (&[("oci-layout", 30), ("index.json", 9)], r#"{"manifests":[]}"#, "index.json: it names no image"),
        (&[("oci-layout", 30), ("index.json", 9), (&blob, 4)], &one, "has 4 bytes, and index.json says 3"),
    ] {
        let refused = read(entries, index).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    let mut reader = LayoutReader::new(1000);
    for (text, expected) in [
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "oci-layout: the layout has the version 2.0.0"),
        ("{}", "oci-layout: this is no JSON document of the expected form"),
        ("", "oci-layout: this is no JSON document of the expected form"),
    ] {
        let refused = reader.document(LayoutDocument::Layout, text.as_bytes()).unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn a_bundle_has_an_end() {
    let mut reader = LayoutReader::new(1000);
    let name = |at: usize| format!("blobs/sha256/{at:064x}");
    for at in 0..MAX_ENTRIES {
        assert!(reader.entry(&file(&name(at), 1)).is_ok());
    }
    let refused = reader.entry(&file(&name(MAX_ENTRIES), 1)).unwrap_err();
    assert_eq!(refused.fault, BundleFault::Entries(MAX_ENTRIES));
}

#[test]
fn images_go_by_their_full_names_or_by_the_one_that_is_given() {
    let [a, b] = [&b"a"[..], b"b"].map(Digest::sha256);
    let image = |text: &str| BundleImage::parse(text).ok();
    let at_a = format!("quay.io/x/a@{a}");
    for (manifests, given, expected) in [
        (&[(&a, "quay.io/x/a:1")][..], None, Ok(&["quay.io/x/a:1"][..])),
        (&[(&a, "quay.io/x/a:1"), (&a, "quay.io/x/a:2")], None, Ok(&["quay.io/x/a:1", "quay.io/x/a:2"])),
        (&[(&a, "quay.io/x/a:1"), (&a, "quay.io/x/a:1")], None, Ok(&["quay.io/x/a:1"])),
        (&[(&a, "quay.io/x/a:1"), (&b, "quay.io/x/a:1")], None, Err("it calls two images quay.io/x/a:1")),
        (&[(&a, &at_a)], None, Ok(&[&at_a])),
        (&[(&b, &at_a)], None, Err("which has another digest")),
        (&[(&a, "1")], None, Err("has no full name there, only \"1\"; name it: --as")),
        (&[(&a, "quay.io/x/a")], None, Err("it names quay.io/x/a, and this configuration serves no such name")),
        (&[(&a, "1")], Some("quay.io/x/a:1"), Ok(&["quay.io/x/a:1"])),
        (&[(&a, "1"), (&a, "2")], Some("quay.io/x/a:1"), Ok(&["quay.io/x/a:1"])),
        (&[(&a, "1"), (&b, "2")], Some("quay.io/x/a:1"), Err("it names 2 images, and --as names one")),
        (&[(&b, "1")], Some(&at_a), Err("which has another digest")),
    ] {
        let layout = read(&[("oci-layout", 30), ("index.json", 200)], &index(manifests)).unwrap();
        let named = layout.named(given.and_then(image).as_ref(), image);
        match (named, expected) {
            (Ok(named), Ok(expected)) => {
                let shown: Vec<String> = named.iter().map(|(image, _)| image.to_string()).collect();
                assert_eq!(shown, expected);
            }
            (Err(refused), Err(expected)) => assert!(refused.to_string().contains(expected), "{refused}"),
            (named, expected) => panic!("{named:?}, and expected {expected:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_entries_and_documents_are_read_without_panic(
        names in proptest::collection::vec("(oci-layout|index.json|(blobs|sha256|sha512|[a-f0-9]{64}|[./a-z\0]{0,3})(/(blobs|sha256|[a-f0-9]{64}|[./a-z]{0,3})){0,3})", 0..12),
        text: String,
    ) {
        let mut reader = LayoutReader::new(1000);
        let mut kept = 0;
        for name in &names {
            match reader.entry(&file(name, 5)) {
                Ok(Disposition::Read(document)) => drop(reader.document(document, text.as_bytes())),
                Ok(Disposition::Keep(_)) => kept += 1,
                Ok(Disposition::Skip) | Err(_) => {}
            }
        }
        if let Ok(layout) = reader.finish() {
            prop_assert_eq!(layout.blobs.len(), kept);
        }
    }
}
