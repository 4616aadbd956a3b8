//! Names of requests, in the log and in the answer, so that one is found by the other.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::short_text::ShortText;
use crate::headers::X_REQUEST_ID;
use crate::platform::Entropy;

/// Longest name that is taken from a proxy; usual names have 16 to 80 characters.
const MOST_BYTES: usize = 128;

/// Makes names that no other process makes: a random number of this process, and a counter.
pub(crate) struct RequestIds {
    /// `5f0c1e2d3b4a5968-`
    process: ShortText,
}

impl RequestIds {
    pub(crate) fn new(entropy: &Arc<dyn Entropy>) -> Self {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        Self { process: ShortText::of(format_args!("{:016x}-", u64::from_le_bytes(random))) }
    }

    /// The name that a trusted proxy gave, or one of ours: `5f0c1e2d3b4a5968-1f`.
    pub(crate) fn of(&self, told: Option<HeaderValue>, count: u64) -> RequestId {
        let own = || RequestId::Own(ShortText::joined(&[self.process.as_str(), hex(count, &mut [0; 16])]));
        told.map_or_else(own, RequestId::Told)
    }
}

/// A number in hex, as `{:x}` writes it in many more steps.
fn hex(number: u64, digits: &mut [u8; 16]) -> &str {
    let mut left = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        // Less than 16.
        *digit = match (left & 15) as u8 {
            value @ 0..10 => b'0' + value,
            value => b'a' + value - 10,
        };
        (left, used) = (left >> 4, used + 1);
        if left == 0 {
            break;
        }
    }
    let first = digits.len() - used;
    digits.get(first..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

/// The name of a request.
pub(crate) enum RequestId {
    /// What a trusted proxy calls it.
    Told(HeaderValue),
    /// Our own.
    Own(ShortText),
}

impl RequestId {
    /// For the answer.
    pub(crate) fn to_header(&self) -> HeaderValue {
        match self {
            Self::Told(name) => name.clone(),
            Self::Own(name) => HeaderValue::from_bytes(name.as_bytes()).unwrap_or(HeaderValue::from_static("-")),
        }
    }

    /// For the log.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Told(name) => name.to_str().unwrap_or_default(),
            Self::Own(name) => name.as_str(),
        }
    }
}

/// A proxy's name of a request, if there is exactly one and its characters mean nothing in a log or a shell.
pub(crate) fn told(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut all = headers.get_all(X_REQUEST_ID).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b);
    ((1..=MOST_BYTES).contains(&only.len()) && only.as_bytes().iter().all(is_plain)).then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_by(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        told(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn our_own_name_is_the_process_and_a_count_in_hex() {
        let ids = RequestIds { process: ShortText::joined(&["5f0c1e2d3b4a5968-"]) };
        for (count, name) in [
            (0, "5f0c1e2d3b4a5968-0"),
            (9, "5f0c1e2d3b4a5968-9"),
            (10, "5f0c1e2d3b4a5968-a"),
            (0x1f, "5f0c1e2d3b4a5968-1f"),
            (0x0123_4567_89ab_cdef, "5f0c1e2d3b4a5968-123456789abcdef"),
            (u64::MAX, "5f0c1e2d3b4a5968-ffffffffffffffff"),
        ] {
            let id = ids.of(None, count);
            assert_eq!((id.as_str(), id.to_header()), (name, HeaderValue::from_static(name)));
        }
    }

    #[test]
    fn a_proxys_name_is_taken_where_it_is_one_and_plain_and_short() {
        for name in [
            "7b4f1c1e9a3d4e56b2f0a9c8d7e6f504",
            "0b0c3c3c-5a3f-4f0e-9d9f-2f3a4b5c6d7e",
            "Root=1-67891233-abcdef012345678912345678",
            "dGhlIGlk+/==",
        ] {
            assert_eq!(told_by(&[name.as_bytes()]).as_deref(), Some(name));
        }
        assert_eq!(told_by(&["a".repeat(128).as_bytes()]), Some("a".repeat(128)));
        for values in [
            &[][..],
            &[b"".as_slice()],
            &["a".repeat(129).as_bytes()],
            &[b"one".as_slice(), b"two"],
            &[b"one two".as_slice()],
            &[b"one,two".as_slice()],
            &[b"one\"two".as_slice()],
            &[b"one\ttwo".as_slice()],
            &[b"${jndi:x}".as_slice()],
            &["ä".as_bytes()],
        ] {
            assert_eq!(told_by(values), None, "{values:?}");
        }
    }
}
