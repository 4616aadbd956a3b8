//! Key sets of OIDC issuers (JWKS, RFC 7517): the public keys that their tokens may be signed with.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// Most keys of a set. Issuers have fewer than ten: the one in use, the next one, and those of tokens that are still valid.
pub const MAX_KEYS: usize = 100;
/// Longest name of a key (`kid`), in bytes; longer ones are no names.
const MAX_KID_BYTES: usize = 256;
/// Bytes of an RSA modulus: of 2048 to 4096 bits. A larger one would make each check slow.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Most bytes of an RSA exponent; nearly all keys have 65537.
const MAX_EXPONENT_BYTES: usize = 4;

/// The signature algorithms that count (RFC 7518 section 3.1, RFC 8037 section 3.1). All of them take a public key: with an HMAC
/// whoever knows the key could sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA by P-256 with SHA-256.
    Es256,
    /// EdDSA by Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    /// The algorithm of this name; `None`: no token may be signed by it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKey {
    /// RSA of 2048 to 4096 bits; big endian, without leading zeros.
    Rsa {
        /// `n`
        modulus: Box<[u8]>,
        /// `e`
        exponent: Box<[u8]>,
    },
    /// A point of P-256, uncompressed (SEC 1 section 2.3.3): 4, `x`, `y`.
    P256(Box<[u8; 65]>),
    /// A point of Ed25519 (RFC 8032 section 5.1.2).
    Ed25519([u8; 32]),
}

impl IssuerKey {
    /// The only algorithm that the key is for.
    pub const fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::Rsa { .. } => TokenAlgorithm::Rs256,
            Self::P256(_) => TokenAlgorithm::Es256,
            Self::Ed25519(_) => TokenAlgorithm::EdDsa,
        }
    }
}

/// The keys of an issuer that count, with their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<(Option<Box<str>>, IssuerKey)>);

/// The document is no key set that tokens could be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is something else.
    #[error("expected a JSON Web Key Set: {{\"keys\": [...]}}")]
    NotAKeySet,
    /// It has more than [`MAX_KEYS`].
    #[error("it has more than {} keys", MAX_KEYS)]
    TooManyKeys,
    /// All its keys are of other kinds.
    #[error("it has no key for RS256 (2048 to 4096 bits), ES256 or EdDSA (Ed25519)")]
    NoUsableKey,
}

/// The key that a token is signed with, as far as its header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyFound<'a> {
    /// This one.
    Key(&'a IssuerKey),
    /// The set has no key of this name and algorithm.
    Absent,
    /// The token names no key, and the set has several of its algorithm.
    Several,
}

#[derive(Deserialize)]
struct KeysDocument {
    keys: Vec<Value>,
}

/// A key as it is written (RFC 7517 section 4, RFC 7518 section 6).
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a document. Keys of other kinds, for other algorithms and for encryption are left out, as RFC 7517 section 5 wants.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: KeysDocument = serde_json::from_slice(document).map_err(|_| InvalidKeySet::NotAKeySet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooManyKeys);
        }
        let keys: Vec<_> = document.keys.into_iter().filter_map(key_of).collect();
        if keys.is_empty() { Err(InvalidKeySet::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// How many keys count.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a set without keys is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of this name for this algorithm. A token that names none is by the only key there is for its algorithm.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: TokenAlgorithm) -> KeyFound<'_> {
        let mut fitting = self
            .0
            .iter()
            .filter(|(name, key)| key.algorithm() == algorithm && (kid.is_none() || name.as_deref() == kid));
        match (fitting.next(), fitting.next()) {
            (Some((_, key)), None) => KeyFound::Key(key),
            // RFC 7517 section 4.5: keys of one name should differ in kind. The first one counts.
            (Some((_, key)), Some(_)) if kid.is_some() => KeyFound::Key(key),
            (Some(_), Some(_)) => KeyFound::Several,
            (None, _) => KeyFound::Absent,
        }
    }
}

/// The key, and its name; `None`: it does not count.
fn key_of(written: Value) -> Option<(Option<Box<str>>, IssuerKey)> {
    let written: WrittenKey = serde_json::from_value(written).ok()?;
    let is_for_signatures = written.usage.as_deref().is_none_or(|usage| usage == "sig")
        && written.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|one| one == "verify"));
    let key = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", None) => rsa(&written)?,
        ("EC", Some("P-256")) => {
            let (x, y) = (number::<32>(written.x.as_deref())?, number::<32>(written.y.as_deref())?);
            let mut point = [4; 65];
            point.get_mut(1..33)?.copy_from_slice(&x);
            point.get_mut(33..)?.copy_from_slice(&y);
            IssuerKey::P256(Box::new(point))
        }
        ("OKP", Some("Ed25519")) => IssuerKey::Ed25519(number(written.x.as_deref())?),
        _ => return None,
    };
    let is_for_it = written.alg.as_deref().is_none_or(|name| TokenAlgorithm::named(name) == Some(key.algorithm()));
    let kid = written.kid.filter(|kid| kid.len() <= MAX_KID_BYTES).map(Into::into);
    (is_for_signatures && is_for_it).then_some((kid, key))
}

fn rsa(written: &WrittenKey) -> Option<IssuerKey> {
    let without_zeros = |text: &Option<String>| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(Box::from(bytes.get(zeros..)?))
    };
    let (modulus, exponent): (Box<[u8]>, Box<[u8]>) = (without_zeros(&written.n)?, without_zeros(&written.e)?);
    // Their first byte is not 0, so a modulus of 256 bytes has at least 2041 bits; keys are made of 2048.
    let is_modulus = MODULUS_BYTES.contains(&modulus.len()) && modulus.last()? & 1 == 1;
    let is_exponent = exponent.len() <= MAX_EXPONENT_BYTES && exponent.last()? & 1 == 1 && *exponent != [1];
    (is_modulus && is_exponent).then_some(IssuerKey::Rsa { modulus, exponent })
}

/// A number of a fixed length.
fn number<const BYTES: usize>(text: Option<&str>) -> Option<[u8; BYTES]> {
    BASE64_URL_SAFE_NO_PAD.decode(text?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
