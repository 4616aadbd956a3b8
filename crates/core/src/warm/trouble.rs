//! Why a part of an image did not come. Pure.

use std::time::Duration;

use crate::error::Error;
use crate::human::span;
use crate::warm_orders::MissingPart;

/// Why a part did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum WarmTrouble {
    /// The handler says so.
    #[error("{0}")]
    Refused(Error),
    /// It would cost one of the last pulls of the account, which are kept for clients.
    #[error(
        "the registry reports that the account's pulls are nearly used up, and the last ones are kept for clients"
    )]
    Reserve {
        /// When there are more.
        retry_after: Duration,
    },
    /// The download began, and did not come to its end.
    #[error("the download broke off")]
    Broken,
    /// What came has another digest.
    #[error("what the registry sent does not match its digest")]
    OtherDigest,
    /// It came, and is not in the store.
    #[error("it is not cached: {0}")]
    NotKept(&'static str),
}

impl From<Error> for WarmTrouble {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// How a trouble may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// Once the registry takes requests again.
    After(Duration),
    /// Perhaps soon.
    Soon,
    /// Not by itself.
    Never,
}

impl WarmTrouble {
    /// How it may end.
    pub(super) fn prospect(&self) -> Prospect {
        match self {
            Self::Refused(error) => prospect_of(error),
            Self::Reserve { retry_after } => Prospect::After(*retry_after),
            Self::Broken => Prospect::Soon,
            Self::OtherDigest | Self::NotKept(_) => Prospect::Never,
        }
    }

    /// Whether there is no such thing.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Refused(error) => {
                matches!(error, Error::ManifestUnknown(_) | Error::BlobUnknown(_) | Error::NotFound(_))
            }
            Self::Reserve { .. } | Self::Broken | Self::OtherDigest | Self::NotKept(_) => false,
        }
    }

    /// What is told of it. `now`: in seconds since 1970.
    pub(super) fn told(&self, what: String, now: u64) -> MissingPart {
        let mut why = self.to_string();
        let retry_after = match self.prospect() {
            Prospect::After(left) => Some(whole_seconds(left)),
            Prospect::Soon | Prospect::Never => None,
        };
        if matches!(self, Self::Refused(Error::UnknownUpstream)) {
            why.push_str("; `registry-proxy explain` and its name say how to add it");
        }
        if let Some(left) = retry_after {
            let until = std::time::UNIX_EPOCH + Duration::from_secs(now.saturating_add(left).min(MAX_DATE));
            why = format!("{why}; try again in {}, at {}", span(left), httpdate::fmt_http_date(until));
        }
        MissingPart { what, why, retry_after_seconds: retry_after }
    }
}

/// A duration in seconds, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The last second that `httpdate` can write: it has years of four digits.
const MAX_DATE: u64 = 253_402_300_799;

fn prospect_of(error: &Error) -> Prospect {
    match error {
        Error::Limited { retry_after } => Prospect::After(*retry_after),
        Error::NotStale { error, .. } => prospect_of(error),
        Error::Upstream(_) | Error::DeadlinePassed | Error::Overloaded | Error::NotYet { .. } => Prospect::Soon,
        Error::InvalidName(_)
        | Error::InvalidDigest(_)
        | Error::InvalidTag
        | Error::NamespaceConflict
        | Error::UnknownUpstream
        | Error::NoSuchEndpoint
        | Error::CatalogUnsupported
        | Error::RepositoryDenied
        | Error::AccessDenied { .. }
        | Error::Blocked(_)
        | Error::Withheld(_)
        | Error::Unauthorized(_)
        | Error::WrongLogin
        | Error::TokenRefused { .. }
        | Error::BeyondIssuerRule(_)
        | Error::LoginUnknown { .. }
        | Error::TooManyLogins { .. }
        | Error::TwoUpstreams
        | Error::TokenTooLarge { .. }
        | Error::UnreadableForm
        | Error::UnsupportedGrant
        | Error::LinkOver
        | Error::Refused(_)
        | Error::ManifestUnknown(_)
        | Error::BlobUnknown(_)
        | Error::NotFound(_)
        | Error::Offline
        | Error::PushDisabled
        | Error::MethodNotAllowed
        | Error::UploadUnknown
        | Error::RangeNotSatisfiable { .. }
        | Error::SeveralRanges
        | Error::TooLarge { .. }
        | Error::ManifestTooLarge { .. }
        | Error::ClientBody
        | Error::Exhausted(_)
        | Error::Closed
        | Error::Declined(..)
        | Error::Loop
        | Error::Undeliverable { .. }
        | Error::Unverified(_) => Prospect::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Absence, Failure};

    #[test]
    fn a_limit_is_told_with_its_end() {
        let trouble = WarmTrouble::Refused(Error::Limited { retry_after: Duration::from_millis(3_600_500) });
        let told = trouble.told("v1".to_owned(), 1_000_000_000);
        assert_eq!(told.retry_after_seconds, Some(3601));
        assert_eq!(
            told.why,
            "the registry limits the rate of requests; try again in 1h, at Sun, 09 Sep 2001 02:46:41 GMT"
        );
        assert!(trouble.told(String::new(), u64::MAX).why.ends_with("9999 23:59:59 GMT"));
    }

    #[test]
    fn outages_may_end_soon_and_refusals_never() {
        for (trouble, prospect, is_absence) in [
            (WarmTrouble::Refused(Error::Upstream(Failure::TimedOut)), Prospect::Soon, false),
            (WarmTrouble::Refused(Error::RepositoryDenied), Prospect::Never, false),
            (WarmTrouble::Refused(Error::ManifestUnknown(Absence::Upstream)), Prospect::Never, true),
            (WarmTrouble::Broken, Prospect::Soon, false),
            (WarmTrouble::OtherDigest, Prospect::Never, false),
            (
                WarmTrouble::Reserve { retry_after: Duration::from_secs(9) },
                Prospect::After(Duration::from_secs(9)),
                false,
            ),
        ] {
            assert_eq!((trouble.prospect(), trouble.is_absence()), (prospect, is_absence), "{trouble}");
        }
    }
}
