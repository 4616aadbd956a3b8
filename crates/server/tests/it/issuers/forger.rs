//! Tokens that nobody should take: what each is, the token, and what is said of it.

use serde_json::{Value, json};

use super::signer::{Issuer, Signer, b64, now};
use super::{AUDIENCE, job};

/// What it is, the token, and the message.
type Forgery = (&'static str, String, String);

/// Whoever tries: with an issuer whose keys are in order, and keys that it does not have.
pub(super) struct Forger {
    issuer: Issuer,
    rsa: Signer,
    p256: Signer,
    ed25519: Signer,
    strange: Signer,
    rotated: Signer,
}

impl Forger {
    pub(super) async fn start() -> Self {
        let (rsa, p256, ed25519) = (Signer::rsa(), Signer::p256(), Signer::ed25519());
        // The second key of its kind, so that a token must say which one it means.
        let keys = vec![rsa.jwk("r"), p256.jwk("p"), Signer::p256().jwk("p2"), ed25519.jwk("e")];
        let issuer = Issuer::start(keys).await;
        Self { issuer, rsa, p256, ed25519, strange: Signer::p256(), rotated: Signer::ed25519() }
    }

    pub(super) fn url(&self) -> &str {
        &self.issuer.url
    }

    /// A token that is as it should be.
    pub(super) fn good(&self) -> String {
        self.changed(&Value::Null)
    }

    /// A token with other claims, signed as it should be.
    pub(super) fn changed(&self, changes: &Value) -> String {
        self.ed25519.token("e", &job(self.url(), changes))
    }

    fn claims(&self) -> Value {
        job(self.url(), &Value::Null)
    }

    fn with_header(&self, header: &Value) -> String {
        self.ed25519.token_of(&header.to_string(), &self.claims().to_string())
    }

    /// What is to be signed, with this header.
    fn header(&self, text: &str) -> String {
        format!("{}.{}", b64(text), b64(self.claims().to_string()))
    }

    fn hmac(&self, header: &str, secret: &[u8]) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let signed = self.header(header);
        format!("{signed}.{}", b64(ring::hmac::sign(&key, signed.as_bytes())))
    }

    /// What is said of a token whose issuer is known.
    fn ours(&self) -> String {
        format!("the token of {} is not accepted: ", self.url())
    }

    fn unknown(&self) -> String {
        self.ours() + "the issuer has no key of its name (kid) for its algorithm"
    }

    fn signature(&self) -> String {
        self.ours() + "its signature is not by the issuer's key"
    }

    /// By algorithms that do not count, or are not the key's.
    pub(super) fn by_algorithm(&self) -> Vec<Forgery> {
        let algorithm = "the token is not accepted: its algorithm (alg) is not RS256, ES256 or EdDSA".to_owned();
        let (unknown, signature, claims) = (self.unknown(), self.signature(), self.claims());
        let spki = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", b64(self.rsa.public()));
        vec![
            ("not signed", format!("{}.", self.header(r#"{"alg":"none","kid":"e"}"#)), algorithm.clone()),
            (
                "not signed, and called so in capitals",
                format!("{}.", self.header(r#"{"alg":"NONE"}"#)),
                algorithm.clone(),
            ),
            ("none, with a signature", self.with_header(&json!({ "alg": "none", "kid": "e" })), algorithm.clone()),
            (
                "HMAC by the modulus",
                self.hmac(r#"{"alg":"HS256","kid":"r"}"#, &self.rsa.public()),
                algorithm.clone(),
            ),
            (
                "HMAC by the PEM of the key",
                self.hmac(r#"{"alg":"HS256","kid":"r"}"#, spki.as_bytes()),
                algorithm.clone(),
            ),
            ("HMAC by nothing", self.hmac(r#"{"alg":"HS256"}"#, b""), algorithm.clone()),
            ("another hash", self.with_header(&json!({ "alg": "RS512", "kid": "r" })), algorithm.clone()),
            ("another padding", self.with_header(&json!({ "alg": "PS256", "kid": "r" })), algorithm.clone()),
            ("another curve", self.with_header(&json!({ "alg": "ES384", "kid": "p" })), algorithm.clone()),
            (
                "a list of algorithms",
                self.with_header(&json!({ "alg": ["EdDSA"], "kid": "e" })),
                algorithm.clone(),
            ),
            (
                "RSA, called EdDSA",
                self.rsa.token_of(r#"{"alg":"EdDSA","kid":"r"}"#, &claims.to_string()),
                unknown.clone(),
            ),
            (
                "EdDSA, called RSA",
                self.ed25519.token_of(r#"{"alg":"RS256","kid":"r"}"#, &claims.to_string()),
                signature.clone(),
            ),
        ]
    }

    /// Signed as they should be, by claims that let nobody in.
    pub(super) fn by_claims(&self) -> Vec<Forgery> {
        let (ours, url, now) = (self.ours(), self.url(), now());
        let audience = format!("{ours}its audience (aud) is not {AUDIENCE}");
        let foreign = "the token is not accepted: its issuer (iss) is none of [[clients.issuer]]".to_owned();
        let claim = format!("{ours}its claim repository_owner does not match the rule");
        vec![
            ("for somebody else", self.changed(&json!({ "aud": "sts.amazonaws.com" })), audience.clone()),
            ("for nobody", self.changed(&json!({ "aud": null })), audience.clone()),
            (
                "for a similar name",
                self.changed(&json!({ "aud": ["proxy.example.com.evil.test"] })),
                audience.clone(),
            ),
            ("of another issuer", self.changed(&json!({ "iss": "https://evil.test" })), foreign.clone()),
            ("of nearly this issuer", self.changed(&json!({ "iss": format!("{url}/") })), foreign.clone()),
            ("of no issuer", self.changed(&json!({ "iss": null })), foreign.clone()),
            ("expired", self.changed(&json!({ "exp": now - 7300 })), format!("{ours}it expired 2h ago (exp)")),
            (
                "an end in quotes",
                self.changed(&json!({ "exp": (now + 300).to_string() })),
                format!("{ours}its claim exp is no time"),
            ),
            (
                "without an end",
                self.changed(&json!({ "exp": null })),
                format!("{ours}it does not say when it expires (exp)"),
            ),
            (
                "not valid yet",
                self.changed(&json!({ "nbf": now + 7300 })),
                format!("{ours}it is not valid yet, but in 2h (nbf)"),
            ),
            (
                "issued tomorrow",
                self.changed(&json!({ "iat": now + 90_000 })),
                format!("{ours}it is not valid yet, but in 1d (iat)"),
            ),
            ("of another owner", self.changed(&json!({ "repository_owner": "evil" })), claim.clone()),
            ("of the owner in capitals", self.changed(&json!({ "repository_owner": "ACME" })), claim.clone()),
            ("of a list of owners", self.changed(&json!({ "repository_owner": ["acme"] })), claim.clone()),
            (
                "without what makes its name",
                self.changed(&json!({ "repository": null })),
                format!("{ours}its claim repository is not there or cannot be a part of a name"),
            ),
        ]
    }

    /// By keys that are not the issuer's, or not named.
    pub(super) fn by_key(&self) -> Vec<Forgery> {
        let (ours, any) = (self.ours(), "the token is not accepted: ");
        let (unknown, signature, claims) = (self.unknown(), self.signature(), self.claims());
        vec![
            ("by a rotated key", self.rotated.token("e0", &claims), unknown.clone()),
            ("by an unknown key", self.strange.token("x", &claims), unknown.clone()),
            ("a key's name that is a path", self.strange.token("../../../../dev/null", &claims), unknown.clone()),
            (
                "a key's name that is an address",
                self.strange.token("https://evil.test/jwks.json", &claims),
                unknown.clone(),
            ),
            ("a key's name that is a query", self.strange.token("' UNION SELECT 'x", &claims), unknown.clone()),
            ("a stranger's key under our name", self.strange.token("p", &claims), signature.clone()),
            (
                "a stranger's key in the header",
                self.strange.token_of(
                    &json!({ "alg": "ES256", "kid": "p", "jwk": self.strange.jwk("p") }).to_string(),
                    &claims.to_string(),
                ),
                signature.clone(),
            ),
            (
                "a stranger's key set in the header",
                self.strange.token_of(
                    r#"{"alg":"ES256","kid":"x","jku":"https://evil.test/jwks.json"}"#,
                    &claims.to_string(),
                ),
                unknown.clone(),
            ),
            (
                "no key named, of several",
                self.p256.token_of(r#"{"alg":"ES256"}"#, &claims.to_string()),
                format!("{ours}it names no key (kid), and the issuer has several for its algorithm"),
            ),
            (
                "a key's name that is a number",
                self.with_header(&json!({ "alg": "EdDSA", "kid": 1 })),
                format!("{any}its kid is not text"),
            ),
            (
                "extensions that must be understood",
                self.with_header(&json!({ "alg": "EdDSA", "kid": "e", "crit": ["b64"], "b64": false })),
                format!(
                    "{any}its header has extensions that must be understood (crit), and this proxy knows none"
                ),
            ),
        ]
    }

    /// Cut, joined and grown.
    pub(super) fn by_form(&self) -> Vec<Forgery> {
        let any = "the token is not accepted: ";
        let (signature, claims, good) = (self.signature(), self.claims(), self.good());
        let parts: Vec<&str> = good.split('.').collect();
        let other = self.changed(&json!({ "repository": "acme/other" }));
        let twice = json!({ "x": 1 }).to_string();
        let doubled = claims.to_string().replacen('{', r#"{"repository_owner":"evil","#, 1);
        vec![
            (
                "more than 16 KiB",
                self.changed(&json!({ "x": "x".repeat(20_000) })),
                format!("{any}it has more than 16384 bytes"),
            ),
            (
                "more than 100 KB",
                self.changed(&json!({ "x": "x".repeat(100_000) })),
                "larger than 65536 bytes".to_owned(),
            ),
            (
                "a claim twice",
                self.ed25519.token_of(r#"{"alg":"EdDSA","kid":"e"}"#, &doubled),
                format!("{any}its second part has a member twice"),
            ),
            (
                "an algorithm twice",
                self.ed25519.token_of(r#"{"alg":"EdDSA","alg":"none","kid":"e"}"#, &claims.to_string()),
                format!("{any}its header has a member twice"),
            ),
            (
                "claims that are a list",
                self.ed25519.token_of(r#"{"alg":"EdDSA","kid":"e"}"#, "[]"),
                format!("{any}its second part is not a JSON object"),
            ),
            (
                "claims that are none",
                format!("{}.{}.{}", parts[0], b64("x"), parts[2]),
                format!("{any}its second part is not a JSON object"),
            ),
            (
                "other claims under the signature",
                format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]),
                signature.clone(),
            ),
            (
                "another token's signature",
                format!("{}.{}.{}", parts[0], parts[1], other.split('.').nth(2).unwrap()),
                signature.clone(),
            ),
            ("a signature cut off", format!("{}.{}.", parts[0], parts[1]), signature.clone()),
            (
                "a signature of zeros",
                format!("{}.{}", self.header(r#"{"alg":"ES256","kid":"p"}"#), b64([0; 64])),
                signature.clone(),
            ),
            (
                "a padded signature",
                format!("{good}%3D%3D"),
                format!("{any}its signature is not in base64url without padding"),
            ),
            (
                "no token at all",
                format!("{}.{}.{}", b64(&twice), b64(&twice), b64(&twice)),
                "incorrect user name or password".to_owned(),
            ),
        ]
    }
}
