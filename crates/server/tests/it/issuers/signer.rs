//! Keys that sign tokens in earnest, and an issuer on this machine that publishes them.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::fixture::{Exchange, Request, Upstream};

/// An RSA key for these tests, by `openssl genrsa 2048`, in PKCS #8.
const RSA: &str = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC2Bl2cCyRyY/b9xnKdtVAgQIYY/xwx8y0p3nTKPH6wR8l45aLIQ5x+LFisPLAO8eJ4H7MD9+mTBGZDbPlBVtmfVTVH3fwG2WYTqvBXWwf8JF8/UWuci/qpNIpT3SCVMH9usPjYkJeqT9eB1aHqqEl1zL6uRdm0tg8ILS63Deqkprr/KLDNYydNuiRZaeROI+p4wDW+gSLa9BiNh3QJpQK+gl//i9UGLwebMgICO5pFlhwU2x1ydF2tjDngMm90m4fOD8pTk3narCzfbEe5OFj22esgnX9r7HEm9NKZRoNh6UuDqr6ofDc+mK5uQPOjYleqNaiLXO9VQfw4GXyusnCVAgMBAAECggEAGzi+fRypebX7dR5de7pm3jvoEgrs44dzhKRxIOGFLMW/mqX0/zAlUjU9mZyF0+ZWsRJEil5j/wmUZZcBe8UKTKrIihPnofqXKm/Q+69wdUPXPrfleQbyGKXz3fDe85DKLfqnbHPLSrwgBZm2WkqKmeRhy9xEX6MuglGHf/bD1ZWdJprRkkfBJv95OVvnzc0tyVUCX1evi5JLio5QaXoWz3M+sp0Z74zDDeEOpmEZ/tK7worhZe+NBAa1hHxfg5HlHCmCeRnSPUREghTeIx3lWa787tJqWM5CV6hKJAJ/OW/0D3ElNZdPiQothcmYEZntz7JH8WzC3sYSzFPAakpIrQKBgQDYHWlERaLG7jgOWCIVZ/wlwHpkWxnsZjCm0hc8mMIaQMtIZRkatvp/CiTFy7a7CwkVIIu9rj8PCLB6SvQerqa8c8JsA7fSMMro0s4XlW4xLpuWGl47fx+8ogio8hcW4j52wZnKpoXs7hkCdxPLtCiO4eFDrxgtDgVCWS5cul811wKBgQDXnlVYzqh93mhnh3sGW+deKQLUEcb/NL9/StBJNTc3H6gLGHs6fQBHMrrxrovCAK0xBq6A/t/lkzwXDZSCxJ0KTMg4Io8CtwFEuCMAXfvSseb4siiQFaKYoB9w7Rdcg94yGY/nh3+6st+Ro0AfahEu8mFOe8OCsFGOAVR4/uKncwKBgQCs1KCJq9LomjwUJKFlUxqQKmT2+vA5YOQJlTxmBpg8HJM1mzw/ZBPiIv+Tez3wSXwC/Fsk30Ooxz8zHdwq6WuIjF7wuOx52PF8zpFoxOUxyd89ZGr1081SspaQXcLfVyGzIVLXgOLbvvIbSZV4M+S3l6bp1Q5Vgb/s9psgJx/bUwKBgE4+UK5HX/E9Ehnvmf82voD21OXsBZB6rbsdhPPr8bt5K1vLaHxS/BTaHeix9FlUMYUG7bA1zT3b7gRXkzrY6jvgnQ9xyv+rNTSgtWLeuBE/KZe53upaT4SfJomuH7ocyDbZ+9SC4SD45BRPb2d28AFfR1xZoRr9rLqhVOwLYmhtAoGBAL9orYgsUpUtv9hotj+RFNawpEvZgP8uyHb+Zu4R77YdbkKIKQxbIanjX6fbV1cmV7jczbUaRhIXMo7dnaG+JJb6LdgnpPiADTqZv+IPJIc3XDJyOZe4AjS+xesy9HMjCloUO8jpr5Z7XVdjXJPOF2ubgQpsFK9P3iANF1dM5884";

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of an issuer.
pub(super) enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(RSA).unwrap()).unwrap()))
    }

    pub(super) fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    pub(super) fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// As a key set has it.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let alg = self.algorithm();
        match self {
            Self::Rsa(_) => {
                let exponent = b64([1, 0, 1]);
                json!({ "kty": "RSA", "use": "sig", "alg": alg, "kid": kid, "n": b64(self.public()), "e": exponent })
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": alg, "kid": kid, "x": x, "y": y })
            }
            Self::Ed25519(key) => {
                let x = b64(key.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": alg, "kid": kid, "x": x })
            }
        }
    }

    /// What everybody knows of it, in bytes.
    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public()).n,
            Self::P256(key) => key.public_key().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, as they are written.
    pub(super) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    /// A token by the key of this name.
    pub(super) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": self.algorithm(), "kid": kid });
        self.token_of(&header.to_string(), &claims.to_string())
    }
}

/// An issuer.
pub(super) struct Issuer {
    pub(super) url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    _upstream: Upstream,
}

impl Issuer {
    pub(super) async fn start(keys: Vec<Value>) -> Self {
        let keys = Arc::new(Mutex::new(keys));
        let published = Arc::clone(&keys);
        let upstream = Upstream::start(move |request: Request, exchange: Exchange| {
            let keys = published.lock().unwrap().clone();
            async move {
                let url = format!("http://{}", request.get("host").unwrap_or_default());
                let document = match request.path.as_str() {
                    "/.well-known/openid-configuration" => {
                        json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })
                    }
                    "/keys" => json!({ "keys": keys }),
                    _ => return exchange.answer("404 Not Found", "", b"").await,
                };
                let json = "Content-Type: application/json\r\n";
                exchange.answer("200 OK", json, document.to_string().as_bytes()).await
            }
        })
        .await;
        Self { url: format!("http://{}", upstream.address), keys, _upstream: upstream }
    }

    pub(super) fn publish(&self, keys: Vec<Value>) {
        *self.keys.lock().unwrap() = keys;
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
