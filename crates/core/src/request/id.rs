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
    process: u64,
}

impl RequestIds {
    pub(crate) fn new(entropy: &Arc<dyn Entropy>) -> Self {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        Self { process: u64::from_le_bytes(random) }
    }

    /// The name that a trusted proxy gave, or one of ours: `5f0c1e2d3b4a5968-1f`.
    pub(crate) fn of(&self, told: Option<HeaderValue>, count: u64) -> RequestId {
        let own = || RequestId::Own(ShortText::of(format_args!("{:016x}-{count:x}", self.process)));
        told.map_or_else(own, RequestId::Told)
    }
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
