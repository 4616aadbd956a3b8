//! Which images are meant: a tag that is a pattern stands for the newest tags that the registry lists.

use super::context::Warming;
use super::repository::WarmRepository;
use super::trouble::WarmTrouble;
use crate::route::image::target_of;
use crate::tag_pattern::{newest, split};
use crate::warm_orders::{MAX_IMAGES, MissingPart};

/// An image that is meant.
pub(super) struct NamedImage {
    pub(super) name: String,
    /// Why it is not known which one: the list of tags did not come, or has none that fits.
    pub(super) unknown: Option<MissingPart>,
}

/// All images that are meant, in the order of the list.
pub(super) async fn images(warming: &Warming<'_>) -> Vec<NamedImage> {
    let mut images = Vec::with_capacity(warming.request.images.len());
    for name in &warming.request.images {
        let Some((repository, pattern)) = split(name) else {
            images.push(NamedImage { name: name.clone(), unknown: None });
            continue;
        };
        let room = MAX_IMAGES.saturating_sub(images.len()).min(warming.request.newest);
        let unknown = match tags(warming, repository).await {
            Ok(tags) => {
                let tags = newest(pattern, tags, room);
                let named =
                    tags.iter().map(|tag| NamedImage { name: format!("{repository}:{tag}"), unknown: None });
                images.extend(named);
                tags.is_empty().then(|| MissingPart {
                    what: name.clone(),
                    why: "the registry lists no tag that fits".to_owned(),
                    retry_after_seconds: None,
                })
            }
            Err(trouble) => {
                let now = warming.proxy.env.platform.clock.unix_seconds();
                Some(trouble.told(format!("tags of {repository}"), now))
            }
        };
        if unknown.is_some() {
            images.push(NamedImage { name: name.clone(), unknown });
        }
    }
    images
}

async fn tags(warming: &Warming<'_>, repository: &str) -> Result<Vec<String>, WarmTrouble> {
    let target = target_of(warming.proxy.routes, warming.proxy.config, repository)?;
    WarmRepository::new(warming, target, 0)?.tags().await
}
