//! Reading an upstream's `WWW-Authenticate`, leniently (P-61): several headers, several challenges in one, unquoted
//! and empty values, any case.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use url::Url;

/// How an upstream wants requests to be authorized. Its scope is dropped: it may be wrong (P-62).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamChallenge {
    /// Tokens from a token server.
    Bearer {
        /// The token server.
        realm: Url,
        /// The name of the registry there; nvcr.io and Google give none.
        service: Option<String>,
    },
    /// User name and password.
    Basic,
}

impl UpstreamChallenge {
    /// The challenge to answer: Bearer where there is one, else Basic. `base` resolves a relative realm.
    pub fn choose(headers: &HeaderMap, base: &Url) -> Option<Self> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            // A description may contain bytes that are not ASCII (RFC 9110 section 5.5): the realm counts all the same.
            for (scheme, parameters) in split(&String::from_utf8_lossy(value.as_bytes())) {
                if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                } else if scheme.eq_ignore_ascii_case("bearer") {
                    let find = |name: &str| {
                        let mut all = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                        all.next().map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
                    };
                    if let Some(realm) = find("realm").and_then(|realm| base.join(&realm).ok()) {
                        return Some(Self::Bearer { realm, service: find("service") });
                    }
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// Splits one header into its challenges. A word before a space, rather than before `=`, begins a new one.
fn split(text: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word_end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        if word.is_empty() && behind.is_empty() {
            return challenges;
        }
        let behind_spaces = behind.trim_start_matches([' ', '\t']);
        if let Some(value) = behind_spaces.strip_prefix('=') {
            let (value, remaining) = take_value(value.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            rest = remaining;
        } else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = behind;
        }
    }
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(index + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    // The closing quote is missing: the rest is the value.
    (value, "")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn choose(lines: &[&str]) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
        }
        match UpstreamChallenge::choose(&headers, &Url::parse("https://reg.example/v2/").unwrap())? {
            UpstreamChallenge::Bearer { realm, service } => Some((realm.to_string(), service)),
            UpstreamChallenge::Basic => Some(("basic".into(), None)),
        }
    }

    #[test]
    fn challenges_as_registries_send_them() {
        let bearer = |realm: &str, service: Option<&str>| Some((realm.to_owned(), service.map(str::to_owned)));
        for (lines, expected) in [
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                ][..],
                bearer("https://auth.docker.io/token", Some("registry.docker.io")),
            ),
            // nvcr.io and Google name no service, or an empty one.
            (
                &[r#"Bearer realm="https://nvcr.io/proxy_auth",scope="""#],
                bearer("https://nvcr.io/proxy_auth", None),
            ),
            (&[r#"Bearer service="",realm="https://r.example/t""#], bearer("https://r.example/t", None)),
            // Any case, no quotes, odd spaces.
            (&["bearer REALM=https://r.example/t , Service=s"], bearer("https://r.example/t", Some("s"))),
            (&[r#"BEARER realm = "https://r.example/t""#], bearer("https://r.example/t", None)),
            // Two in one line, two lines, either order: Bearer wins.
            (
                &[r#"Basic realm="x", Bearer realm="https://r.example/t",service="s""#],
                bearer("https://r.example/t", Some("s")),
            ),
            (
                &[r#"Basic realm="x""#, r#"Bearer realm="https://r.example/t""#],
                bearer("https://r.example/t", None),
            ),
            (&["Negotiate, Basic"], Some(("basic".into(), None))),
            // Relative realms are resolved.
            (&[r#"Bearer realm="/token""#], bearer("https://reg.example/token", None)),
            // An escaped quote, and a quote that never closes.
            (
                &[r#"Bearer realm="https://r.example/t",service="a\"b""#],
                bearer("https://r.example/t", Some("a\"b")),
            ),
            (&[r#"Bearer realm="https://r.example/t"#], bearer("https://r.example/t", None)),
            (&["Bearer"], None),
            (&[], None),
        ] {
            assert_eq!(choose(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(text in "[ -~]{0,80}") {
            let _ = choose(&[&text]);
        }
    }
}
