//! Manifests of schema 1 contain signatures, and go by the digest of the signed payload: that of a JWS in libtrust's
//! "pretty" form. The payload is the beginning of the manifest and a few bytes that close it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The signed payload; `None`: there is none, or it cannot be read.
pub(super) fn payload(manifest: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct SignedManifest {
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        protected: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Protected {
        format_length: usize,
        format_tail: String,
    }
    let SignedManifest { signatures } = serde_json::from_slice(manifest).ok()?;
    // All sign the same payload.
    let protected = decode(&signatures.first()?.protected)?;
    let Protected { format_length, format_tail } = serde_json::from_slice(&protected).ok()?;
    let mut payload = manifest.get(..format_length)?.to_vec();
    payload.extend(decode(&format_tail)?);
    Some(payload)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_found_and_nothing_else_is_taken_for_it() {
        // {"formatLength":23,"formatTail":"Cn0","time":"2015-01-01T00:00:00Z"}
        const PROTECTED: &str =
            "eyJmb3JtYXRMZW5ndGgiOjIzLCJmb3JtYXRUYWlsIjoiQ24wIiwidGltZSI6IjIwMTUtMDEtMDFUMDA6MDA6MDBaIn0";
        let signed = |protected: &str| {
            format!("{{\n   \"schemaVersion\": 1,\n   \"signatures\": [{{\"protected\":\"{protected}\"}}]\n}}")
        };
        let found = payload(signed(PROTECTED).as_bytes()).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), "{\n   \"schemaVersion\": 1\n}");
        for protected in
            ["", "e30", "!", &BASE64_URL_SAFE_NO_PAD.encode(r#"{"formatLength":999,"formatTail":""}"#)]
        {
            assert_eq!(payload(signed(protected).as_bytes()), None, "{protected}");
        }
        for text in ["", "{}", r#"{"signatures":[]}"#, "[1]"] {
            assert_eq!(payload(text.as_bytes()), None, "{text}");
        }
    }
}
