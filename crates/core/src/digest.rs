//! Content digests: `algorithm:encoded`, the identity of every blob and manifest (OCI image-spec, descriptor.md).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256, Sha512};

/// Longest part behind the colon of an algorithm that we do not know: what a disk takes as a name, and some.
const MAX_ENCODED_CHARS: usize = 200;

/// A digest that has been checked against the grammar of the image-spec, in its canonical spelling.
///
/// For `sha256` and `sha512` the length and the lower-case hex are checked too; other registered-looking
/// algorithms pass, because a relay need not understand them (P-90).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// Shared, because each request passes its digest on many times.
    text: Arc<str>,
    colon: usize,
}

/// The text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest: expected algorithm:encoded, such as sha256 with 64 lower-case hex digits")]
pub struct InvalidDigest;

impl Digest {
    /// Parses a digest. `%3A` for the colon, as some clients send it, is understood (P-11).
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let colon = text.find([':', '%']).ok_or(InvalidDigest)?;
        let (algorithm, rest) = text.split_at(colon);
        let encoded = rest
            .strip_prefix(':')
            .or_else(|| rest.strip_prefix("%3A"))
            .or_else(|| rest.strip_prefix("%3a"))
            .ok_or(InvalidDigest)?;
        if !is_algorithm(algorithm) || !is_encoded(algorithm, encoded) {
            return Err(InvalidDigest);
        }
        Ok(Self {
            text: if rest.starts_with(':') { text.into() } else { [algorithm, ":", encoded].concat().into() },
            colon,
        })
    }

    /// The SHA-256 digest of these bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of_sha256(&Sha256::digest(bytes).into())
    }

    /// The digest that is this SHA-256.
    pub fn of_sha256(hash: &[u8; 32]) -> Self {
        Self { text: format!("sha256:{}", hex(hash)).into(), colon: "sha256".len() }
    }

    /// `sha256` of `sha256:…`.
    pub fn algorithm(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The canonical text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hex, or whatever stands behind the colon.
    pub fn encoded(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }

    /// Whether we can compute its algorithm; what we cannot verify is not kept (P-90).
    pub fn is_computable(&self) -> bool {
        matches!(self.algorithm(), "sha256" | "sha512")
    }

    /// Whether these bytes have this digest; `None` where the algorithm is not one we can compute.
    pub fn matches(&self, bytes: &[u8]) -> Option<bool> {
        let encoded = self.encoded();
        match self.algorithm() {
            "sha256" => Some(is_hex_of(encoded, &Sha256::digest(bytes))),
            "sha512" => Some(is_hex_of(encoded, &Sha512::digest(bytes))),
            _ => None,
        }
    }

    /// Whether this is the digest of no bytes at all, the only one an empty body may have (P-108).
    pub fn is_of_nothing(&self) -> Option<bool> {
        self.matches(&[])
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Computes a digest piece by piece.
pub enum Hasher {
    /// `sha256`
    Sha256(Sha256),
    /// `sha512`
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// For the algorithm of this digest; `None` where it is not one we can compute.
    pub fn new(digest: &Digest) -> Option<Self> {
        match digest.algorithm() {
            "sha256" => Some(Self::Sha256(Sha256::new())),
            "sha512" => Some(Self::Sha512(Box::default())),
            _ => None,
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Whether all bytes together have this digest.
    pub fn is(self, digest: &Digest) -> bool {
        match self {
            Self::Sha256(hasher) => is_hex_of(digest.encoded(), &hasher.finalize()),
            Self::Sha512(hasher) => is_hex_of(digest.encoded(), &hasher.finalize()),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for digit in bytes.iter().copied().flat_map(hex_digits) {
        text.push(char::from(digit));
    }
    text
}

/// Whether this text is the lower-case hex of these bytes. Usually it is: looking at all of it, whatever the first digits are, lets
/// the compiler compare many at once.
fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let difference = |different: u8, ([high, low], byte): (&[u8; 2], &u8)| {
        let [wanted_high, wanted_low] = hex_digits(*byte);
        different | (high ^ wanted_high) | (low ^ wanted_low)
    };
    rest.is_empty() && pairs.len() == bytes.len() && pairs.iter().zip(bytes).fold(0, difference) == 0
}

/// A byte as two lower-case digits.
fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*`
fn is_algorithm(text: &str) -> bool {
    text == "sha256"
        || text.len() <= 32
            && text
                .split(['+', '.', '_', '-'])
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn is_encoded(algorithm: &str, text: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() | (b'a'..=b'f').contains(&b);
    // Without an early end, so that many are looked at at once.
    let is_lower_hex = |length| text.len() == length && text.bytes().fold(true, |all, b| all & is_digit(b));
    match algorithm {
        "sha256" => is_lower_hex(64),
        "sha512" => is_lower_hex(128),
        _ => {
            (1..=MAX_ENCODED_CHARS).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_empty_digest_is_known() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap().is_of_nothing(), Some(true));
        assert_eq!(Digest::sha256(b"x").is_of_nothing(), Some(false));
    }

    #[test]
    fn a_digest_is_compared_in_all_of_its_length() {
        for (text, expected) in [
            ("00a9f0ff", true),
            ("00A9f0ff", false),
            ("00a9f0f", false),
            ("00a9f0ff0", false),
            ("00a9f0ff00", false),
            ("10a9f0ff", false),
            ("00a9f0fe", false),
            ("", false),
        ] {
            assert_eq!(is_hex_of(text, &[0x00, 0xa9, 0xf0, 0xff]), expected, "{text}");
        }
        assert_eq!(hex(&[0x00, 0xa9, 0xf0, 0xff]), "00a9f0ff");
    }

    #[test]
    fn a_percent_coded_colon_is_understood() {
        assert_eq!(Digest::parse(&EMPTY.replace(':', "%3A")).unwrap().as_str(), EMPTY);
        assert_eq!(Digest::parse(&EMPTY.replace(':', "%3a")).unwrap().as_str(), EMPTY);
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:abc",
            "sha256:E3B0",
            "SHA256:00",
            "sha256:../../etc",
            "a b:c",
            "sha256%2Fabc",
            "+x:1",
            "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(Digest::parse(text), Err(InvalidDigest), "{text}");
        }
        assert!(Digest::parse(&EMPTY.to_uppercase()).is_err());
    }

    #[test]
    fn no_digest_is_longer_than_a_name_on_a_disk() {
        for (length, is_legal) in [(200, true), (201, false)] {
            assert_eq!(Digest::parse(&format!("a:{}", "b".repeat(length))).is_ok(), is_legal, "{length}");
        }
    }

    #[test]
    fn other_algorithms_pass_but_cannot_be_checked() {
        let digest = Digest::parse("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8").unwrap();
        assert_eq!(digest.algorithm(), "multihash+base58");
        assert_eq!(digest.matches(b""), None);
    }
}
