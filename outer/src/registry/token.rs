//! Tokens as docker-registry 2.8 wants them: a JSON Web Token signed with ES256 that carries its
//! certificate in `x5c` (distribution, `docs/spec/auth/jwt.md`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::{Context, Outcome};

pub(super) const SERVICE: &str = "outer-registry";
pub(super) const ISSUER: &str = "outer-issuer";
/// Docker's own client takes a minute for the least lifetime.
pub(super) const LIFETIME: Duration = Duration::from_mins(5);

/// Signs tokens with a key of its own.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    certificate: Vec<u8>,
    pub(super) certificate_pem: String,
}

impl Signer {
    pub(super) fn new() -> Outcome<Self> {
        let random = SystemRandom::new();
        let key = KeyPair::generate()?;
        let parameters = CertificateParams::new(vec!["outer.invalid".to_owned()])?;
        let certificate = parameters.self_signed(&key)?;
        let document = key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &random);
        Ok(Self {
            key: key.ok().context("reading the key that was just made")?,
            random,
            certificate: certificate.der().to_vec(),
            certificate_pem: certificate.pem(),
        })
    }

    /// A token for `subject` with these `access` entries.
    pub(super) fn token(&self, subject: &str, access: &[Value]) -> Outcome<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let chain = [STANDARD.encode(&self.certificate)];
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": chain });
        let claims = json!({
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "nbf": now.as_secs() - 60,
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
            "jti": format!("{}", now.as_nanos()),
            "access": access,
        });
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes());
        let signature = signature.ok().context("signing a token")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
