//! The commands of a cache's administration, and their events: values, for a command line, a socket or whatever else.

use serde::{Deserialize, Serialize};

use super::CacheAdmin;
use crate::cache::Key;
use crate::digest::Digest;
use crate::platform::StoreError;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// How much there is.
    Stat,
    /// Which images there are; with a pattern, which of those it fits.
    List(Option<String>),
    /// Throws away.
    Purge {
        /// What.
        what: Purge,
        /// Only says what would go.
        dry_run: bool,
    },
    /// Which tags clients get otherwise than their registries have them: held, new or pinned; with a pattern, which of those
    /// it fits.
    Held(Option<String>),
    /// Lets through what held tags that fit have moved to.
    Release(String),
    /// Pins a tag, named in full, to a digest.
    Pin {
        /// The tag: `docker.io/library/alpine:3.20`
        image: String,
        /// Where it points from now on.
        digest: String,
    },
    /// Ends that.
    Unpin(String),
    /// Holds everything against its digest, and throws away what is wrong.
    Verify,
}

/// What is thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purge {
    /// Tags that fit, `docker.io/library/*:latest`, and what nothing else leads to.
    Pattern(String),
    /// A manifest or blob, what leads to it by name, and what nothing else leads to.
    Digest(String),
    /// Everything.
    All,
}

/// An event of a command, in order; one of the last six ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// So much of so much is done.
    Progress(u64, u64),
    /// An image that is here; or one that is thrown away.
    Image(Image),
    /// A tag that clients get otherwise than its registry has it.
    Held(HoldEntry),
    /// A held tag that was released, pinned or unpinned.
    Tag {
        /// `docker.io/library/alpine:3.20`
        name: String,
        /// Where it led clients before.
        from: Option<String>,
        /// Where it leads them now.
        to: Option<String>,
    },
    /// A key whose content was wrong, and was thrown away.
    Wrong(String),
    /// A key whose content could not be read to its end. It stays.
    Unread(String),
    /// The end of [`Command::Stat`].
    Stat(CacheStats),
    /// The end of [`Command::List`]: how many.
    Listed(u64),
    /// The end of [`Command::Held`]: how many.
    Counted(u64),
    /// The end of [`Command::Purge`].
    Purged(Purged),
    /// The end of [`Command::Release`], [`Command::Pin`] and [`Command::Unpin`]: how many tags were changed.
    Led(u64),
    /// The end of [`Command::Verify`].
    Verified(Verified),
}

/// A tag, and what of its image is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `docker.io/library/alpine:3.20`
    pub name: String,
    /// Where the tag points.
    pub digest: String,
    /// How long ago the upstream last said so.
    pub confirmed_seconds_ago: u64,
    /// What is here of it, shared layers included.
    pub bytes: u64,
    /// How long ago it was last used, as far as the store knows.
    #[serde(default)]
    pub used_seconds_ago: u64,
    /// Layers and configurations that its manifests name, as far as those are here.
    pub layers: u64,
    /// How many of them are here.
    pub layers_here: u64,
    /// Whether it can be pulled without the upstream, for one platform at least.
    pub is_complete: bool,
}

/// A tag that clients get otherwise than its registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldEntry {
    /// `docker.io/library/alpine:3.20`
    pub name: String,
    /// Why.
    pub state: HeldState,
    /// The digest that clients get; `None`: they get none.
    pub served: Option<String>,
    /// Where the registry pointed when it was last asked, if that is something else.
    pub upstream: Option<String>,
    /// Since when, in seconds: its first move away from what clients get.
    pub moved_seconds_ago: Option<u64>,
    /// How long ago the registry was first seen to point where it points now.
    pub newest_seconds_ago: Option<u64>,
    /// The same of the first manifest since the move that clients may still get.
    #[serde(default)]
    pub oldest_seconds_ago: Option<u64>,
}

/// Why clients get a tag otherwise than its registry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldState {
    /// The tag moved, and what it moved to has not stood for long enough.
    Held,
    /// The tag is new, and has not stood for long enough.
    New,
    /// An operator pinned it.
    Pinned,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say what they are")]
pub struct CacheStats {
    pub blobs: u64,
    pub manifests: u64,
    pub tags: u64,
    pub links: u64,
    /// Of blobs and manifests.
    pub bytes: u64,
    /// Of all records beside them, as the store keeps them: on a disk each takes a block.
    #[serde(default)]
    pub record_bytes: u64,
    /// Since the longest unused was used.
    pub oldest_seconds: Option<u64>,
    /// What the store can still take, if it knows.
    pub free_bytes: Option<u64>,
    /// Blobs that are arriving; `None`: no server was asked.
    pub fills: Option<u64>,
}

/// What was thrown away, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say what they are")]
pub struct Purged {
    pub tags: u64,
    pub manifests: u64,
    pub blobs: u64,
    pub links: u64,
    /// Of blobs and manifests.
    pub bytes: u64,
    pub dry_run: bool,
}

/// What was held against its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say what they are")]
pub struct Verified {
    pub blobs: u64,
    pub manifests: u64,
    /// Of those blobs.
    pub bytes: u64,
    /// What did not have its digest, and is gone.
    pub wrong: u64,
    /// What could not be read to its end, and stays.
    #[serde(default)]
    pub unread: u64,
    /// What has a digest that we cannot compute.
    pub unknown: u64,
}

/// Receives the events of a command.
pub type Tell<'a> = &'a (dyn Fn(Event) + Send + Sync);

impl Command {
    /// Whether it can be carried out at all; otherwise why not.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Purge { what: Purge::Digest(text), .. } if Digest::parse(text).is_err() => {
                Err(format!("{text:?} is not a digest; expected sha256: and 64 hex digits"))
            }
            Self::Purge { what: Purge::Pattern(pattern), .. } if pattern.is_empty() => {
                Err("expected a pattern such as docker.io/library/alpine:*".to_owned())
            }
            Self::Release(pattern) if pattern.is_empty() => {
                Err("expected an image or a pattern such as docker.io/library/alpine:3.20".to_owned())
            }
            Self::Pin { digest, .. } if Digest::parse(digest).is_err() => {
                Err(format!("{digest:?} is not a digest; expected sha256: and 64 hex digits"))
            }
            Self::Pin { image, .. } | Self::Unpin(image) if Key::hold_named(image).is_none() => Err(format!(
                "{image:?} is no tag; expected registry/repository:tag, such as docker.io/library/alpine:3.20"
            )),
            Self::Stat
            | Self::List(_)
            | Self::Held(_)
            | Self::Purge { .. }
            | Self::Release(_)
            | Self::Pin { .. }
            | Self::Unpin(_)
            | Self::Verify => Ok(()),
        }
    }
}

impl CacheAdmin {
    /// Runs a command.
    pub async fn run(&self, command: &Command, tell: Tell<'_>) -> Result<(), StoreError> {
        let end = match command {
            Command::Stat => Event::Stat(self.stat().await?),
            Command::List(pattern) => Event::Listed(self.images(pattern.as_deref(), tell).await?),
            Command::Purge { what, dry_run } => Event::Purged(self.purge(what, *dry_run, tell).await?),
            Command::Held(pattern) => Event::Counted(self.held(pattern.as_deref(), tell).await?),
            Command::Release(pattern) => Event::Led(self.release(pattern, tell).await?),
            Command::Pin { image, digest } => Event::Led(self.pin(image, Digest::parse(digest).ok(), tell).await?),
            Command::Unpin(image) => Event::Led(self.pin(image, None, tell).await?),
            Command::Verify => Event::Verified(self.verify(tell).await?),
        };
        tell(end);
        Ok(())
    }
}
