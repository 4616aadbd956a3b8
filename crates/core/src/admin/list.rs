//! `stat` and `list`: how much is stored, and which images. Images are read from the inventory, where each manifest stands
//! once, whatever references it.

use std::collections::HashSet;
use std::future::poll_fn;
use std::task::Poll;

use super::CacheAdmin;
use super::command::{CacheStats, Event, Image, Tell};
use super::evict::from_parents_to_parts;
use super::inventory::{Content, IN_USE, Id, Inventory};
use super::survey::{Survey, SurveyedTag};
use crate::cache::{Key, Kind};
use crate::pattern;
use crate::platform::StoreError;

/// Manifests and layers of one image that are added up: no image has as many.
const MAX_PARTS: usize = 10_000;

/// What of an image is here.
#[derive(Debug, Default, PartialEq, Eq)]
struct ImageTotals {
    bytes: u64,
    layers: u64,
    layers_here: u64,
}

impl CacheAdmin {
    pub(super) async fn stat(&self) -> Result<CacheStats, StoreError> {
        let survey = self.survey().await?;
        let now = self.clock.unix_seconds();
        let oldest = survey.inventory.items().map(|item| item.used).min();
        Ok(CacheStats {
            blobs: survey.inventory.of(Content::Blob).count() as u64,
            manifests: survey.inventory.of(Content::Manifest).count() as u64,
            tags: survey.tags.len() as u64,
            links: survey.links,
            bytes: survey.inventory.bytes(),
            record_bytes: survey.record_bytes(),
            oldest_seconds: oldest.map(|used| now.saturating_sub(used)),
            free_bytes: self.in_time(self.store.free()).await?,
            fills: self.live.as_ref().map(|live| live.fills.under_way().len() as u64),
        })
    }

    /// Tells of each image that fits, in the order of names, and returns how many there are.
    pub(super) async fn images(&self, pattern: Option<&str>, tell: Tell<'_>) -> Result<u64, StoreError> {
        let mut survey = self.survey().await?;
        survey.tags.retain(|tag| fits(pattern, &tag.key));
        self.read_tags(&mut survey).await?;
        let progress = |done, total| tell(Event::Progress(done, total));
        self.read_below_tags(&mut survey, &progress).await?;
        survey.tags.sort_by(|a, b| a.key.cmp(&b.key));
        self.tell_images(&survey, survey.tags.iter(), tell).await;
        Ok(survey.tags.len() as u64)
    }

    /// Tells of the images that tags lead to. Whoever listens has a turn after each, and may have gone.
    pub(super) async fn tell_images(
        &self,
        survey: &Survey,
        tags: impl Iterator<Item = &SurveyedTag>,
        tell: Tell<'_>,
    ) {
        let complete = complete(&survey.inventory);
        for tag in tags {
            if let Some(image) = self.image(survey, &complete, tag) {
                tell(Event::Image(image));
            }
            take_turns().await;
        }
    }

    /// What is here of what a tag leads to.
    fn image(&self, survey: &Survey, complete: &[bool], tag: &SurveyedTag) -> Option<Image> {
        let (digest, confirmed) = tag.pointer.as_ref()?;
        let whole = tag.target.map(|target| whole(&survey.inventory, target)).unwrap_or_default();
        Some(Image {
            name: name_of(&tag.key)?,
            digest: digest.to_digest()?.to_string(),
            confirmed_seconds_ago: self.clock.unix_seconds().saturating_sub(*confirmed),
            bytes: whole.bytes,
            used_seconds_ago: self.clock.unix_seconds().saturating_sub(last_used(&survey.inventory, tag)),
            layers: whole.layers,
            layers_here: whole.layers_here,
            is_complete: tag.target.is_some_and(|target| complete.get(target as usize) == Some(&true)),
        })
    }
}

/// Lets others have their turn.
async fn take_turns() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Of each item whether all that it names is here, or of an index all of one of its manifests.
fn complete(inventory: &Inventory) -> Vec<bool> {
    let mut complete = vec![false; inventory.len()];
    for id in from_parents_to_parts(inventory).into_iter().rev() {
        let Some(named) = inventory.named(id) else { continue };
        let (mut blobs, mut has_one) = (0, named.manifests == 0);
        for part in inventory.parts(id) {
            match inventory.item(part).map(|item| item.content) {
                Some(Content::Blob) => blobs += 1,
                Some(Content::Manifest) => has_one |= complete.get(part as usize) == Some(&true),
                None => {}
            }
        }
        if let Some(is_complete) = complete.get_mut(id as usize) {
            *is_complete = has_one && blobs == named.blobs;
        }
    }
    complete
}

/// When a tag or its manifest was last used.
fn last_used(inventory: &Inventory, tag: &SurveyedTag) -> u64 {
    let manifest = tag.target.and_then(|target| inventory.item(target)).map(|item| item.used);
    // What is being fetched is in use.
    manifest.filter(|used| *used != IN_USE).map_or(tag.used, |used| used.max(tag.used))
}

/// What is here of an image, each manifest and layer once.
fn whole(inventory: &Inventory, target: Id) -> ImageTotals {
    let mut whole = ImageTotals::default();
    let (mut next, mut seen) = (vec![target], HashSet::from([target]));
    while let Some(id) = next.pop() {
        let Some(item) = inventory.item(id) else { continue };
        whole.bytes = whole.bytes.saturating_add(item.size);
        let Some(named) = inventory.named(id) else { continue };
        whole.layers += u64::from(named.blobs);
        for part in inventory.parts(id) {
            let is_blob = inventory.item(part).is_some_and(|part| part.content == Content::Blob);
            whole.layers_here += u64::from(is_blob);
            if seen.len() < MAX_PARTS && seen.insert(part) {
                next.push(part);
            }
        }
    }
    whole
}

/// What a person calls a tag: `docker.io/library/alpine:3.20`.
pub(super) fn name_of(key: &Key) -> Option<String> {
    match key.kind()? {
        Kind::Tag { upstream, repository, tag } | Kind::Hold { upstream, repository, tag } => {
            Some(format!("{upstream}/{repository}:{tag}"))
        }
        Kind::Blob(_)
        | Kind::Manifest(_)
        | Kind::Link { .. }
        | Kind::HeldDigest { .. }
        | Kind::Lease { .. }
        | Kind::Ingest(_)
        | Kind::Origins(_)
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
