//! Whether a tag is fresh enough to be served: pure.

use serde::{Deserialize, Serialize};

use crate::config::Revalidate;
use crate::digest::Digest;

/// Where a tag points, and when its upstream last said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The manifest.
    pub(crate) digest: Digest,
    /// Seconds since 1970.
    pub(crate) confirmed: u64,
    /// Why it does not point where its upstream points.
    pub(crate) held: Option<HeldBack>,
}

/// Why a tag points elsewhere than at its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HeldBack {
    /// It moved, and the rule of `cache.tags` holds it since then, in seconds since 1970.
    Moved(u64),
    /// An operator pinned it.
    Pinned,
}

/// How long a confirmed tag is served to clients that send `no-cache`.
const NO_CACHE_SECONDS: u64 = 60;

/// What is to be done with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It is served.
    Fresh,
    /// Its upstream is asked first.
    Due,
}

impl Pointer {
    /// Where its upstream points.
    pub(crate) fn confirmed(digest: Digest, confirmed: u64) -> Self {
        Self { digest, confirmed, held: None }
    }

    /// Whether it is served without asking. A client's `Cache-Control: no-cache` makes a tag due early, once a minute
    /// at most, and never one with the rule `revalidate = "never"`.
    pub(crate) fn must_ask(&self, rule: Revalidate, no_cache: bool, now: u64) -> Freshness {
        let Some(due) = self.due(rule) else { return Freshness::Fresh };
        // A clock that was set back must not make a tag immortal.
        let is_due = now < self.confirmed || now >= due;
        if is_due || no_cache && now - self.confirmed >= NO_CACHE_SECONDS {
            Freshness::Due
        } else {
            Freshness::Fresh
        }
    }

    /// When its upstream is to be asked, in seconds since 1970; `None`: never.
    pub(crate) fn due(&self, rule: Revalidate) -> Option<u64> {
        match rule {
            Revalidate::Never => None,
            Revalidate::After(span) => Some(self.confirmed.saturating_add(span.0.as_secs())),
            Revalidate::Always => Some(self.confirmed),
        }
    }

    /// Whether it may still be served where the upstream cannot say (P-87).
    pub(crate) fn may_be_stale(&self, limit_seconds: u64, now: u64) -> bool {
        limit_seconds > 0 && now.saturating_sub(self.confirmed) <= limit_seconds
    }

    /// The same, as if never confirmed: due, and too old to be served stale, until its upstream confirms it.
    pub(crate) fn unconfirmed(&self) -> Self {
        Self { confirmed: 0, ..self.clone() }
    }

    /// As a record.
    pub(crate) fn to_record(&self) -> Vec<u8> {
        let record =
            TagRecord { digest: self.digest.as_str().to_owned(), confirmed: self.confirmed, held: self.held };
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// From a record; `None`: it cannot be read, and counts as absent.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<Self> {
        let record: TagRecord = serde_json::from_slice(bytes).ok()?;
        Some(Self { digest: Digest::parse(&record.digest).ok()?, confirmed: record.confirmed, held: record.held })
    }
}

#[derive(Serialize, Deserialize)]
struct TagRecord {
    digest: String,
    confirmed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<HeldBack>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Span;

    fn pointer(confirmed: u64) -> Pointer {
        Pointer::confirmed(Digest::sha256(b""), confirmed)
    }

    #[test]
    fn a_tag_is_fresh_for_its_time_and_not_a_second_longer() {
        let after = Revalidate::After(Span::seconds(60));
        for (rule, now, expected) in [
            (after, 1000, Freshness::Fresh),
            (after, 1059, Freshness::Fresh),
            (after, 1060, Freshness::Due),
            (after, 999, Freshness::Due),
            (Revalidate::Always, 1000, Freshness::Due),
            (Revalidate::Never, 9_999_999, Freshness::Fresh),
            (Revalidate::After(Span::seconds(0)), 1000, Freshness::Due),
        ] {
            assert_eq!(pointer(1000).must_ask(rule, false, now), expected, "{rule:?} at {now}");
        }
    }

    #[test]
    fn a_client_has_a_tag_confirmed_once_a_minute_and_never_against_the_rule() {
        let hour = Revalidate::After(Span::seconds(3600));
        for (rule, now, expected) in [
            (hour, 1000, Freshness::Fresh),
            (hour, 1059, Freshness::Fresh),
            (hour, 1060, Freshness::Due),
            (hour, 4600, Freshness::Due),
            (Revalidate::Always, 1000, Freshness::Due),
            (Revalidate::Never, 1000, Freshness::Fresh),
            (Revalidate::Never, 9_999_999, Freshness::Fresh),
            (Revalidate::Never, 1, Freshness::Fresh),
        ] {
            assert_eq!(pointer(1000).must_ask(rule, true, now), expected, "{rule:?} at {now}");
        }
    }

    #[test]
    fn stale_has_an_end() {
        assert!(pointer(1000).may_be_stale(60, 1060));
        assert!(!pointer(1000).may_be_stale(60, 1061));
        assert!(!pointer(1000).may_be_stale(0, 1000), "0 means not at all");
    }

    #[test]
    fn a_record_reads_back_and_rubbish_is_absent() {
        for held in [None, Some(HeldBack::Moved(5)), Some(HeldBack::Pinned)] {
            let pointer = Pointer { held, ..pointer(7) };
            assert_eq!(Pointer::from_record(&pointer.to_record()), Some(pointer));
        }
        let old = format!("{{\"digest\":\"{}\",\"confirmed\":7}}", Digest::sha256(b""));
        assert_eq!(Pointer::from_record(old.as_bytes()), Some(pointer(7)), "as earlier versions wrote it");
        for bytes in [&b""[..], b"{", b"{\"digest\":\"x\",\"confirmed\":1}", b"\0\0\0\0"] {
            assert_eq!(Pointer::from_record(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn freshness_ends_once_and_stale_ends_once(confirmed in 0..u64::MAX / 4, ttl in 0..1_000_000_u64, now: u64, later: u64) {
            let (pointer, rule) = (pointer(confirmed), Revalidate::After(Span::seconds(ttl)));
            let (now, later) = (now.min(later).max(confirmed), later.max(now).max(confirmed));
            if pointer.must_ask(rule, false, now) == Freshness::Due {
                prop_assert_eq!(pointer.must_ask(rule, false, later), Freshness::Due);
            }
            if !pointer.may_be_stale(ttl, now) {
                prop_assert!(!pointer.may_be_stale(ttl, later));
            }
            prop_assert_eq!(pointer.must_ask(Revalidate::Always, false, now), Freshness::Due);
            prop_assert_eq!(pointer.must_ask(Revalidate::Never, false, now), Freshness::Fresh);
        }

        #[test]
        fn any_record_is_read_without_panic_and_what_reads_reads_back(confirmed: u64, bytes: Vec<u8>) {
            let pointer = pointer(confirmed);
            prop_assert_eq!(Pointer::from_record(&pointer.to_record()), Some(pointer));
            if let Some(pointer) = Pointer::from_record(&bytes) {
                prop_assert_eq!(Pointer::from_record(&pointer.to_record()), Some(pointer));
            }
        }

        #[test]
        fn what_is_fresh_may_be_stale_too(confirmed: u64, ttl in 0..1_000_000_u64, now: u64) {
            let pointer = pointer(confirmed);
            if pointer.must_ask(Revalidate::After(Span::seconds(ttl)), false, now) == Freshness::Fresh {
                prop_assert!(pointer.may_be_stale(ttl, now));
            }
        }
    }
}
