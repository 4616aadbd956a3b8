//! Where an issuer has its keys: OpenID Connect Discovery 1.0. Pure.

use serde::Deserialize;
use url::Url;

use crate::error::KeyFailure;

/// Where the configuration of an issuer is (section 4): a slash at the end of its URL is left out.
pub(super) fn address(issuer: &str) -> Option<Url> {
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()
}

/// Where its keys are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeysAddress {
    pub(super) url: Url,
    /// Whether that is the issuer's own host and port, which the configuration names.
    pub(super) is_own: bool,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

/// Reads the document. Its issuer must be exactly the one that was asked (section 4.3): else one host could speak for another.
pub(super) fn keys_address(document: &[u8], issuer: &str) -> Result<KeysAddress, KeyFailure> {
    let document: DiscoveryDocument = serde_json::from_slice(document).map_err(|_| KeyFailure::NotDiscovery)?;
    if document.issuer != issuer {
        return Err(KeyFailure::OtherIssuer);
    }
    let url = Url::parse(&document.jwks_uri).map_err(|_| KeyFailure::KeysAddress)?;
    let is_own = Url::parse(issuer).is_ok_and(|issuer| issuer.origin() == url.origin());
    let has_login = !url.username().is_empty() || url.password().is_some();
    if has_login || !(url.scheme() == "https" || is_own) {
        return Err(KeyFailure::KeysAddress);
    }
    Ok(KeysAddress { url, is_own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_an_issuer_is_below_its_url() {
        for (issuer, expected) in [
            ("https://i.test", "https://i.test/.well-known/openid-configuration"),
            ("https://i.test/", "https://i.test/.well-known/openid-configuration"),
            ("https://i.test/id/EKS1", "https://i.test/id/EKS1/.well-known/openid-configuration"),
            ("https://i.test/realm/", "https://i.test/realm/.well-known/openid-configuration"),
        ] {
            assert_eq!(address(issuer).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn keys_are_taken_from_the_issuer_itself_or_by_https_and_only_in_its_own_name() {
        let document = |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","x":1}}"#);
        for (asked, issuer, keys, expected) in [
            ("https://i.test", "https://i.test", "https://i.test/keys", Ok(true)),
            ("https://i.test", "https://i.test", "https://keys.test/jwks?v=3", Ok(false)),
            ("https://i.test", "https://i.test", "https://i.test:8443/keys", Ok(false)),
            ("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1/keys", Ok(true)),
            ("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:2/keys", Err(KeyFailure::KeysAddress)),
            ("https://i.test", "https://i.test", "http://i.test/keys", Err(KeyFailure::KeysAddress)),
            ("https://i.test", "https://i.test", "https://u:p@i.test/keys", Err(KeyFailure::KeysAddress)),
            ("https://i.test", "https://i.test", "file:///etc/passwd", Err(KeyFailure::KeysAddress)),
            ("https://i.test", "https://i.test", "/keys", Err(KeyFailure::KeysAddress)),
            ("https://i.test", "https://i.test/", "https://i.test/keys", Err(KeyFailure::OtherIssuer)),
            ("https://i.test/a", "https://i.test", "https://i.test/keys", Err(KeyFailure::OtherIssuer)),
            ("https://i.test", "https://evil.test", "https://i.test/keys", Err(KeyFailure::OtherIssuer)),
        ] {
            let found = keys_address(document(issuer, keys).as_bytes(), asked).map(|address| address.is_own);
            assert_eq!(found, expected, "{asked} {issuer} {keys}");
        }
        for document in ["", "[]", "{}", r#"{"issuer":"https://i.test"}"#, "<html>"] {
            assert_eq!(keys_address(document.as_bytes(), "https://i.test"), Err(KeyFailure::NotDiscovery));
        }
    }
}
