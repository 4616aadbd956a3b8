//! A token as it is written: a JWT (RFC 7519) in the compact form of a JWS (RFC 7515 section 7.1). Nothing in it is verified here.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::json_object::JsonObject;
use crate::error::TokenRefusal;
use crate::jwks::TokenAlgorithm;

/// The longest token. Those of GitHub, GitLab and Kubernetes have 1 to 2 KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The longest header by which a text is taken for a token, in base64.
const MAX_HEADER_CHARACTERS: usize = 8 << 10;
/// How each header begins that begins with a name: `{"` in base64.
const HEADER_BEGINNING: &str = "eyJ";

/// A token, read and not verified.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'a> {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) claims: JsonObject,
    /// What is signed: header and claims as they were written.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Whether a text is a token and no password: three parts in base64url, the first one a JSON object that names an algorithm. Tokens
/// of our own have no dots.
pub(in crate::access) fn looks_like_token(text: &str) -> bool {
    let Some((header, rest)) = text.split_once('.') else { return false };
    let Some((claims, signature)) = rest.split_once('.') else { return false };
    let is_base64 =
        |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='));
    if claims.is_empty() || ![header, claims, signature].into_iter().all(is_base64) {
        return false;
    }
    if header.len() > MAX_HEADER_CHARACTERS {
        return header.starts_with(HEADER_BEGINNING);
    }
    decoded(header).and_then(|bytes| JsonObject::parse(&bytes)).is_some_and(|header| header.get("alg").is_some())
}

/// Reads a token.
pub(super) fn read(text: &str) -> Result<UnverifiedToken<'_>, TokenRefusal> {
    let unreadable = |part, fault| TokenRefusal::Unreadable { part, fault };
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenRefusal::TooLong { limit_bytes: MAX_TOKEN_BYTES });
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(unreadable("it", "has not three parts"))?;
    let (header, claims) = signed.split_once('.').ok_or(unreadable("it", "has not three parts"))?;
    let object = |part, text| {
        let bytes = decoded(text).ok_or(unreadable(part, "is not in base64url without padding"))?;
        let object = JsonObject::parse(&bytes).ok_or(unreadable(part, "is not a JSON object"))?;
        if object.has_repeated { Err(unreadable(part, "has a member twice")) } else { Ok(object) }
    };
    let header = object("its header", header)?;
    if header.get("crit").is_some() {
        return Err(TokenRefusal::Critical);
    }
    let algorithm = header.text("alg").and_then(TokenAlgorithm::named).ok_or(TokenRefusal::Algorithm)?;
    let kid = match (header.get("kid"), header.text("kid")) {
        (None, _) => None,
        (Some(_), Some(kid)) => Some(kid.into()),
        (Some(_), None) => return Err(unreadable("its kid", "is not text")),
    };
    let claims = object("its second part", claims)?;
    let signature =
        decoded(signature).ok_or(unreadable("its signature", "is not in base64url without padding"))?;
    Ok(UnverifiedToken { algorithm, kid, claims, signed: signed.as_bytes(), signature })
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_token_is_told_from_passwords_and_from_tokens_of_our_own() {
        let header = encoded(r#"{"alg":"RS256"}"#);
        for (text, expected) in [
            (format!("{header}.e30.c2ln"), true),
            (format!("{header}.e30."), true),
            (format!("{}.e30.c2ln", encoded(r#" { "typ": "JWT", "alg": 7 }"#)), true),
            (format!("{}.e30.c2ln", encoded(r#"{"typ":"JWT"}"#)), false),
            (format!("{header}..c2ln"), false),
            (format!("{header}.e30"), false),
            (format!("{header}.e30.c2ln.c2ln"), false),
            (format!("{header}.e30.c2 ln"), false),
            // The first part of this password begins with a brace, in base64.
            ("eyes.are.blue".to_owned(), false),
            ("correct.horse.battery".to_owned(), false),
            (encoded(&"sealed".repeat(20)), false),
            (String::new(), false),
            ("..".to_owned(), false),
            (format!("{}.e30.c2ln", encoded(&format!(r#"{{"alg":"RS256","x":"{}"}}"#, "x".repeat(9000)))), true),
        ] {
            assert_eq!(looks_like_token(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_with_what_is_wrong() {
        let good = encoded(r#"{"alg":"ES256","kid":"k1","jku":"https://evil.test","jwk":{}}"#);
        let claims = encoded(r#"{"iss":"https://i.test"}"#);
        let token = format!("{good}.{claims}.c2ln");
        let read_token = read(&token).unwrap();
        assert_eq!((read_token.algorithm, read_token.kid.as_deref()), (TokenAlgorithm::Es256, Some("k1")));
        assert_eq!(read_token.signed, format!("{good}.{claims}").as_bytes());
        assert_eq!(
            (read_token.signature.as_slice(), read_token.claims.text("iss")),
            (&b"sig"[..], Some("https://i.test"))
        );
        let with_header = |json: &str| format!("{}.{claims}.c2ln", encoded(json));
        let with_claims = |json: &str| format!("{good}.{}.c2ln", encoded(json));
        for (text, expected) in [
            (with_header(r#"{"alg":"none"}"#), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header(r#"{"alg":"nOnE"}"#), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header(r#"{"alg":"HS256"}"#), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header(r#"{"alg":"PS256"}"#), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header(r#"{"alg":["RS256"]}"#), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header("{}"), "its algorithm (alg) is not RS256, ES256 or EdDSA"),
            (with_header(r#"{"alg":"RS256","alg":"none"}"#), "its header has a member twice"),
            (with_header(r#"{"alg":"RS256","kid":7}"#), "its kid is not text"),
            (
                with_header(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#),
                "its header has extensions that must be understood (crit), and this proxy knows none",
            ),
            (with_header("[]"), "its header is not a JSON object"),
            (with_claims("[]"), "its second part is not a JSON object"),
            (with_claims(r#"{"sub":"a"}{"sub":"b"}"#), "its second part is not a JSON object"),
            (with_claims(r#"{"sub":"a","iss":"i","sub":"b"}"#), "its second part has a member twice"),
            (format!("{good}.%%.c2ln"), "its second part is not in base64url without padding"),
            (format!("{good}.{claims}.c2ln="), "its signature is not in base64url without padding"),
            (format!("{good}.{claims}"), "it has not three parts"),
            (format!("{good}.{}.c2ln", "A".repeat(100_000)), "it has more than 16384 bytes"),
        ] {
            assert_eq!(read(&text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
