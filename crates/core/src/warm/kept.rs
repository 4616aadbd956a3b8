//! Which images the rules of `[[warm]]` keep from eviction.

use std::sync::Arc;

use crate::cache::{KeptImage, KeptReference};
use crate::config::Config;
use crate::name::Reference;
use crate::route::image::target_of;
use crate::route::{Endpoint, Routes};
use crate::tag_pattern::split;

/// All of them. Names that mean nothing here keep nothing.
pub(crate) fn kept_images(config: &Config, routes: &Routes) -> Arc<[KeptImage]> {
    let mut kept = Vec::new();
    for rule in config.warm.iter().filter(|rule| rule.keep) {
        let most = usize::try_from(rule.newest).unwrap_or(usize::MAX);
        for image in &rule.images {
            let (name, pattern) = split(image).map_or((image.as_str(), None), |(name, tag)| (name, Some(tag)));
            let Ok(target) = target_of(routes, config, name) else { continue };
            let Some(upstream) = config.upstream.get(target.upstream) else { continue };
            let reference = match (pattern, &target.endpoint) {
                (Some(pattern), _) => KeptReference::Newest { pattern: pattern.into(), most },
                (None, Endpoint::Manifest(Reference::Tag(tag))) => KeptReference::Tag(tag.as_str().into()),
                (None, Endpoint::Manifest(Reference::Digest(digest))) => KeptReference::Digest(digest.clone()),
                (
                    None,
                    Endpoint::Blob(_)
                    | Endpoint::Uploads
                    | Endpoint::Upload
                    | Endpoint::Tags
                    | Endpoint::Referrers(_),
                ) => continue,
            };
            let (upstream, repository) = (upstream.name.as_str().into(), target.name.as_str().into());
            kept.push(KeptImage { upstream, repository, reference });
        }
    }
    kept.into()
}
