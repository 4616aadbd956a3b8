//! What can happen: one table of names, meanings, and how often each is said.

use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($name:ident = $text:literal, again after $pause:expr, most $most:expr, $meaning:literal;)+) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum EventKind {
            $(#[doc = $meaning] #[serde(rename = $text)] $name,)+
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in the configuration and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How long the same thing is not said again.
            pub(super) const fn pause(self) -> Duration {
                match self { $(Self::$name => $pause,)+ }
            }

            /// How many of the kind are said in an hour. What clients can cause has a limit, so that none of them fills
            /// the queue.
            pub(super) const fn most_an_hour(self) -> u32 {
                match self { $(Self::$name => $most,)+ }
            }
        }
    };
}

/// How long things are counted, and most of them not said again.
pub(super) const HOUR: Duration = Duration::from_hours(1);
/// Several requests may learn of the same thing at once.
const MOMENT: Duration = Duration::from_mins(1);

kinds! {
    TagMoved = "tag moved", again after MOMENT, most u32::MAX,
        "An upstream says that a cached tag points to another manifest.";
    Held = "held", again after MOMENT, most u32::MAX,
        "A held tag moved at its upstream, and clients go on getting what they had.";
    Released = "released", again after MOMENT, most u32::MAX,
        "Clients get what a held tag moved to: its time is over, or an operator let it through.";
    Refused = "refused", again after HOUR, most 100,
        "A request for a repository that `repositories` does not allow, or too many wrong passwords of one address.";
    UpstreamDown = "upstream down", again after Duration::ZERO, most u32::MAX,
        "No address of an upstream has answered for at least ten seconds.";
    UpstreamUp = "upstream up", again after Duration::ZERO, most u32::MAX,
        "An upstream that was reported down answers again.";
    Corrupt = "corrupt", again after HOUR, most 100,
        "Stored or fetched content does not match its digest, and was discarded.";
    Quota = "quota", again after HOUR, most 100,
        "A limit of `[quota]` refuses requests.";
}

impl EventKind {
    /// The type of its CloudEvent: `io.github.registry-proxy.tag.moved`.
    pub fn cloud_event_type(self) -> String {
        format!("io.github.registry-proxy.{}", self.as_str().replace(' ', "."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_an_event_is_its_name_with_dots() {
        assert_eq!(EventKind::TagMoved.cloud_event_type(), "io.github.registry-proxy.tag.moved");
        assert_eq!(EventKind::Corrupt.cloud_event_type(), "io.github.registry-proxy.corrupt");
    }

    #[test]
    fn the_page_for_operators_has_every_event() {
        let page = include_str!("../../../../docs/how-to/operate.md");
        for kind in EventKind::ALL {
            assert!(page.contains(&format!("| `{}` |", kind.as_str())), "{} is missing", kind.as_str());
        }
    }
}
