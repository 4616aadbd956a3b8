//! What is here: in numbers, and image by image.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::House;
use super::command::{Event, Image, Stat, Tell};
use crate::cache::inventory::{Content, Id, Packed};
use crate::cache::survey::{Survey, Tag};
use crate::cache::{Key, Kind, StoredManifest};
use crate::pattern;
use crate::platform::StoreError;

/// How deep indexes may lie in each other.
const MAX_DEPTH: u32 = 4;

/// What of an image is here.
#[derive(Default)]
struct Whole {
    parts: BTreeSet<Id>,
    layers: u64,
    layers_here: u64,
}

impl House {
    pub(super) async fn stat(&self) -> Result<Stat, StoreError> {
        let survey = self.survey().await?;
        let now = self.clock.unix_seconds();
        let oldest = survey.inventory.items().iter().map(|item| item.used).min();
        Ok(Stat {
            blobs: survey.inventory.of(Content::Blob).count() as u64,
            manifests: survey.inventory.of(Content::Manifest).count() as u64,
            tags: survey.tags.len() as u64,
            links: survey.links,
            bytes: survey.inventory.bytes(),
            oldest_seconds: oldest.map(|used| now.saturating_sub(used)),
            free_bytes: self.in_time(self.store.free()).await?,
            fills: self.inhabited.as_ref().map(|inhabited| inhabited.fills.under_way().len() as u64),
        })
    }

    /// Tells of each image that fits, in the order of names, and returns how many there are.
    pub(super) async fn images(&self, pattern: Option<&str>, tell: Tell<'_>) -> Result<u64, StoreError> {
        let mut survey = self.survey().await?;
        survey.tags.retain(|tag| fits(pattern, &tag.key));
        self.read_tags(&mut survey).await?;
        survey.tags.sort_by(|a, b| a.key.cmp(&b.key));
        let total = survey.tags.len() as u64;
        for (tag, done) in survey.tags.iter().zip(1..) {
            tell(Event::Progress(done, total));
            if let Some(image) = self.image(&survey, tag).await? {
                tell(Event::Image(image));
            }
        }
        Ok(total)
    }

    /// What is here of what a tag leads to.
    pub(super) async fn image(&self, survey: &Survey, tag: &Tag) -> Result<Option<Image>, StoreError> {
        let Some((digest, confirmed)) = &tag.pointer else { return Ok(None) };
        let (Some(name), Some(text)) = (name_of(&tag.key), digest.to_digest()) else { return Ok(None) };
        let mut whole = Whole::default();
        let is_complete = match tag.target {
            Some(target) => self.follow(survey, target, 0, &mut whole).await?,
            None => false,
        };
        let sizes = whole.parts.iter().filter_map(|id| survey.inventory.item(*id)).map(|item| item.size);
        Ok(Some(Image {
            name,
            digest: text.to_string(),
            confirmed_seconds_ago: self.clock.unix_seconds().saturating_sub(*confirmed),
            bytes: sizes.sum(),
            layers: whole.layers,
            layers_here: whole.layers_here,
            is_complete,
        }))
    }

    /// Whether all of it is here, or of one of its platforms.
    fn follow<'a>(
        &'a self,
        survey: &'a Survey,
        id: Id,
        depth: u32,
        whole: &'a mut Whole,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let digest = survey.inventory.item(id).and_then(|item| item.digest.to_digest());
            let Some(digest) = digest.filter(|_| depth <= MAX_DEPTH) else { return Ok(false) };
            let Some(record) = self.read(&Key::manifest(&digest)).await? else { return Ok(false) };
            let Some(manifest) = StoredManifest::from_record(&digest, &record) else { return Ok(false) };
            whole.parts.insert(id);
            let children = manifest.children();
            let mut is_complete = true;
            for blob in &children.blobs {
                let found = survey.inventory.find(Content::Blob, &Packed::new(blob));
                whole.layers += 1;
                whole.layers_here += u64::from(found.is_some());
                is_complete &= found.is_some();
                whole.parts.extend(found);
            }
            let mut one_is_complete = children.manifests.is_empty();
            for child in &children.manifests {
                if let Some(child) = survey.inventory.find(Content::Manifest, &Packed::new(child)) {
                    one_is_complete |= self.follow(survey, child, depth + 1, whole).await?;
                }
            }
            Ok(is_complete && one_is_complete)
        })
    }
}

/// What a person calls a tag: `docker.io/library/alpine:3.20`.
fn name_of(key: &Key) -> Option<String> {
    match key.kind()? {
        Kind::Tag { upstream, repository, tag } => Some(format!("{upstream}/{repository}:{tag}")),
        Kind::Blob(_)
        | Kind::Manifest(_)
        | Kind::Link { .. }
        | Kind::Origins(_)
        | Kind::Lease { .. }
        | Kind::Ingest(_)
        | Kind::Usage { .. } => None,
    }
}

/// Whether a pattern means this tag: by its whole name, or by that of its repository.
pub(super) fn fits(pattern: Option<&str>, key: &Key) -> bool {
    let Some(pattern) = pattern else { return true };
    name_of(key).is_some_and(|name| {
        let repository = name.rsplit_once(':').map_or("", |(repository, _)| repository);
        pattern::matches(pattern, &name) || pattern::matches(pattern, repository)
    })
}
