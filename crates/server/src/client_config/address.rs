//! The proxy's address as it is written on the command line.

use registry_proxy_core::client_snippets::ProxyAddress;
use url::Url;

/// Where clients reach the proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WrittenAddress {
    is_https: bool,
    /// Host, and the port unless it is the scheme's own.
    host: String,
    /// The path secret, which every request must contain.
    secret: Option<String>,
}

impl WrittenAddress {
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
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let mut address = Self { is_https: url.scheme() == "https", host, secret: None };
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

    /// As the clients' files are made from it.
    pub(crate) fn as_clients_see_it(&self) -> ProxyAddress<'_> {
        ProxyAddress { is_https: self.is_https, host: &self.host, path_secret: self.secret.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_the_path_secret() {
        for (text, root) in [
            ("https://proxy.example.com/", "https://proxy.example.com"),
            ("https://proxy.example.com:443", "https://proxy.example.com"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://127.0.0.1:3000/of-the-url", "http://127.0.0.1:3000/of-the-url"),
        ] {
            let address = WrittenAddress::parse(text).unwrap_or_else(|what| panic!("{text}: {what}"));
            assert_eq!(address.as_clients_see_it().root(), root, "{text}");
        }
        let guarded = |text| WrittenAddress::parse(text).unwrap().with_secret(Some("configured"));
        assert_eq!(guarded("http://p.test").as_clients_see_it().root(), "http://p.test/configured");
        assert_eq!(guarded("http://p.test/of-the-url").as_clients_see_it().root(), "http://p.test/of-the-url");
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
            let error = WrittenAddress::parse(wrong).err().unwrap();
            assert!(error.contains("as in https://proxy.example.com") && !error.contains("hunter2"), "{error}");
        }
    }
}
