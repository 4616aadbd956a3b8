//! A manifest and all that it names, as a tree. The children of a manifest are shown once, however many indexes name it, and
//! the tree is limited in depth and size.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::blob;
use crate::cache::{Cache, ChildDescriptor, Described};
use crate::digest::Digest;
use crate::explanation::{PartReport, PartState};
use crate::request::RequestContext;

/// Most levels of indexes within indexes.
const MAX_DEPTH: usize = 8;
/// Most parts that are shown: more than anybody reads.
const MAX_PARTS: usize = 1000;

/// What a manifest consists of, and which parts are cached.
pub(super) async fn tree(context: &RequestContext<'_>, cache: &Arc<Cache>, piece: ChildDescriptor) -> PartReport {
    let mut walk = Walk { context, cache, opened: HashSet::new(), blobs: HashMap::new(), shown: 1 };
    walk.manifest(piece, MAX_DEPTH).await
}

struct Walk<'a> {
    context: &'a RequestContext<'a>,
    cache: &'a Arc<Cache>,
    /// Manifests whose children are already shown.
    opened: HashSet<Digest>,
    /// Blobs that were looked up: their length if they are stored, and their state.
    blobs: HashMap<Digest, (Option<u64>, PartState)>,
    shown: usize,
}

impl Walk<'_> {
    /// Whether there is room for one part more.
    fn takes_one(&mut self) -> bool {
        self.shown += 1;
        self.shown <= MAX_PARTS
    }

    fn manifest(&mut self, piece: ChildDescriptor, depth: usize) -> BoxFuture<'_, PartReport> {
        Box::pin(async move {
            let kept = self.cache.metadata.manifest(&piece.digest).await;
            let mut part = PartReport {
                digest: piece.digest.to_string(),
                size_bytes: kept.as_ref().map(|kept| kept.bytes.len() as u64).or(piece.size),
                platform: piece.platform,
                state: state_of(self.context, self.cache, &piece.digest, kept.is_some()).await,
                manifests: Vec::new(),
                blobs: Vec::new(),
                unshown: 0,
            };
            let Some(kept) = kept else { return part };
            let children = Described::of(&kept.bytes);
            if depth == 0 || !self.opened.insert(piece.digest) {
                part.unshown = (children.manifests.len() + children.blobs.len()) as u64;
                return part;
            }
            for child in children.manifests {
                if self.takes_one() {
                    part.manifests.push(self.manifest(child, depth - 1).await);
                } else {
                    part.unshown += 1;
                }
            }
            for child in children.blobs {
                if self.takes_one() {
                    part.blobs.push(self.blob(child).await);
                } else {
                    part.unshown += 1;
                }
            }
            part
        })
    }

    async fn blob(&mut self, piece: ChildDescriptor) -> PartReport {
        let (length, state) = if let Some(known) = self.blobs.get(&piece.digest) {
            *known
        } else {
            let found = find_blob(self.context, &piece.digest).await;
            self.blobs.insert(piece.digest.clone(), found);
            found
        };
        PartReport {
            digest: piece.digest.to_string(),
            size_bytes: length.or(piece.size),
            platform: None,
            state,
            manifests: Vec::new(),
            blobs: Vec::new(),
            unshown: 0,
        }
    }
}

async fn find_blob(context: &RequestContext<'_>, digest: &Digest) -> (Option<u64>, PartState) {
    let Some(cache) = blob::cache_for(context) else { return (None, PartState::Absent) };
    let length = cache.blobs.blob_length(digest).await;
    let is_arriving =
        context.env.fills.find(digest, context.upstream.name(), context.env.platform.clock.now()).is_some();
    let state = match state_of(context, cache, digest, length.is_some()).await {
        PartState::Absent if is_arriving => PartState::Arriving,
        state => state,
    };
    (length, state)
}

async fn state_of(context: &RequestContext<'_>, cache: &Cache, digest: &Digest, is_here: bool) -> PartState {
    if !is_here {
        PartState::Absent
    } else if context.may_have(cache, digest).await {
        PartState::Here
    } else {
        PartState::HereUnproven
    }
}
