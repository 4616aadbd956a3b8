//! Images that are never evicted: `keep` in `[[warm]]`. Pure.

use std::collections::HashMap;

use super::{Key, Kind};
use crate::digest::Digest;
use crate::tag_pattern::newest;

/// An image that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptImage {
    /// The upstream's name.
    pub(crate) upstream: Box<str>,
    /// The repository, as the upstream calls it.
    pub(crate) repository: Box<str>,
    /// What of it.
    pub(crate) reference: KeptReference,
}

/// Which images of a repository stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeptReference {
    /// What a tag points to.
    Tag(Box<str>),
    /// The newest of the cached tags that fit.
    Newest {
        /// Of tags.
        pattern: Box<str>,
        /// How many.
        most: usize,
    },
    /// A manifest.
    Digest(Digest),
}

/// The tags of a repository, each with its place.
type TagPlaces = HashMap<Box<str>, usize>;

/// The places of those tags that stay.
pub(crate) fn kept_tags<'a>(kept: &[KeptImage], tags: impl Iterator<Item = &'a Key>) -> Vec<usize> {
    let is_in_question = |upstream: &str, repository: &str| {
        kept.iter().any(|image| *image.upstream == *upstream && *image.repository == *repository)
    };
    let mut places: HashMap<(Box<str>, Box<str>), TagPlaces> = HashMap::new();
    for (place, key) in tags.enumerate() {
        if let Some(Kind::Tag { upstream, repository, tag }) = key.kind()
            && is_in_question(&upstream, &repository)
        {
            places.entry((upstream, repository)).or_default().insert(tag, place);
        }
    }
    let mut found = Vec::new();
    for image in kept {
        let Some(tags) = places.get(&(image.upstream.clone(), image.repository.clone())) else { continue };
        match &image.reference {
            KeptReference::Tag(tag) => found.extend(tags.get(tag)),
            KeptReference::Newest { pattern, most } => {
                let all = tags.keys().map(ToString::to_string).collect();
                found.extend(newest(pattern, all, *most).iter().filter_map(|tag| tags.get(tag.as_str())));
            }
            KeptReference::Digest(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RepositoryName;

    #[test]
    fn named_tags_and_the_newest_of_a_pattern_stay() {
        let key = |upstream: &str, repository: &str, tag: &str| {
            Key::tag(upstream, &RepositoryName::parse(repository).unwrap(), tag)
        };
        let tags = [
            key("docker.io", "library/alpine", "3.9"),
            key("docker.io", "library/alpine", "3.20"),
            key("docker.io", "library/alpine", "3.21"),
            key("ghcr.io", "library/alpine", "3.22"),
            key("docker.io", "a/b", "v1"),
            key("docker.io", "a/b", "v2"),
        ];
        let image = |repository: &str, reference| KeptImage {
            upstream: "docker.io".into(),
            repository: repository.into(),
            reference,
        };
        let newest = |most| KeptReference::Newest { pattern: "3.*".into(), most };
        for (kept, expected) in [
            (vec![], &[][..]),
            (vec![image("library/alpine", newest(2))], &[2, 1]),
            (vec![image("library/alpine", newest(9))], &[2, 1, 0]),
            (
                vec![image("a/b", KeptReference::Tag("v2".into())), image("a/b", KeptReference::Tag("v3".into()))],
                &[5],
            ),
            (vec![image("a/none", newest(1))], &[]),
        ] {
            assert_eq!(kept_tags(&kept, tags.iter()), expected, "{kept:?}");
        }
    }
}
