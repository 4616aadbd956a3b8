//! Sealing: small values that clients carry for us and can neither read nor forge (P-47, P-130). Tokens and upload
//! sessions live nowhere but in the client's hands, so replicas and functions need to share only the key.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::platform::Entropy;
use crate::secret::Secret;

const NONCE_BYTES: usize = 24;

/// What a sealed value is for. A value that was sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealPurpose {
    /// A client's token.
    Token,
    /// An upload session's URL at the upstream.
    Upload,
    /// A redirect's target, where `redirects = "rewrite"`.
    Redirect,
    /// The link to an upstream's next page of a list.
    Page,
    /// What a form of the administration page does, for one login.
    Form,
}

impl SealPurpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Token => b"token",
            Self::Upload => b"upload",
            Self::Redirect => b"redirect",
            Self::Page => b"page",
            Self::Form => b"form",
        }
    }
}

/// Seals and opens, with keys derived from one signing key.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    entropy: Arc<dyn Entropy>,
    via: String,
    fingerprint_key: [u8; 32],
}

impl Sealer {
    /// Takes the signing key; without one a random key serves until the process ends.
    pub fn new(signing_key: Option<&Secret>, entropy: Arc<dyn Entropy>) -> Self {
        let mut random = [0; 32];
        entropy.fill(&mut random);
        let root = signing_key.map_or(&random[..], |key| key.expose().as_bytes());
        let via = derive(root, b"registry-proxy via v1");
        Self {
            cipher: XChaCha20Poly1305::new(&derive(root, b"registry-proxy seal v1").into()),
            entropy,
            via: BASE64_URL_SAFE_NO_PAD.encode(via.get(..6).unwrap_or_default()),
            fingerprint_key: derive(root, b"registry-proxy fingerprint v1"),
        }
    }

    /// The name of this deployment in `Via`, the same on every replica that shares the key (P-127).
    pub fn via(&self) -> &str {
        &self.via
    }

    /// Tells credentials apart in tables without keeping them there. Texts that are cut at other places have another one.
    pub fn fingerprint(&self, texts: &[&str]) -> [u8; 16] {
        let mut joined = Vec::new();
        for text in texts {
            joined.extend_from_slice(&(text.len() as u64).to_be_bytes());
            joined.extend_from_slice(text.as_bytes());
        }
        let full = derive(&self.fingerprint_key, &joined);
        let mut short = [0; 16];
        short.copy_from_slice(full.first_chunk::<16>().unwrap_or(&[0; 16]));
        short
    }

    /// The same as text, for what is sealed: every replica that shares the key makes the same of the same.
    pub fn mark(&self, texts: &[&str]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.fingerprint(texts))
    }

    /// Seals a value into unpadded base64url: no character of it is changed by any re-encoding of a URL.
    pub fn seal<T: Serialize>(&self, purpose: SealPurpose, value: &T) -> String {
        let plain = serde_json::to_vec(value).unwrap_or_default();
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let payload = Payload { msg: &plain, aad: purpose.label() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same purpose; `None`: it is not ours, or was changed.
    pub fn open<T: DeserializeOwned>(&self, purpose: SealPurpose, text: &str) -> Option<T> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: purpose.label() };
        let plain = self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// Derives a key for one purpose, or another value that nobody can compute without `key`.
pub(crate) fn derive(key: &[u8], label: &[u8]) -> [u8; 32] {
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else { return [0; 32] };
    mac.update(label);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn sealer(key: Option<&str>, start: u8) -> Sealer {
        Sealer::new(key.map(Secret::new).as_ref(), Arc::new(Counting(start.into())))
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let ours = sealer(None, 1);
        let note = ours.seal(SealPurpose::Token, &"alice");
        assert_eq!(ours.open::<String>(SealPurpose::Token, &note).as_deref(), Some("alice"));
        assert_eq!(ours.open::<String>(SealPurpose::Upload, &note), None);
    }

    #[test]
    fn a_changed_or_foreign_value_does_not_open() {
        let ours = sealer(Some("key"), 1);
        let sealed = ours.seal(SealPurpose::Token, &"alice");
        for index in 0..sealed.len() {
            let mut forged: Vec<char> = sealed.chars().collect();
            forged[index] = if forged[index] == 'A' { 'Q' } else { 'A' };
            let forged: String = forged.into_iter().collect();
            assert_eq!(ours.open::<String>(SealPurpose::Token, &forged), None, "{index}");
        }
        assert_eq!(sealer(Some("other"), 1).open::<String>(SealPurpose::Token, &sealed), None);
        for junk in ["", "A", "!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(ours.open::<String>(SealPurpose::Token, junk), None);
        }
    }

    #[test]
    fn replicas_that_share_the_key_share_everything_and_others_nothing() {
        let (one, two, other) = (sealer(Some("key"), 1), sealer(Some("key"), 9), sealer(None, 1));
        assert_eq!(two.open::<u8>(SealPurpose::Token, &one.seal(SealPurpose::Token, &7)), Some(7));
        assert_eq!(one.via(), two.via());
        assert_ne!(one.via(), other.via());
        assert_eq!(one.mark(&["a"]), two.mark(&["a"]));
        assert_ne!(one.mark(&["a"]), other.mark(&["a"]));
    }

    #[test]
    fn no_two_rows_of_texts_have_one_fingerprint() {
        let one = sealer(Some("key"), 1);
        let rows: [&[&str]; 5] = [&["a", "bc"], &["ab", "c"], &["abc"], &["a", "b\0c"], &["a\0b", "c"]];
        let marks: std::collections::HashSet<String> = rows.iter().map(|row| one.mark(row)).collect();
        assert_eq!(marks.len(), rows.len());
    }

    #[test]
    fn a_sealed_value_survives_any_reencoding_of_a_url() {
        let sealed = sealer(None, 200)
            .seal(SealPurpose::Upload, &"https://up.example/v2/a/blobs/uploads/x?_state=a%2Fb+c==");
        assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}
