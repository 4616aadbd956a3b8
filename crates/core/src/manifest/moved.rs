//! Tells the operator that a tag points elsewhere than before.

use crate::cache::Pointer;
use crate::digest::Digest;
use crate::notification::{EventKind, Notification};
use crate::platform::Platform;
use crate::request::RequestContext;

/// Tells the operator if a tag points elsewhere than when it was last confirmed.
pub(super) fn say_if_moved(context: &RequestContext<'_>, known: Option<&Pointer>, tag: &str, found: &Digest) {
    if let Some(known) = known.filter(|known| known.digest != *found) {
        say_moved(context, tag, &known.digest, found);
    }
}

/// Tells the operator that a tag moved.
pub(super) fn say_moved(context: &RequestContext<'_>, tag: &str, from: &Digest, to: &Digest) {
    let Platform { notifications, clock, .. } = &context.env.platform;
    notifications.happened(EventKind::TagMoved, clock.now().0, || Notification::TagMoved {
        upstream: context.upstream.name().into(),
        repository: context.target.name.as_str().into(),
        tag: tag.into(),
        from: from.as_str().into(),
        to: to.as_str().into(),
    });
}
