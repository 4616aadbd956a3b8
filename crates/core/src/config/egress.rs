//! `upstream.proxy`: the way out to an upstream.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::secret::SafeUrl;

/// The values that are allowed, for error messages.
pub const ALLOWED: &str =
    "expected http://host:port, https://host:port, socks5://host:port, socks5h://host:port, or none";

/// The configured way out to an upstream.
#[derive(Clone, PartialEq, Eq)]
pub enum Egress {
    /// No proxy, whatever the environment says.
    Direct,
    /// This proxy, whatever the environment says.
    Proxy(Url),
}

impl Egress {
    /// Reads `none` or the address of a proxy; `None`: it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::Direct);
        }
        let url = Url::parse(text).ok()?;
        let is_proxy = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && matches!(url.path(), "" | "/")
            && url.query().is_none();
        is_proxy.then_some(Self::Proxy(url))
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("Direct"),
            Self::Proxy(url) => write!(f, "Proxy({})", SafeUrl(url)),
        }
    }
}

impl<'de> Deserialize<'de> for Egress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A password may stand in it: what is wrong is said without it.
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom(ALLOWED))
    }
}

impl Serialize for Egress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Direct => serializer.serialize_str("none"),
            Self::Proxy(url) => serializer.collect_str(&SafeUrl(url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_a_proxy_of_a_known_kind_or_none() {
        assert_eq!(Egress::parse("none"), Some(Egress::Direct));
        for text in ["http://p:3128", "https://me:secret@p", "socks5://p:1080/", "socks5h://[::1]:1080"] {
            let shown = format!("{:?}", Egress::parse(text));
            assert!(shown.contains("Proxy(") && !shown.contains("secret"), "{shown}");
        }
        for text in
            ["", "None", "p:3128", "//p", "ftp://p", "socks4://p", "http://", "http://p/path", "http://p?q"]
        {
            assert_eq!(Egress::parse(text), None, "{text}");
        }
    }
}
