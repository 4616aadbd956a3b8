//! What was done with a request, and why: the `X-Registry-Proxy` header, a field of the log line and a metric label.

mod reason;

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use http::HeaderValue;

pub use self::reason::Reason;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Answered from what we know ourselves: the ping, a token.
    Answered,
    /// From the cache, without asking the upstream.
    Hit,
    /// From a download that another request began.
    Joined,
    /// Fetched from the upstream, and kept.
    Filled,
    /// From the cache, after the upstream has confirmed it.
    Revalidated,
    /// From the cache, although it is due, since the upstream cannot be asked.
    Stale,
    /// A tag that goes on pointing to the manifest it had, or where an operator pinned it.
    Held,
    /// Passed on from the upstream.
    Relayed,
    /// The client was redirected.
    Redirected,
    /// Declined by a rule or by the upstream's own decision.
    Refused,
    /// The upstream could not answer.
    Failed,
    /// The client did not wait for an answer.
    Abandoned,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Answered,
        Self::Hit,
        Self::Joined,
        Self::Filled,
        Self::Revalidated,
        Self::Stale,
        Self::Held,
        Self::Relayed,
        Self::Redirected,
        Self::Refused,
        Self::Failed,
        Self::Abandoned,
    ];

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Answered => "answered by the proxy itself",
            Self::Hit => "from the cache, without asking the upstream",
            Self::Joined => "from a download that another request or process has begun",
            Self::Filled => "fetched from the upstream and cached",
            Self::Revalidated => "from the cache, after the upstream has confirmed it",
            Self::Stale => "from the cache, although the upstream could not confirm it; with a `Warning` header",
            Self::Held => {
                "the tag points elsewhere than at its upstream, by `hold` of `[[cache.tags]]` or pinned; the header says since when: `held; reason=\"moved 2h ago, held for 3d\"`"
            }
            Self::Relayed => "passed on from the upstream",
            Self::Redirected => "the client was redirected",
            Self::Refused => "refused by the proxy, or by the upstream",
            Self::Failed => "the upstream gave no usable response",
            Self::Abandoned => {
                "the client did not wait for the response; recorded only in the log and the metrics, with the status 499"
            }
        }
    }

    /// The word for it, in the header, the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Filled => "filled",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Held => "held",
            Self::Relayed => "relayed",
            Self::Redirected => "redirected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What was done, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// What was done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

impl Outcome {
    /// An outcome with its reason.
    pub const fn new(action: Action, reason: Reason) -> Self {
        Self { action, reason }
    }

    /// Passed on from the upstream, since nothing is kept.
    pub const fn relayed() -> Self {
        Self::new(Action::Relayed, Reason::NoStore)
    }

    /// The value of `X-Registry-Proxy`. Each is made once, and stays: there are no more than actions times reasons.
    pub(crate) fn to_header(self) -> HeaderValue {
        static VALUES: [[OnceLock<HeaderValue>; Reason::ALL.len()]; Action::ALL.len()] =
            [const { [const { OnceLock::new() }; Reason::ALL.len()] }; Action::ALL.len()];
        let make = || {
            let text: &'static str = Box::leak(self.to_string().into_boxed_str());
            // Not of shared bytes: all cores would count their users in one place.
            HeaderValue::from_static(text)
        };
        let value = VALUES.get(self.action as usize).and_then(|values| values.get(self.reason as usize));
        value.map_or_else(make, |value| value.get_or_init(make).clone())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; why=\"{}\"", self.action.as_str(), self.reason.as_str())
    }
}

/// `docs/reference/outcomes.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Outcomes\n\n\
         Made from the code by `cargo xtask docs`; do not edit.\n\n\
         Every response says what the proxy did and why, in the header `X-Registry-Proxy: hit; why=\"tag is fresh\"`, in the\n\
         fields `outcome` and `why` of its log line, and in the labels of `registry_proxy_requests_total`. The list is complete.\n",
    );
    for action in Action::ALL {
        let name = action.as_str();
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## `{name}`\n\n{}.\n\n| why | meaning |\n|---|---|\n", sentence(action.meaning()));
        for reason in Reason::ALL.iter().filter(|reason| reason.goes_with().contains(&action)) {
            let _ = writeln!(page, "| `{}` | {} |", reason.as_str(), reason.meaning());
        }
    }
    page
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_code_says() {
        let page = include_str!("../../../docs/reference/outcomes.md");
        assert_eq!(page, markdown(), "write it anew with: cargo xtask docs");
    }

    #[test]
    fn no_two_reasons_share_their_words_and_every_word_fits_into_a_header() {
        let words: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for word in words {
            assert!(word.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'), "{word}");
        }
        for action in Action::ALL {
            assert!(
                Reason::ALL.iter().any(|reason| reason.goes_with().contains(&action)),
                "{action:?} for no reason"
            );
        }
    }
}
