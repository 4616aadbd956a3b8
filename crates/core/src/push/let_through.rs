//! What is pushed to a held tag through this proxy is not held: clients get it as soon as the registry has it there.

use crate::cache::{HoldLookup, HoldRecord, Key};
use crate::digest::Digest;
use crate::name::Reference;
use crate::request::RequestContext;

/// Records that this digest was pushed to these tags.
pub(super) async fn let_through(context: &RequestContext<'_>, pushed: &[Reference], digest: &Digest) {
    let Some(cache) = context.cache() else { return };
    let (upstream, repository) = (context.upstream.name(), &context.target.name);
    for reference in pushed {
        let Reference::Tag(tag) = reference else { continue };
        if cache.config().hold_for(upstream, repository.as_str(), tag.as_str()).is_none() {
            continue;
        }
        let key = Key::hold(upstream, repository, tag.as_str());
        let (record, is_stored) = match cache.metadata.holds.hold(&key).await {
            HoldLookup::Known { record, is_stored } => (record, is_stored),
            HoldLookup::Absent => {
                let pointer = cache.metadata.pointer(&Key::tag(upstream, repository, tag.as_str())).await;
                (pointer.map_or_else(HoldRecord::default, |pointer| HoldRecord::at(pointer.digest)), false)
            }
            HoldLookup::Unreadable => continue,
        };
        cache.metadata.holds.keep_hold(&key, &record.push(digest.clone()), is_stored);
    }
}
