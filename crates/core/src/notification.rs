//! What happens that an operator wants to hear of: [`EventKind`] is the closed list, and the key `events[].on` and the
//! types of the CloudEvents are made from it. Whatever makes a notification decides that something has happened; this
//! module decides whether it is said (again), and the platform sends it.
//!
//! A notification has no secret and no address of an upstream: it says what the log line of the same thing says.

mod kind;
mod repeats;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use self::kind::EventKind;
use self::repeats::Repeats;

/// Something that happened: the `data` of a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Notification {
    /// [`EventKind::TagMoved`]
    TagMoved {
        /// The upstream's name.
        upstream: Box<str>,
        /// As the upstream calls it.
        repository: Box<str>,
        /// Of the repository.
        tag: Box<str>,
        /// The digest that the tag pointed to when the upstream last confirmed it.
        from: Box<str>,
        /// The digest that it points to now.
        to: Box<str>,
    },
    /// [`EventKind::Held`]
    Held {
        /// The upstream's name.
        upstream: Box<str>,
        /// As the upstream calls it.
        repository: Box<str>,
        /// Of the repository.
        tag: Box<str>,
        /// The digest that clients go on getting; absent where they get none, since the tag is new.
        #[serde(skip_serializing_if = "Option::is_none")]
        served: Option<Box<str>>,
        /// The digest that the upstream has now.
        to: Box<str>,
        /// For how long, if the tag stays there.
        held_seconds: u64,
    },
    /// [`EventKind::Released`]
    Released {
        /// The upstream's name.
        upstream: Box<str>,
        /// As the upstream calls it.
        repository: Box<str>,
        /// Of the repository.
        tag: Box<str>,
        /// The digest that clients got before; absent where they got none.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Box<str>>,
        /// The digest that they get now.
        to: Box<str>,
    },
    /// [`EventKind::Refused`]
    Refused {
        /// As in the log: `repository not allowed`, `too many logins`.
        why: &'static str,
        /// The upstream's name, where the request names one.
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream: Option<Box<str>>,
        /// Where the request names one.
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<Box<str>>,
        /// The client's address, as far as `log.client` shows it.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<Box<str>>,
    },
    /// [`EventKind::UpstreamDown`]
    UpstreamDown {
        /// The upstream's name.
        upstream: Box<str>,
        /// How its addresses fail, without naming them.
        why: Box<str>,
    },
    /// [`EventKind::UpstreamUp`]
    UpstreamUp {
        /// The upstream's name.
        upstream: Box<str>,
        /// Since its first failure.
        down_seconds: u64,
    },
    /// [`EventKind::Corrupt`]
    Corrupt {
        /// `blob` or `manifest` in the store, `upload` or `download` on its way there.
        content: &'static str,
        /// The digest that it should have.
        digest: Box<str>,
    },
    /// [`EventKind::Quota`]
    Quota {
        /// The key of the limit: `quota.client.bytes_per_day`.
        limit: &'static str,
        /// Until requests are admitted again.
        retry_after_seconds: u64,
        /// The client's address, as far as `log.client` shows it; absent for a limit of all clients together.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<Box<str>>,
    },
}

impl Notification {
    /// What has happened.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::TagMoved { .. } => EventKind::TagMoved,
            Self::Held { .. } => EventKind::Held,
            Self::Released { .. } => EventKind::Released,
            Self::Refused { .. } => EventKind::Refused,
            Self::UpstreamDown { .. } => EventKind::UpstreamDown,
            Self::UpstreamUp { .. } => EventKind::UpstreamUp,
            Self::Corrupt { .. } => EventKind::Corrupt,
            Self::Quota { .. } => EventKind::Quota,
        }
    }

    /// What it has happened to: the `subject` of a CloudEvent, by which receivers filter.
    pub fn subject(&self) -> String {
        match self {
            Self::TagMoved { upstream, repository, tag, .. }
            | Self::Held { upstream, repository, tag, .. }
            | Self::Released { upstream, repository, tag, .. } => format!("{upstream}/{repository}:{tag}"),
            Self::Refused { upstream: Some(upstream), repository: Some(repository), .. } => {
                format!("{upstream}/{repository}")
            }
            Self::Refused { client, why, .. } => client.as_deref().unwrap_or(why).to_owned(),
            Self::UpstreamDown { upstream, .. } | Self::UpstreamUp { upstream, .. } => upstream.to_string(),
            Self::Corrupt { digest, .. } => digest.to_string(),
            Self::Quota { limit, .. } => (*limit).to_owned(),
        }
    }

    /// What makes it another one than before: the same thing is said once for a while.
    fn identity(&self) -> String {
        match self {
            Self::TagMoved { from, to, .. } => format!("{} {from} {to}", self.subject()),
            Self::Held { to, .. } | Self::Released { to, .. } => format!("{} {to}", self.subject()),
            // Whoever asks for a forbidden image again and again, from wherever, is one thing.
            Self::Refused { why, .. } => format!("{} {why}", self.subject()),
            Self::Quota { limit, client, .. } => format!("{limit} {}", client.as_deref().unwrap_or_default()),
            Self::UpstreamDown { .. } | Self::UpstreamUp { .. } | Self::Corrupt { .. } => self.subject(),
        }
    }
}

/// Sends notifications.
pub trait Notify: Send + Sync {
    /// Whether anybody wants to hear of this.
    fn wants(&self, kind: EventKind) -> bool;
    /// Takes one, to be sent. It does not wait.
    fn notify(&self, notification: Notification);
    /// One was not said again.
    fn repeated(&self, _kind: EventKind) {}
}

/// Where notifications go. One lasts as long as the process, over reloads; the default is for nobody.
#[derive(Clone, Default)]
pub struct Notifications(Option<Arc<Sink>>);

struct Sink {
    notify: Arc<dyn Notify>,
    repeats: Repeats,
}

impl Notifications {
    /// For whoever `notify` sends them to.
    pub fn to(notify: Arc<dyn Notify>) -> Self {
        Self(Some(Arc::new(Sink { notify, repeats: Repeats::default() })))
    }

    /// Something has happened, at `now` on the clock that never goes back. It is said unless nobody wants to hear of it,
    /// or it was said a moment ago.
    pub(crate) fn happened(&self, kind: EventKind, now: Duration, make: impl FnOnce() -> Notification) {
        let Some(sink) = self.0.as_ref().filter(|sink| sink.notify.wants(kind)) else { return };
        let notification = make();
        if sink.repeats.is_new(kind, &notification.identity(), now) {
            sink.notify.notify(notification);
        } else {
            sink.notify.repeated(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_what_is_known_and_no_empty_fields() {
        let refused = |client: Option<&str>| Notification::Refused {
            why: "repository not allowed",
            upstream: Some("docker.io".into()),
            repository: Some("library/alpine".into()),
            client: client.map(Into::into),
        };
        let json = |notification: &Notification| serde_json::to_string(notification).unwrap();
        assert_eq!(
            json(&refused(None)),
            r#"{"why":"repository not allowed","upstream":"docker.io","repository":"library/alpine"}"#
        );
        assert!(json(&refused(Some("192.0.2.1"))).ends_with(r#","client":"192.0.2.1"}"#));
        assert_eq!(refused(None).subject(), "docker.io/library/alpine");
        assert_eq!(refused(None).identity(), refused(Some("192.0.2.1")).identity(), "whoever asks");
    }
}
