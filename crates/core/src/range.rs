//! The algebra of `Range` and `Content-Range` (RFC 9110 section 14): pure, without I/O.

use http::{HeaderValue, StatusCode};

/// Most ranges one request may name before it is refused unread (P-102).
const MAX_RANGES: usize = 100;

/// What a request's `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// No header, or one that must be ignored: another unit, or not understood (P-100).
    Whole,
    /// One range.
    One(RangeSpec),
    /// Several ranges at once.
    Many,
    /// A range that ends before it begins: nothing satisfies it (P-100).
    Inverted,
}

/// One range, as asked, before the length of the representation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-last`, both included.
    Between(u64, u64),
    /// `bytes=first-`
    From(u64),
    /// `bytes=-length`: the last bytes.
    Last(u64),
}

/// A range of a representation whose length is known: never empty, never beyond the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset behind the last byte.
    pub end: u64,
    /// Length of the whole representation, in bytes.
    pub total: u64,
}

impl RangeRequest {
    /// Reads the header.
    pub fn parse(header: Option<&HeaderValue>) -> Self {
        let text = header.and_then(|value| value.to_str().ok());
        // Names of units have no case (RFC 9110 section 14.1).
        let set = text
            .and_then(|text| text.trim().split_once('='))
            .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
        let Some((_, set)) = set else { return Self::Whole };
        let specs: Vec<&str> = set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
        match specs.as_slice() {
            [one] => parse_spec(one),
            [] => Self::Whole,
            many if many.len() <= MAX_RANGES && many.iter().all(|spec| parse_spec(spec) != Self::Whole) => {
                Self::Many
            }
            many if many.len() > MAX_RANGES => Self::Many,
            _ => Self::Whole,
        }
    }
}

fn parse_spec(spec: &str) -> RangeRequest {
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match spec.split_once('-') {
        Some(("", last)) => number(last).map_or(RangeRequest::Whole, |n| RangeRequest::One(RangeSpec::Last(n))),
        Some((first, "")) => number(first).map_or(RangeRequest::Whole, |n| RangeRequest::One(RangeSpec::From(n))),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => RangeRequest::One(RangeSpec::Between(first, last)),
            (Some(_), Some(_)) => RangeRequest::Inverted,
            _ => RangeRequest::Whole,
        },
        None => RangeRequest::Whole,
    }
}

impl RangeSpec {
    /// The bytes this names in a representation of `total` bytes, clamped to its end; `None`: not satisfiable.
    pub fn within(self, total: u64) -> Option<ByteRange> {
        let (first, end) = match self {
            Self::Between(first, last) => (first, last.saturating_add(1).min(total)),
            Self::From(first) => (first, total),
            Self::Last(length) => (total.saturating_sub(length), total),
        };
        (first < end).then_some(ByteRange { first, end, total })
    }

    /// The header value that asks for this.
    pub fn to_header(self) -> HeaderValue {
        let text = match self {
            Self::Between(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(length) => format!("bytes=-{length}"),
        };
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
    }
}

impl ByteRange {
    /// All of a representation.
    pub fn whole(total: u64) -> Self {
        Self { first: 0, end: total, total }
    }

    /// How many bytes this names.
    pub fn length(&self) -> u64 {
        self.end - self.first
    }

    /// `bytes 0-9/100`
    pub fn to_content_range(self) -> HeaderValue {
        let text = format!("bytes {}-{}/{}", self.first, self.end.saturating_sub(1), self.total);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
    }
}

/// A `Content-Range` header, as a registry or its storage sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/total`; the total is missing where it was `*`.
    Bytes {
        /// Offset of the first byte.
        first: u64,
        /// Offset behind the last byte.
        end: u64,
        /// Length of the whole representation.
        total: Option<u64>,
    },
    /// `bytes */total`, with a 416.
    Unsatisfied {
        /// Length of the whole representation.
        total: u64,
    },
}

impl ContentRange {
    /// Reads the header; `None` where it is missing or makes no sense.
    pub fn parse(header: Option<&HeaderValue>) -> Option<Self> {
        let text = header?.to_str().ok()?.trim();
        let unit = text.split_at_checked("bytes".len()).filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
        // Nexus leaves the unit out (sonatype/nexus-public#24), and nobody asks for another one.
        let text = unit.map_or(text, |(_, rest)| rest).trim_start();
        let (range, total) = text.split_once('/')?;
        let total = match total.trim() {
            "*" => None,
            text => Some(number(text)?),
        };
        if range.trim() == "*" {
            return total.map(|total| Self::Unsatisfied { total });
        }
        let (first, last) = range.trim().split_once('-')?;
        let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
        (first < end && total.is_none_or(|total| end <= total)).then_some(Self::Bytes { first, end, total })
    }
}

/// What an answer with a body gives of a representation, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All of it.
    Whole {
        /// Its length in bytes, where it is known.
        length: Option<u64>,
    },
    /// A part of it.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset behind the last byte.
        end: u64,
        /// Length of the whole representation, where it is known.
        total: Option<u64>,
    },
    /// Its head contradicts itself.
    Unusable,
}

impl Given {
    /// Reads the head of an answer. `length`: bytes of its body, where they are known. A 206 may carry the whole
    /// (`bytes 0-99/100`), and some send a part with 200 and its `Content-Range` (dragonflyoss/client#1874).
    pub fn of(status: StatusCode, content_range: Option<&HeaderValue>, length: Option<u64>) -> Self {
        let is_partial = status == StatusCode::PARTIAL_CONTENT;
        if !is_partial && status != StatusCode::OK {
            return Self::Unusable;
        }
        match (content_range, ContentRange::parse(content_range)) {
            (None, _) if !is_partial => Self::Whole { length },
            (_, Some(ContentRange::Bytes { first, end, total })) => {
                let is_whole = first == 0 && total == Some(end);
                match length {
                    // All of it, and a header that is about something else.
                    Some(_) if !is_partial && length == total => Self::Whole { length },
                    Some(length) if length != end - first => Self::Unusable,
                    _ if is_whole => Self::Whole { length: total },
                    _ => Self::Part { first, end, total },
                }
            }
            (_, Some(ContentRange::Unsatisfied { .. }) | None) => Self::Unusable,
        }
    }
}

/// Digits and nothing else: `parse` would take a sign, too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> RangeRequest {
        RangeRequest::parse(Some(&HeaderValue::from_str(text).unwrap()))
    }

    #[test]
    fn headers_are_read_as_rfc_9110_says() {
        use RangeRequest::{Inverted, Many, One, Whole};
        for (text, expected) in [
            ("bytes=0-9", One(RangeSpec::Between(0, 9))),
            ("Bytes=0-9", One(RangeSpec::Between(0, 9))),
            ("items=0-9", Whole),
            ("bytes=0-", One(RangeSpec::From(0))),
            ("bytes=-500", One(RangeSpec::Last(500))),
            ("bytes=0-9,20-29", Many),
            ("bytes=0-9, 20-", Many),
            ("bytes=500-0", Inverted),
            ("bytes=5", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0-9,x", Whole),
            ("bytes=+1-2", Whole),
            ("items=0-9", Whole),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(RangeRequest::parse(None), Whole);
    }

    #[test]
    fn the_cases_of_the_conformance_suite() {
        // T-03, on a representation of 5000 bytes.
        let within = |spec: RangeSpec| spec.within(5000).map(|range| (range.first, range.end));
        assert_eq!(within(RangeSpec::Between(500, 1499)), Some((500, 1500)));
        assert_eq!(within(RangeSpec::From(500)), Some((500, 5000)));
        assert_eq!(within(RangeSpec::Last(500)), Some((4500, 5000)));
        assert_eq!(within(RangeSpec::Between(2000, 5000)), Some((2000, 5000)));
        assert_eq!(within(RangeSpec::Between(5000, 10000)), None);
        assert_eq!(within(RangeSpec::Last(0)), None);
        assert_eq!(RangeSpec::Last(9000).within(5000).unwrap().first, 0);
        assert_eq!(RangeSpec::From(0).within(0), None);
    }

    #[test]
    fn content_ranges_that_lie_are_refused() {
        let parse = |text: &str| ContentRange::parse(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(parse("bytes 0-9/100"), Some(ContentRange::Bytes { first: 0, end: 10, total: Some(100) }));
        assert_eq!(parse("bytes 0-9/*"), Some(ContentRange::Bytes { first: 0, end: 10, total: None }));
        assert_eq!(parse("Bytes 0-9/100"), Some(ContentRange::Bytes { first: 0, end: 10, total: Some(100) }));
        assert_eq!(parse("bytes */100"), Some(ContentRange::Unsatisfied { total: 100 }));
        assert_eq!(parse("0-9/100"), Some(ContentRange::Bytes { first: 0, end: 10, total: Some(100) }));
        for text in [
            "bytes 9-0/100",
            "bytes 0-100/100",
            "bytes */*",
            "items 0-9/10",
            "bytes 0-18446744073709551615/*",
            "bytes +0-9/+10",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_gives_what_its_head_says_as_a_whole() {
        let of = |status: u16, range: &str, length| {
            let header = HeaderValue::from_str(range).unwrap();
            Given::of(StatusCode::from_u16(status).unwrap(), (!range.is_empty()).then_some(&header), length)
        };
        let part = |first, end, total| Given::Part { first, end, total };
        for (status, range, length, expected, why) in [
            (200, "", Some(10), Given::Whole { length: Some(10) }, "as usual"),
            (200, "", None, Given::Whole { length: None }, "chunked"),
            (206, "bytes 2-5/10", Some(4), part(2, 6, Some(10)), "as usual"),
            (206, "bytes 2-5/*", None, part(2, 6, None), "of unknown length"),
            (206, "bytes 0-9/10", Some(10), Given::Whole { length: Some(10) }, "all of it"),
            (206, "bytes 0-9/10", None, Given::Whole { length: Some(10) }, "all of it, chunked"),
            (200, "bytes 2-5/10", Some(4), part(2, 6, Some(10)), "a part that says 200"),
            (200, "bytes 2-5/10", None, part(2, 6, Some(10)), "the same, chunked"),
            (200, "bytes 2-5/10", Some(10), Given::Whole { length: Some(10) }, "the whole, and a header too many"),
            (200, "bytes 2-5/10", Some(7), Given::Unusable, "neither"),
            (206, "bytes 2-5/10", Some(5), Given::Unusable, "longer than it says"),
            (206, "", Some(4), Given::Unusable, "which part?"),
            (200, "bytes */10", Some(4), Given::Unusable, "no range at all"),
            (204, "", Some(0), Given::Unusable, "another status"),
        ] {
            assert_eq!(of(status, range, length), expected, "{status} {range} {length:?}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(text in "[ -~]{0,60}") {
            let _ = parse(&text);
            let _ = ContentRange::parse(HeaderValue::from_str(&text).ok().as_ref());
        }

        #[test]
        fn what_is_asked_reads_back(first: u64, last: u64) {
            for spec in [RangeSpec::Between(first.min(last), first.max(last)), RangeSpec::From(first), RangeSpec::Last(last)] {
                prop_assert_eq!(RangeRequest::parse(Some(&spec.to_header())), RangeRequest::One(spec));
            }
        }

        #[test]
        fn a_range_never_leaves_its_representation(first: u64, last: u64, total: u64) {
            for spec in [RangeSpec::Between(first.min(last), first.max(last)), RangeSpec::From(first), RangeSpec::Last(last)] {
                if let Some(range) = spec.within(total) {
                    prop_assert!(range.first < range.end && range.end <= total);
                    let header = range.to_content_range();
                    prop_assert_eq!(
                        ContentRange::parse(Some(&header)),
                        Some(ContentRange::Bytes { first: range.first, end: range.end, total: Some(total) })
                    );
                }
            }
        }
    }
}
