//! A key pair as `cosign generate-key-pair` writes it: skopeo signs with it, and the product verifies.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use rcgen::{KeyPair, PublicKeyData as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use tempfile::TempDir;

use crate::{Failure, Outcome};

const PASSPHRASE: &str = "only the tests sign with this";
/// The logarithm of scrypt's cost, its block size and its parallelism: skopeo takes no others.
const SCRYPT: (u8, u32, u32) = (15, 8, 1);
const LINE_CHARS: usize = 64;

/// A key pair in files.
pub struct SigningKey {
    folder: TempDir,
}

impl SigningKey {
    /// A new pair, of ECDSA P-256.
    pub fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let pair = KeyPair::generate()?;
        fs::write(folder.path().join("cosign.pub"), pem("PUBLIC KEY", &pair.subject_public_key_info()))?;
        let sealed = sealed(&pair.serialize_der())?;
        fs::write(folder.path().join("cosign.key"), pem("ENCRYPTED COSIGN PRIVATE KEY", sealed.as_bytes()))?;
        fs::write(folder.path().join("passphrase"), PASSPHRASE)?;
        Ok(Self { folder })
    }

    /// The public key.
    pub fn public(&self) -> PathBuf {
        self.folder.path().join("cosign.pub")
    }

    /// Options with which skopeo signs what it copies.
    pub fn skopeo_options(&self) -> [String; 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            format!("--sign-by-sigstore-private-key={}", path("cosign.key")),
            format!("--sign-passphrase-file={}", path("passphrase")),
        ]
    }

    /// The folder of the pair.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A private key under the passphrase: the JSON of theupdateframework/go-tuf, encrypted/encrypted.go.
fn sealed(key: &[u8]) -> Outcome<String> {
    let (mut salt, mut nonce, mut secret) = ([0; 32], [0; 24], [0; 32]);
    let random = SystemRandom::new();
    for bytes in [&mut salt[..], &mut nonce[..]] {
        random.fill(bytes).map_err(|_| Failure::new("no randomness"))?;
    }
    let (log_n, r, p) = SCRYPT;
    let costs = scrypt::Params::new(log_n, r, p, secret.len()).map_err(|error| Failure::new(error.to_string()))?;
    let derived = scrypt::scrypt(PASSPHRASE.as_bytes(), &salt, &costs, &mut secret);
    derived.map_err(|error| Failure::new(error.to_string()))?;
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&secret));
    let ciphertext = cipher.encrypt(Nonce::from_slice(&nonce), key).map_err(|_| Failure::new("cannot encrypt"))?;
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    Ok(json!({
        "kdf": { "name": "scrypt", "params": { "N": 1 << log_n, "r": r, "p": p }, "salt": text(&salt) },
        "cipher": { "name": "nacl/secretbox", "nonce": text(&nonce) },
        "ciphertext": text(&ciphertext),
    })
    .to_string())
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    let mut lines = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(LINE_CHARS) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + &format!("-----END {kind}-----\n")
}
