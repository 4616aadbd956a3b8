//! An address as an upstream wrote it, byte for byte: a signature may cover every byte, and parsing an address changes its
//! spelling (in a query `'` becomes `%27`, and a default port is dropped).

use http::uri::PathAndQuery;
use url::Url;

/// An address, parsed and as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    url: Url,
    /// All of it; empty where it was not written out.
    text: Box<str>,
    /// Path and query; empty where they mean something else than they seem to.
    target: Box<str>,
}

impl Location {
    /// Reads it, relative to the address that gave it.
    pub fn read(base: &Url, text: &str) -> Result<Self, url::ParseError> {
        base.join(text).map(|url| Self::of(url, text))
    }

    /// Reads one that is written out.
    pub fn parse(text: &str) -> Result<Self, url::ParseError> {
        Url::parse(text).map(|url| Self::of(url, text))
    }

    /// The path and query of a request, at this address.
    pub fn at(base: &Url, target: &str) -> Result<Self, url::ParseError> {
        Self::parse(&format!("{}{target}", base.origin().ascii_serialization()))
    }

    fn of(url: Url, text: &str) -> Self {
        let (is_whole, target) = target_in(text).unwrap_or_default();
        if !is_meant(target, &url) {
            return url.into();
        }
        Self { text: if is_whole { text } else { "" }.into(), target: target.into(), url }
    }

    /// What it means.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The address to request: the host as parsed, the rest as it was written.
    pub fn to_text(&self) -> String {
        if self.target.is_empty() {
            self.url.to_string()
        } else {
            self.below(&self.url.origin().ascii_serialization())
        }
    }

    /// The same at another address.
    pub fn below(&self, base: &str) -> String {
        let target = if self.target.is_empty() { &self.url[url::Position::BeforePath..] } else { &*self.target };
        format!("{base}{target}")
    }

    /// As it was written, for a client to parse.
    pub fn as_written(&self) -> &str {
        if self.text.is_empty() { self.url.as_str() } else { &self.text }
    }
}

impl From<Url> for Location {
    /// As it was read.
    fn from(url: Url) -> Self {
        Self { url, text: Box::default(), target: Box::default() }
    }
}

/// Whether an address is written out, and the path and query that stand in it; `None`: it is relative to another path.
fn target_in(text: &str) -> Option<(bool, &str)> {
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    let (is_whole, behind_host) = match text.split_once("//") {
        // Further behind, slashes are the path's or the query's own.
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            (!scheme.is_empty(), rest.get(rest.find(['/', '?'])?..)?)
        }
        _ => (false, text),
    };
    behind_host.starts_with('/').then_some((is_whole, behind_host))
}

/// Whether they are what was read, and can be asked for.
fn is_meant(target: &str, url: &Url) -> bool {
    let read = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    (target == read || decode(target) == decode(read)) && target.parse::<PathAndQuery>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stays_where_it_means_what_it_seems_to() {
        let base = Url::parse("https://reg.example/v2/a/b/blobs/sha256:1").unwrap();
        for (text, address, written) in [
            // Signed, in the ways that there are.
            (
                "https://cdn.example:443/x/~a%2Fb+c?sig='a'%2f&n=a b".replace(' ', "%20").as_str(),
                "https://cdn.example/x/~a%2Fb+c?sig='a'%2f&n=a%20b",
                "https://cdn.example:443/x/~a%2Fb+c?sig='a'%2f&n=a%20b",
            ),
            ("https://CDN.example/X?Y", "https://cdn.example/X?Y", "https://CDN.example/X?Y"),
            ("https://cdn.example/x?a=//b", "https://cdn.example/x?a=//b", "https://cdn.example/x?a=//b"),
            ("https://cdn.example/x?a#b", "https://cdn.example/x?a", "https://cdn.example/x?a#b"),
            // Relative to us nobody could read it.
            ("/store/x?sig='a'", "https://reg.example/store/x?sig='a'", "https://reg.example/store/x?sig=%27a%27"),
            (
                "/x?u=https://o.example/'",
                "https://reg.example/x?u=https://o.example/'",
                "https://reg.example/x?u=https://o.example/%27",
            ),
            ("//cdn.example/x?a='b'", "https://cdn.example/x?a='b'", "https://cdn.example/x?a=%27b%27"),
            ("../up?a='b'", "https://reg.example/v2/a/b/up?a=%27b%27", "https://reg.example/v2/a/b/up?a=%27b%27"),
            // It leads elsewhere than it seems to.
            ("https://cdn.example/a/../v2/x", "https://cdn.example/v2/x", "https://cdn.example/v2/x"),
            ("https://cdn.example/a/%2e%2e/v2/x", "https://cdn.example/v2/x", "https://cdn.example/v2/x"),
            ("https:\\\\cdn.example\\x", "https://cdn.example/x", "https://cdn.example/x"),
            ("https://cdn.example/a b", "https://cdn.example/a%20b", "https://cdn.example/a%20b"),
            ("https://cdn.example?a='b'", "https://cdn.example/?a=%27b%27", "https://cdn.example/?a=%27b%27"),
            // The host is always as it was understood: it was judged so.
            ("https://2130706433/x", "https://127.0.0.1/x", "https://2130706433/x"),
        ] {
            let link = Location::read(&base, text).unwrap();
            assert_eq!((link.to_text().as_str(), link.as_written()), (address, written), "{text}");
            assert!(Url::parse(link.as_written()).unwrap().as_str() == link.url().as_str(), "{text}");
        }
    }

    #[test]
    fn elsewhere_it_is_the_same_path_and_query() {
        let base = Url::parse("https://cdn.example").unwrap();
        for (text, expected) in [
            ("https://cdn.example/x?sig='a'#f", "http://us/x?sig='a'"),
            ("https://cdn.example/a/../x?'", "http://us/x?%27"),
            ("https://cdn.example", "http://us/"),
        ] {
            assert_eq!(Location::read(&base, text).unwrap().below("http://us"), expected, "{text}");
        }
        assert_eq!(Location::at(&base, "/x?a='b'").unwrap().to_text(), "https://cdn.example/x?a='b'");
    }
}
