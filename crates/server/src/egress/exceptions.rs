//! `NO_PROXY`, as Go (golang.org/x/net/http/httpproxy) and so docker, containerd and podman read it: addresses reached
//! without the environment's proxies.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use ipnet::IpNet;

/// Metadata servers of Google and Tencent. Through a proxy they would answer for the proxy's machine, and it would see the
/// keys.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.tencentyun.com"];
/// The metadata server of Alibaba Cloud, whose address is not link-local.
const METADATA_OF_ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// First two groups of AWS's network for instance services (`fd00:ec2::/32`).
const NETWORK_OF_AWS: [u16; 2] = [0xfd00, 0x0ec2];

/// Addresses that are reached directly.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    /// `*`
    everything: bool,
    rules: Vec<Rule>,
    /// Whether this machine's own addresses are reached directly: always, with proxies from the environment.
    this_machine: bool,
}

#[derive(Debug)]
enum Rule {
    /// `10.0.0.0/8`
    Network(IpNet),
    /// `10.0.0.5` or `10.0.0.5:5000`
    Address(IpAddr, Option<u16>),
    /// `example.com` and its subdomains; `.example.com` or `*.example.com`: the subdomains alone. With a port, only that port.
    Domain { below: String, and_itself: bool, port: Option<u16> },
}

impl Exceptions {
    /// Parses the list. Invalid entries are ignored, as in Go.
    pub(super) fn parse(list: &str) -> Self {
        let words =
            || list.split(',').map(|word| word.trim().to_ascii_lowercase()).filter(|word| !word.is_empty());
        Self {
            everything: words().any(|word| word == "*"),
            rules: words().filter_map(|word| Rule::parse(&word)).collect(),
            this_machine: true,
        }
    }

    /// Whether an address is reached directly.
    pub(super) fn include(&self, uri: &Uri) -> bool {
        let host =
            uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let address = host.parse::<IpAddr>().ok();
        let is_here = self.this_machine
            && match address {
                Some(address) => is_near(&address),
                None => host == "localhost" || METADATA_NAMES.contains(&&*host),
            };
        self.everything || is_here || self.rules.iter().any(|rule| rule.includes(&host, address, port))
    }
}

/// Loopback, link-local and metadata addresses: they mean something else on the proxy's machine.
fn is_near(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || *v4 == METADATA_OF_ALIBABA,
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unicast_link_local() || v6.segments().starts_with(&NETWORK_OF_AWS)
        }
    }
}

impl Rule {
    fn parse(word: &str) -> Option<Self> {
        if let Ok(network) = word.parse() {
            return Some(Self::Network(network));
        }
        let (host, port) = match word.rsplit_once(':') {
            // An IPv6 address without a port has colons, too.
            Some((host, port)) if word.parse::<IpAddr>().is_err() => (host, Some(port.parse().ok()?)),
            Some(_) | None => (word, None),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address, port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let (below, and_itself) = match host.strip_prefix('.') {
            Some(_) => (host.to_owned(), false),
            None => (format!(".{host}"), true),
        };
        (below.len() > 1).then_some(Self::Domain { below, and_itself, port })
    }

    fn includes(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(own, of) => address == Some(*own) && of.is_none_or(|of| of == port),
            Self::Domain { below, and_itself, port: of } => {
                let is_meant = host.ends_with(below.as_str()) || *and_itself && below.get(1..) == Some(host);
                is_meant && of.is_none_or(|of| of == port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        let list = "example.com, .below.test,*.star.test,port.test:5000,10.0.0.0/8,192.0.2.7,192.0.2.8:5000,\
                    fd02::/16,2001:db8::7,[2001:db8::8]:5000,CAPS.test,bad/99,x:y";
        let direct = Exceptions::parse(list);
        for (uri, expected) in [
            ("https://example.com/", true),
            ("https://EXAMPLE.com./", true),
            ("https://a.b.example.com/", true),
            ("https://notexample.com/", false),
            ("https://a.below.test/", true),
            ("https://below.test/", false),
            ("https://a.star.test/", true),
            ("https://star.test/", false),
            ("http://port.test:5000/", true),
            ("http://a.port.test:5000/", true),
            ("http://port.test/", false),
            ("http://10.1.2.3:5000/", true),
            ("http://11.1.2.3/", false),
            ("https://192.0.2.7/", true),
            ("https://192.0.2.8/", false),
            ("https://192.0.2.8:5000/", true),
            ("https://[fd02::1]/", true),
            ("https://[2001:db8::7]:9/", true),
            ("https://[2001:db8::8]:5000/", true),
            ("https://[2001:db8::8]/", false),
            ("https://caps.test/", true),
            ("https://other.test/", false),
            // By themselves.
            ("http://localhost:5000/", true),
            ("http://127.0.0.1:5000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:5000/", true),
            ("http://169.254.169.254/latest", true),
            ("http://169.254.170.2/v2/credentials", true),
            ("http://[fe80::a9fe:a9fe]/latest", true),
            ("http://100.100.100.200/latest", true),
            ("http://100.100.100.201/latest", false),
            ("http://[fd00:ec2::254]/latest", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://[fd01::254]/latest", false),
            ("http://metadata.google.internal/computeMetadata", true),
            ("http://METADATA.google.internal./computeMetadata", true),
            ("http://metadata.tencentyun.com/latest", true),
            ("http://other.google.internal/", false),
            ("http://mirrors.tencentyun.com/", false),
        ] {
            assert_eq!(direct.include(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn a_port_that_is_not_written_is_that_of_the_scheme() {
        let direct = Exceptions::parse("a.test:443,b.test:80");
        for (uri, expected) in [
            ("https://a.test/", true),
            ("http://a.test/", false),
            ("http://b.test/", true),
            ("https://b.test/", false),
        ] {
            assert_eq!(direct.include(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn a_star_stands_for_everything_and_nothing_for_nothing_but_this_machine() {
        assert!(Exceptions::parse("a.test, *").include(&"https://b.test/".parse().unwrap()));
        assert!(!Exceptions::parse("").include(&"https://b.test/".parse().unwrap()));
        assert!(Exceptions::parse("").include(&"http://localhost/".parse().unwrap()));
        assert!(
            !Exceptions::default().include(&"http://localhost/".parse().unwrap()),
            "a proxy that is configured"
        );
    }
}
