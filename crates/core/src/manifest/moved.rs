//! Tells the operator that a tag points elsewhere than before, and what a hold makes of that.

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

/// Tells the operator that a tag moved, and that clients do not get that yet: for so many seconds, if it stays there.
pub(super) fn say_held(
    context: &RequestContext<'_>,
    tag: &str,
    served: Option<&Digest>,
    to: &Digest,
    held_seconds: u64,
) {
    let Platform { notifications, clock, .. } = &context.env.platform;
    notifications.happened(EventKind::Held, clock.now().0, || Notification::Held {
        upstream: context.upstream.name().into(),
        repository: context.target.name.as_str().into(),
        tag: tag.into(),
        served: served.map(|digest| digest.as_str().into()),
        to: to.as_str().into(),
        held_seconds,
    });
}

/// Tells the operator that clients get what a held tag moved to.
pub(super) fn say_released(context: &RequestContext<'_>, tag: &str, from: Option<&Digest>, to: &Digest) {
    let Platform { notifications, clock, .. } = &context.env.platform;
    notifications.happened(EventKind::Released, clock.now().0, || Notification::Released {
        upstream: context.upstream.name().into(),
        repository: context.target.name.as_str().into(),
        tag: tag.into(),
        from: from.map(|digest| digest.as_str().into()),
        to: to.as_str().into(),
    });
}
