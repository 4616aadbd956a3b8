//! Whether a request names this server by a name that no stranger can give it. A web site may let a name of its own resolve to an
//! address of ours (DNS rebinding); what it then reads by a visitor's browser is what the browser may read. So what is open to
//! whoever reaches it answers only under these names. Pure.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};

use crate::config::Config;

const X_FORWARDED_HOST: &str = "x-forwarded-host";

/// Names of this server, besides IP addresses and names of the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHosts(Vec<String>);

impl OwnHosts {
    /// The hosts that the configuration names: of `public_url`, and of the address to listen on.
    pub fn new(config: &Config, listen: Option<&str>) -> Self {
        let listens_on = listen.and_then(|address| address.rsplit_once(':')).map(|(host, _)| host);
        let public = config.public_url.as_ref().and_then(url::Url::host_str);
        Self([listens_on, public].into_iter().flatten().map(str::to_ascii_lowercase).collect())
    }

    /// Whether all names in a request are such ones: in its target, in `Host`, and in what a reverse proxy says that it was
    /// called. A request without any comes from no browser.
    pub fn are_named_by(&self, target: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(HOST).iter().chain(headers.get_all(X_FORWARDED_HOST));
        let has = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| text.split(',').all(|authority| self.has(authority.trim())))
        };
        target.authority().is_none_or(|authority| self.has(authority.as_str())) && named.all(has)
    }

    fn has(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        // No site has the origin of an address without being there.
        let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        // Browsers resolve these themselves (RFC 6761 section 6.3).
        let is_loopback = host == "localhost" || host.ends_with(".localhost");
        is_address || is_loopback || self.0.contains(&host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn a_name_that_a_stranger_could_own_is_none_of_ours() {
        let text = Some("public_url='https://Proxy.example.com:8443'");
        let config = Config::load(&Sources { text, variables: Vec::new(), read: &|_| Ok(String::new()) }).unwrap();
        let own = OwnHosts::new(&config, Some("Pages.internal:8081"));
        let answers = |target: &str, headers: &[(&'static str, &str)]| {
            let pair = |(name, value): &(&'static str, &str)| {
                (http::HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap())
            };
            own.are_named_by(&target.parse().unwrap(), &headers.iter().map(pair).collect())
        };
        for (host, expected) in [
            ("127.0.0.1:8081", true),
            ("192.0.2.7", true),
            ("[::1]:8081", true),
            ("[2001:db8::1]", true),
            ("localhost:8081", true),
            ("LOCALHOST", true),
            ("app.localhost:1", true),
            ("proxy.example.com", true),
            ("proxy.example.com.:8443", true),
            ("pages.internal:8081", true),
            ("evil.example:8081", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("proxy.example.com.evil.example", false),
            ("user@127.0.0.1@evil.example", false),
            ("nas:8081", false),
            ("", false),
        ] {
            assert_eq!(answers("/-/", &[("host", host)]), expected, "{host}");
        }
        for (target, headers, expected) in [
            ("/-/", &[][..], true),
            ("http://evil.example/-/", &[("host", "127.0.0.1")][..], false),
            ("http://127.0.0.1/-/", &[("host", "127.0.0.1")], true),
            // Its reverse proxy calls us by our address, and was called by another name itself.
            ("/-/", &[("host", "127.0.0.1:8081"), ("x-forwarded-host", "evil.example")], false),
            ("/-/", &[("host", "127.0.0.1:8081"), ("x-forwarded-host", "proxy.example.com")], true),
            ("/-/", &[("host", "127.0.0.1"), ("x-forwarded-host", "proxy.example.com, evil.example")], false),
            ("/-/", &[("host", "127.0.0.1"), ("host", "evil.example")], false),
        ] {
            assert_eq!(answers(target, headers), expected, "{target} {headers:?}");
        }
    }
}
