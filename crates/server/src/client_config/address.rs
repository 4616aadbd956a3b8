//! The proxy's address as clients write it: as an origin, as a path of the registry API, as a prefix of image names.

use std::net::Ipv4Addr;

use url::{Host, Url};

/// Where clients reach the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyAddress {
    is_https: bool,
    /// Host, and the port unless it is the scheme's own.
    authority: String,
    /// The path secret, which every request must contain.
    secret: Option<String>,
    is_loopback: bool,
}

impl ProxyAddress {
    /// Reads a URL: scheme, host, and as its path nothing or the path secret.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| Err(format!("--url: {what}, as in https://proxy.example.com or http://127.0.0.1:3000"));
        let Ok(url) = Url::parse(text) else { return wrong("expected scheme and host") };
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return wrong("expected https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("clients take no login from an address; expected scheme and host");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("expected nothing behind the path");
        }
        let Some(host) = url.host() else { return wrong("expected a host") };
        let is_loopback = match host {
            Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified(),
            Host::Ipv6(ip) => ip.is_loopback() || ip.is_unspecified(),
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let mut address = Self { is_https: url.scheme() == "https", authority, secret: None, is_loopback };
        let path = url.path().trim_matches('/');
        if !path.is_empty() {
            if !path
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
            {
                return wrong("expected no path, or the path secret alone");
            }
            address.secret = Some(path.to_owned());
        }
        Ok(address)
    }

    /// The same with this path secret, unless the URL had one.
    pub(crate) fn with_secret(mut self, secret: Option<&str>) -> Self {
        self.secret = self.secret.or_else(|| secret.map(ToOwned::to_owned));
        self
    }

    /// `https://proxy.example.com`, for clients that add `/v2/` themselves; with the path secret.
    pub(crate) fn mirror(&self) -> String {
        format!("{}{}", self.origin(), self.secret_segment())
    }

    /// `https://proxy.example.com/v2/ghcr.io`, for clients that add nothing.
    pub(crate) fn api(&self, registry: &str) -> String {
        format!("{}/v2{}/{registry}", self.origin(), self.secret_segment())
    }

    /// `proxy.example.com/ghcr.io`, for clients that write mirrors as image names.
    pub(crate) fn location(&self, registry: &str) -> String {
        format!("{}{}/{registry}", self.authority, self.secret_segment())
    }

    /// Another host of the proxy, by the same scheme.
    pub(crate) fn at_host(&self, host: &str) -> Self {
        Self { authority: host.to_owned(), ..self.clone() }
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    pub(crate) fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether only the proxy's own machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Whether dockerd takes plain http from it unasked: it does from 127.0.0.0/8.
    pub(crate) fn is_trusted_by_docker(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        self.is_https || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    fn secret_segment(&self) -> String {
        self.secret.as_ref().map(|secret| format!("/{secret}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_the_form_that_each_client_wants() {
        let proxy = ProxyAddress::parse("https://proxy.example.com/").unwrap();
        assert_eq!(proxy.mirror(), "https://proxy.example.com");
        assert_eq!(proxy.api("ghcr.io"), "https://proxy.example.com/v2/ghcr.io");
        assert_eq!(proxy.location("ghcr.io"), "proxy.example.com/ghcr.io");
        let local = ProxyAddress::parse("http://127.0.0.1:3000").unwrap().with_secret(Some("s3cret-of-the-path"));
        assert_eq!(local.mirror(), "http://127.0.0.1:3000/s3cret-of-the-path");
        assert_eq!(local.api("ghcr.io"), "http://127.0.0.1:3000/v2/s3cret-of-the-path/ghcr.io");
        assert_eq!(local.location("ghcr.io"), "127.0.0.1:3000/s3cret-of-the-path/ghcr.io");
        assert!(local.is_loopback() && local.is_trusted_by_docker());
        let v6 = ProxyAddress::parse("http://[::1]:3000").unwrap();
        assert_eq!(v6.location("ghcr.io"), "[::1]:3000/ghcr.io");
        assert!(v6.is_loopback() && !v6.is_trusted_by_docker());
    }

    #[test]
    fn what_is_no_address_of_a_proxy_is_refused_with_an_example_and_without_its_password() {
        for wrong in [
            "proxy.example.com",
            "127.0.0.1:3000",
            "ftp://proxy.example.com",
            "https://me:hunter2@proxy.example.com",
            "https://proxy.example.com/v2/ghcr.io",
            "https://proxy.example.com/?a",
            "https://proxy.example.com/\"]\nx=1",
        ] {
            let error = ProxyAddress::parse(wrong).unwrap_err();
            assert!(error.contains("as in https://proxy.example.com") && !error.contains("hunter2"), "{error}");
        }
    }
}
