//! Verifies signatures of tokens with `jsonwebtoken`, and nothing but signatures: what a token says is judged by the core.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{Algorithm, DecodingKey};
use registry_proxy_core::jwks::{IssuerKey, TokenAlgorithm};
use registry_proxy_core::platform::TokenSignatures;

/// By RSA, P-256 and Ed25519 of RustCrypto.
pub(super) struct Signatures;

impl TokenSignatures for Signatures {
    fn verifies(&self, key: &IssuerKey, message: &[u8], signature: &[u8]) -> bool {
        // The algorithm follows from the key, never from the token.
        let algorithm = match key.algorithm() {
            TokenAlgorithm::Rs256 => Algorithm::RS256,
            TokenAlgorithm::Es256 => Algorithm::ES256,
            TokenAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        // What is called DER there is, for these two, the point itself, whose length the types here have checked.
        let key = match key {
            IssuerKey::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
            IssuerKey::P256(point) => DecodingKey::from_ec_der(&point[..]),
            IssuerKey::Ed25519(point) => DecodingKey::from_ed_der(point),
        };
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        verify(&signature, message, &key, algorithm).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
