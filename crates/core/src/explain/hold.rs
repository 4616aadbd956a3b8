//! What is held of a tag, and for how long.

use std::sync::Arc;

use crate::cache::{Cache, HoldLookup, HoldRecord, Key, Standing};
use crate::config::HoldRule;
use crate::explanation::HoldReport;
use crate::manifest::CacheLookup;
use crate::request::RequestContext;

/// What its rule makes of a tag now, as far as the cache knows.
pub(super) async fn report(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    tag: &str,
    known: &CacheLookup,
    rule: HoldRule,
) -> HoldReport {
    let hold_seconds = rule.span.0.as_secs();
    let nothing = HoldReport {
        state: "unreadable",
        hold_seconds,
        served: None,
        upstream: None,
        moved_seconds_ago: None,
        held_seconds_more: None,
    };
    let key = Key::hold(context.upstream.name(), &context.target.name, tag);
    let record = match cache.metadata.holds.hold(&key).await {
        HoldLookup::Known { record, .. } => record,
        HoldLookup::Absent => {
            known.pointer.as_ref().map_or_else(HoldRecord::default, |it| HoldRecord::at(it.digest.clone()))
        }
        HoldLookup::Unreadable => return nothing,
    };
    let now = context.env.platform.clock.unix_seconds();
    let newest = record.moves.last();
    let report = HoldReport {
        upstream: newest.map(|newest| newest.digest.to_string()),
        moved_seconds_ago: newest.is_some().then(|| now.saturating_sub(record.moved)),
        held_seconds_more: record.until(rule).map(|until| until.saturating_sub(now)),
        ..nothing
    };
    match record.standing() {
        Standing::Current(digest) => HoldReport { state: "current", served: Some(digest.to_string()), ..report },
        Standing::Held { served, .. } => HoldReport { state: "held", served: Some(served.to_string()), ..report },
        Standing::Pinned(pinned) => {
            HoldReport { state: "pinned", served: Some(pinned.to_string()), held_seconds_more: None, ..report }
        }
        Standing::New(_) => HoldReport { state: "new", ..report },
        Standing::Unknown => HoldReport { state: "unknown", ..report },
    }
}
