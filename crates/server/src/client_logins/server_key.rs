//! Under which name a login is stored: clients write the same server in several ways, `proxy.example.com`,
//! `https://proxy.example.com/` or `https://proxy.example.com/v2/`.

use std::fmt;

/// The longest name.
const MOST_BYTES: usize = 1024;

/// A host in lower case, with its port, and with a path where the login is for a part of it alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerKey(String);

impl ServerKey {
    /// `None`: the text names no server.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let text = text.trim_end_matches('/');
        let text = text.strip_suffix("/v1").or_else(|| text.strip_suffix("/v2")).unwrap_or(text);
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        let is_host =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/');
        if text.len() > MOST_BYTES
            || !host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            || !host.bytes().all(is_host)
            || !path.unwrap_or_default().bytes().all(is_path)
        {
            return None;
        }
        let host = host.to_ascii_lowercase();
        Some(Self(path.map_or_else(|| host.clone(), |path| format!("{host}/{path}"))))
    }

    /// The server as a whole; `None`: this is a part of it.
    pub(super) fn whole_server(text: &str) -> Option<Self> {
        Self::parse(text).filter(|key| !key.0.contains('/'))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_in_which_clients_write_a_server_are_one() {
        for (written, key) in [
            ("proxy.example.com", "proxy.example.com"),
            ("Proxy.Example.com\n", "proxy.example.com"),
            ("https://proxy.example.com", "proxy.example.com"),
            ("https://proxy.example.com/v2/", "proxy.example.com"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://127.0.0.1:3000/", "127.0.0.1:3000"),
            ("[fd00::1]:3000", "[fd00::1]:3000"),
            ("proxy.example.com/ghcr.io/Owner", "proxy.example.com/ghcr.io/Owner"),
        ] {
            assert_eq!(ServerKey::parse(written).unwrap().as_str(), key, "{written}");
        }
        assert_eq!(ServerKey::whole_server("proxy.example.com/ghcr.io"), None);
    }

    #[test]
    fn what_names_no_server_is_refused() {
        let long = "a".repeat(2000);
        for text in
            ["", "https://", "/v2/", "user@proxy.test", "proxy.test?x", "a b", "-x", "proxy.test\u{1b}[2J", &long]
        {
            assert_eq!(ServerKey::parse(text), None, "{text:.40}");
        }
    }
}
