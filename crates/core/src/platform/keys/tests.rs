use proptest::prelude::*;

use super::*;

fn digest() -> Digest {
    Digest::sha256(b"")
}

/// The layout is a promise to every store that has been filled: it does not change under them.
#[test]
fn the_layout_is_what_it_was() {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let name = RepositoryName::parse("library/alpine").unwrap();
    for (key, expected) in [
        (Key::blob(&digest()), format!("v1/blobs/sha256/e3/{hex}")),
        (Key::manifest(&digest()), format!("v1/manifests/sha256/e3/{hex}")),
        (Key::tag("docker.io", &name, "3.20"), "v1/tags/docker.io/library/alpine/_/3.20".to_owned()),
        (Key::link("docker.io", &name, &digest()), format!("v1/links/docker.io/library/alpine/_/sha256/{hex}")),
        (Key::hold("docker.io", &name, "3.20"), "v1/holds/docker.io/library/alpine/_/3.20".to_owned()),
        (
            Key::held_digest("docker.io", &name, &digest()),
            format!("v1/held/docker.io/library/alpine/_/sha256/{hex}"),
        ),
        (Key::lease(&digest(), 7), format!("v1/leases/sha256/{hex}/7")),
        (Key::ingest(&digest()), format!("v1/ingests/sha256/{hex}/at")),
        (Key::ingest_tail(&digest()), format!("v1/ingests/sha256/{hex}/tail")),
        (Key::usage(19_675, "00ab"), "v1/usage/19675/00ab".to_owned()),
    ] {
        assert_eq!(key.as_str(), expected);
        assert_eq!(Key::parse(&expected), Some(key));
        let prefixes = CONTENT.iter().chain(&RECORDS).filter(|prefix| expected.starts_with(**prefix));
        assert_eq!(prefixes.count(), 1, "{expected}: whoever looks through a store finds it");
    }
}

#[test]
fn what_is_not_ours_is_no_key() {
    let hex = digest().encoded().to_owned();
    for text in [
        String::new(),
        "v2/blobs/sha256/e3/x".to_owned(),
        format!("v1/blobs/sha256/ff/{hex}"),
        format!("v1/blobs/sha256/{hex}"),
        format!("v1/blobs/sha256/e3/{hex}/x"),
        "v1/tags/docker.io/_/x".to_owned(),
        "v1/tags/../library/alpine/_/x".to_owned(),
        "v1/tags/docker.io/library/../x/_/y".to_owned(),
        "v1/tags/docker.io/library/alpine/_/..".to_owned(),
        format!("v1/leases/sha256/{hex}/x"),
        format!("v1/ingests/sha256/{hex}"),
        format!("v1/ingests/sha256/{hex}/on"),
        format!("v1/links/docker.io/a/_/sha256/{hex}/x"),
        "v1/usage/019675/00ab".to_owned(),
        "v1/usage/19675/..".to_owned(),
        "v1/usage/19675/a/b".to_owned(),
        "v1/usage/yesterday/a".to_owned(),
        // One key, one spelling.
        format!("v1/links/docker.io/a/_/sha256%3A{hex}"),
        format!("v1/leases/sha256/{hex}/+7"),
        format!("v1/leases/sha256/{hex}/07"),
        "v1/tags/docker.io/library/alpine/_/a b".to_owned(),
    ] {
        assert_eq!(Key::parse(&text), None, "{text}");
    }
}

/// Whatever can be kept, as text that its constructor takes.
fn any_key() -> impl Strategy<Value = Key> {
    let upstream = "[a-z][a-z0-9.:-]{0,20}";
    let repository = "[a-z0-9]{1,5}((\\.|_|__|--|/)[a-z0-9]{1,5}){0,4}";
    let repository = repository.prop_map(|text| RepositoryName::parse(&text).unwrap());
    let digest = ("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|[a-z]{1,4}\\+b:[A-Za-z0-9=_-]{1,9}")
        .prop_map(|text| Digest::parse(&text).unwrap());
    (0..7_u8, upstream, repository, "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", digest, any::<u32>()).prop_map(
        |(kind, upstream, repository, tag, digest, epoch)| match kind {
            0 => Key::blob(&digest),
            1 => Key::manifest(&digest),
            2 => Key::tag(&upstream, &repository, &tag),
            3 => Key::link(&upstream, &repository, &digest),
            4 => Key::hold(&upstream, &repository, &tag),
            5 => Key::held_digest(&upstream, &repository, &digest),
            _ => Key::lease(&digest, epoch),
        },
    )
}

proptest! {
    #[test]
    fn every_key_reads_back_and_none_lies_outside_or_below_another(one in any_key(), other in any_key()) {
        prop_assert_eq!(Key::parse(one.as_str()), Some(one.clone()));
        prop_assert!(one.as_str().starts_with(EVERYTHING));
        prop_assert!(one.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
        // As a file and a folder of one name would.
        let below = format!("{}/", one.as_str());
        prop_assert!(!other.as_str().starts_with(&below));
        // Different things have different keys.
        prop_assert_eq!(one == other, one.kind() == other.kind());
    }

    #[test]
    fn any_text_is_read_without_panic_and_a_key_has_one_spelling(text in "(v1/(blobs|tags|links|holds|held|leases)/)?[ -~]{0,60}") {
        if let Some(key) = Key::parse(&text) {
            prop_assert_eq!(key.as_str(), text);
        }
    }
}
