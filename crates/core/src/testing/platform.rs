//! What else a platform brings along.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::digest::Digest;
use crate::jwks::IssuerKey;
use crate::platform::{
    BundleFlaw, BundleVerifier, Entropy, Passwords, SignatureKey, TokenSignatures, VerifiedBundle,
};
use crate::secret::{Basic, Secret};

/// Bytes that differ from call to call and are the same in every run. Two that start alike give the same bytes.
pub struct CountingEntropy(AtomicU64);

impl CountingEntropy {
    /// Starts somewhere.
    pub fn new(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }
}

impl Entropy for CountingEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
        for (byte, value) in buffer.iter_mut().zip(count.iter().cycle()) {
            *byte = *value;
        }
    }
}

/// Users and their passwords, as a password file has them.
pub struct Users(pub Vec<(&'static str, &'static str)>);

#[async_trait]
impl Passwords for Users {
    async fn verify(&self, login: &Basic) -> bool {
        self.0.contains(&(login.username.as_str(), login.password.expose()))
    }

    fn line(&self, username: &str) -> Option<Secret> {
        self.0.iter().find(|(name, _)| *name == username).map(|(_, password)| Secret::new(*password))
    }
}

/// A key with a name, whose signatures everybody can make: the digest of the name and the message.
pub struct TestKey(pub &'static str);

impl TestKey {
    /// Its signature of a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        Digest::sha256(&[self.0.as_bytes(), message].concat()).as_str().into()
    }
}

impl SignatureKey for TestKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.sign(message) == signature
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        for (byte, letter) in fingerprint.iter_mut().zip(self.0.bytes()) {
            *byte = letter;
        }
        fingerprint
    }
}

/// A trust root that believes what a bundle says of itself: `{"issuer", "subject", "statement", "is_logged"}`.
pub struct TestBundles;

impl TestBundles {
    /// A bundle.
    pub fn bundle(issuer: &str, subject: &str, statement: &str, is_logged: bool) -> String {
        serde_json::json!({ "issuer": issuer, "subject": subject, "statement": statement, "is_logged": is_logged })
            .to_string()
    }
}

impl BundleVerifier for TestBundles {
    fn verify(&self, bundle: &[u8], _: &Digest) -> Result<VerifiedBundle, BundleFlaw> {
        let said: serde_json::Value = serde_json::from_slice(bundle).map_err(|_| BundleFlaw::NotABundle)?;
        if said["is_logged"] != true {
            return Err(BundleFlaw::NotLogged);
        }
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        Ok(VerifiedBundle {
            issuer: text("issuer"),
            subject: text("subject"),
            statement: text("statement").into(),
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        [7; 32]
    }
}

/// Signatures of tokens that everybody can make: the digest of key and message. The keys are of Ed25519 by their kind only.
pub struct TestSignatures;

impl TestSignatures {
    /// A key as a key set has it.
    pub fn jwk(kid: &str, key: u8) -> serde_json::Value {
        let point = BASE64_URL_SAFE_NO_PAD.encode([key; 32]);
        serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": point })
    }

    /// A token with this header and these claims, in JSON, signed by a key.
    pub fn token(header: &str, claims: &str, key: u8) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = Self::sign(&[key; 32], signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn sign(point: &[u8; 32], message: &[u8]) -> Vec<u8> {
        Digest::sha256(&[point, message].concat()).as_str().into()
    }
}

impl TokenSignatures for TestSignatures {
    fn verifies(&self, key: &IssuerKey, message: &[u8], signature: &[u8]) -> bool {
        match key {
            IssuerKey::Ed25519(point) => Self::sign(point, message) == signature,
            IssuerKey::Rsa { .. } | IssuerKey::P256(_) => false,
        }
    }
}

/// Reads the files that configurations of tests name: whatever the name, what is in it is long enough to be a key.
pub fn stored_nowhere(path: &str) -> std::io::Result<String> {
    Ok(format!("what-is-in-{path}"))
}
