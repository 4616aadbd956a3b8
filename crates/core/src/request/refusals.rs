//! Which refusals an operator wants to hear of: those by rules of this proxy that an operator has set, and not those that
//! clients meet every day, such as a login that is asked for or an image that does not exist.

use std::sync::Arc;

use crate::config::LoggedClient;
use crate::error::Error;
use crate::notification::{EventKind, Notification};
use crate::outcome::Reason;
use crate::route::Target;

/// What is known of a refused request.
pub(crate) struct RefusedRequest<'a> {
    /// Empty: it names none.
    pub(crate) upstream: &'a Arc<str>,
    pub(crate) target: Option<&'a Target>,
    /// As the log may show it.
    pub(crate) client: Option<LoggedClient>,
}

impl RefusedRequest<'_> {
    /// What happened, if an operator wants to hear of it. Pure.
    pub(crate) fn notification(&self, error: &Error) -> Option<Notification> {
        let client = || self.client.map(|client| client.to_string().into());
        match event_of(error)? {
            Refusal::Rule => Some(Notification::Refused {
                why: error.outcome().reason.as_str(),
                upstream: Some(&**self.upstream).filter(|name| !name.is_empty()).map(Into::into),
                repository: self.target.map(|target| target.name.as_str().into()),
                client: client(),
            }),
            Refusal::Quota { limit, retry_after_seconds, is_of_client } => {
                Some(Notification::Quota { limit, retry_after_seconds, client: client().filter(|_| is_of_client) })
            }
        }
    }
}

/// A refusal that is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Rule,
    Quota { limit: &'static str, retry_after_seconds: u64, is_of_client: bool },
}

impl Refusal {
    const fn kind(self) -> EventKind {
        match self {
            Self::Rule => EventKind::Refused,
            Self::Quota { .. } => EventKind::Quota,
        }
    }
}

fn event_of(error: &Error) -> Option<Refusal> {
    if let Error::Exhausted(exhausted) = error {
        return Some(Refusal::Quota {
            limit: exhausted.key,
            retry_after_seconds: exhausted.retry_after.as_secs(),
            is_of_client: exhausted.reason == Reason::ClientLimit,
        });
    }
    matches!(
        error,
        Error::RepositoryDenied
            | Error::AccessDenied { .. }
            | Error::BeyondIssuerRule(_)
            | Error::TooManyLogins { .. }
    )
    .then_some(Refusal::Rule)
}

/// The kind of event that an error is, if it is one.
pub(crate) fn kind_of(error: &Error) -> Option<EventKind> {
    event_of(error).map(Refusal::kind)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Absence, AccessDenied, BeyondRule, Exhausted, Failure};

    #[test]
    fn rules_of_the_operator_are_events_and_everyday_errors_are_not() {
        let exhausted = |reason| {
            let retry_after = Duration::from_secs(90);
            let (who, resource, window, key) = ("", "", "", "quota.client.bytes_per_day");
            Error::Exhausted(Exhausted { reason, who, resource, window, key, next_begins: 0, retry_after })
        };
        let request = RefusedRequest { upstream: &Arc::from(""), target: None, client: None };
        let beyond = BeyondRule { client: "acme/app".into(), action: "pull", repository: "ghcr.io/x/y".into() };
        let said = |error: &Error| request.notification(error).map(|said| said.kind());
        for (error, expected) in [
            (Error::RepositoryDenied, Some(EventKind::Refused)),
            (
                Error::AccessDenied { denied: AccessDenied::NoRule, is_unconfirmed: false },
                Some(EventKind::Refused),
            ),
            (Error::BeyondIssuerRule(Box::new(beyond)), Some(EventKind::Refused)),
            (Error::TooManyLogins { retry_after: Duration::ZERO }, Some(EventKind::Refused)),
            (exhausted(Reason::ClientLimit), Some(EventKind::Quota)),
            (exhausted(Reason::TotalLimit), Some(EventKind::Quota)),
            (Error::Closed, None),
            (Error::WrongLogin, None),
            (Error::UnknownUpstream, None),
            (Error::ManifestUnknown(Absence::Upstream), None),
            (Error::Upstream(Failure::TimedOut), None),
        ] {
            assert_eq!((said(&error), kind_of(&error)), (expected, expected), "{error}");
        }
    }

    #[test]
    fn a_clients_limit_names_the_client_and_a_limit_of_all_names_none() {
        let client = Some(LoggedClient::Address([192, 0, 2, 7].into()));
        let request = RefusedRequest { upstream: &Arc::from("docker.io"), target: None, client };
        for (reason, expected) in [(Reason::ClientLimit, Some("192.0.2.7")), (Reason::TotalLimit, None)] {
            let retry_after = Duration::from_secs(90);
            let (who, resource, window, key) = ("", "", "", "quota.total.requests_per_hour");
            let exhausted = Exhausted { reason, who, resource, window, key, next_begins: 0, retry_after };
            let said = request.notification(&Error::Exhausted(exhausted));
            let named = Notification::Quota {
                limit: "quota.total.requests_per_hour",
                retry_after_seconds: 90,
                client: expected.map(Into::into),
            };
            assert_eq!(said, Some(named));
        }
    }
}
