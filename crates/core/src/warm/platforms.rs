//! Which manifests of an index are wanted. Pure.

use crate::cache::ChildDescriptor;
use crate::image_platform::ImagePlatform;

/// How indexes call what is no image: attestations of `docker buildx`, which no client pulls with an image.
const NO_PLATFORM: &str = "unknown/unknown";

/// What of an index is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The places of its manifests, in the index's order.
    pub(super) taken: Vec<usize>,
    /// Platforms that it does not have.
    pub(super) absent: Vec<String>,
}

/// Chooses from an index. A manifest of which no platform is said is always taken.
pub(super) fn choose(wanted: &[ImagePlatform], manifests: &[ChildDescriptor]) -> Choice {
    let is_taken = |child: &ChildDescriptor| match child.platform.as_deref() {
        _ if wanted.is_empty() => true,
        None => true,
        Some(NO_PLATFORM) => false,
        Some(platform) => wanted.iter().any(|wanted| wanted.takes(platform)),
    };
    let taken = manifests.iter().enumerate().filter(|(_, child)| is_taken(child)).map(|(at, _)| at).collect();
    let stated = || manifests.iter().filter_map(|child| child.platform.as_deref());
    let is_absent = |wanted: &&ImagePlatform| !stated().any(|platform| wanted.takes(platform));
    let absent = match stated().next() {
        Some(_) => wanted.iter().filter(is_absent).map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    Choice { taken, absent }
}

/// The platforms of an index, for people.
pub(super) fn listed(manifests: &[ChildDescriptor]) -> String {
    let mut all: Vec<&str> = manifests.iter().filter_map(|child| child.platform.as_deref()).collect();
    all.retain(|platform| *platform != NO_PLATFORM);
    all.dedup();
    all.truncate(20);
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn index(platforms: &[&str]) -> Vec<ChildDescriptor> {
        let child = |platform: &&str| ChildDescriptor {
            digest: Digest::sha256(platform.as_bytes()),
            size: None,
            platform: (!platform.is_empty()).then(|| (*platform).to_owned()),
        };
        platforms.iter().map(child).collect()
    }

    #[test]
    fn an_index_gives_the_platforms_that_are_wanted_and_says_which_it_lacks() {
        let usual = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", NO_PLATFORM];
        for (wanted, platforms, taken, absent) in [
            (&["linux/amd64"][..], &usual[..], &[0][..], &[][..]),
            (&["linux/arm64"], &usual, &[3], &[]),
            (&["linux/arm"], &usual, &[1, 2], &[]),
            (&["linux/arm/v7"], &usual, &[2], &[]),
            (&["Linux/ARM64", "linux/s390x"], &usual, &[3], &["linux/s390x"]),
            (&["linux/am"], &usual, &[], &["linux/am"]),
            (&[], &usual, &[0, 1, 2, 3, 4], &[]),
            (&["unknown/unknown"], &usual, &[], &[]),
            (&["linux/amd64"], &["", ""], &[0, 1], &[]),
            (&["linux/amd64"], &["", "linux/amd64"], &[0, 1], &[]),
            (&["linux/amd64"], &[], &[], &[]),
        ] {
            let parsed: Vec<_> = wanted.iter().map(|text| ImagePlatform::parse(text).unwrap()).collect();
            let choice = choose(&parsed, &index(platforms));
            assert_eq!(
                (choice.taken.as_slice(), choice.absent),
                (taken, absent.iter().map(|&a| a.to_owned()).collect()),
                "{wanted:?} of {platforms:?}"
            );
        }
    }
}
