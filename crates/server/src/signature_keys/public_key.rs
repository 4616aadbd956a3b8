//! Public keys as cosign takes them: PEM of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1). Which kinds and hashes: those of
//! `cosign verify --key`, as far as ring has them.

use registry_proxy_core::platform::SignatureKey;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

/// What stands before the point of a key of ECDSA P-256, and before that of Ed25519: algorithm and lengths (RFC 5480 section 2,
/// RFC 8410 section 4).
const P256_PREFIX: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P256_POINT_BYTES: usize = 65;
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const ED25519_POINT_BYTES: usize = 32;
/// The algorithm of an RSA key (RFC 3279 section 2.3.1), and the tag of the bit string behind it.
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// Bytes of such a key, from 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 266..=1040;

/// The file holds no key that signatures can be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidKey {
    /// It is another file.
    #[error("expected a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----, as in cosign.pub")]
    NoPublicKey,
    /// A key of another kind.
    #[error("expected a key of ECDSA P-256, Ed25519, or RSA of 2048 to 8192 bits; other keys cannot be used")]
    OtherKind,
}

/// A public key.
pub(super) struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
    fingerprint: [u8; 32],
}

impl PublicKey {
    /// Reads PEM.
    pub(super) fn parse(pem: &str) -> Result<Self, InvalidKey> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey::NoPublicKey)?;
        let (algorithm, bytes) = key_in(&der).ok_or(InvalidKey::OtherKind)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &der).as_ref());
        Ok(Self { algorithm, bytes: bytes.to_vec(), fingerprint })
    }
}

impl SignatureKey for PublicKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(message, signature).is_ok()
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// The algorithm of a key, and the part of it that ring takes.
fn key_in(der: &[u8]) -> Option<(&'static dyn VerificationAlgorithm, &[u8])> {
    if let Some(point) = der.strip_prefix(P256_PREFIX).filter(|point| point.len() == P256_POINT_BYTES) {
        return Some((&ECDSA_P256_SHA256_ASN1, point));
    }
    if let Some(point) = der.strip_prefix(ED25519_PREFIX).filter(|point| point.len() == ED25519_POINT_BYTES) {
        return Some((&ED25519, point));
    }
    let parts = long_form(0x30, der)?.strip_prefix(RSA_ALGORITHM)?;
    // Bit strings say first how many bits of their last byte do not count.
    let key = long_form(0x03, parts)?.strip_prefix(b"\x00")?;
    RSA_BYTES.contains(&key.len()).then_some((&RSA_PKCS1_2048_8192_SHA256 as _, key))
}

/// What is in a DER value of this tag and of 256 to 65535 bytes; `None`: it is another, or does not end with the input.
fn long_form(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (&[found, 0x82, high, low], content) = der.split_first_chunk::<4>()? else { return None };
    (found == tag && content.len() == usize::from(u16::from_be_bytes([high, low]))).then_some(content)
}

#[cfg(test)]
mod tests;
