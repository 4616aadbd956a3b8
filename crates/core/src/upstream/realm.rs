//! Where a password may go, and where a redirect may lead: pure decisions about hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::public_suffix;
use crate::catalogue;

/// Whether a password for the registry at `registry` may be sent to the token server at `realm`: on its own host
/// and port, on its registrable domain, as the profile knows, or as the configuration says.
pub(super) fn is_trusted(registry: &Url, realm: &Url, configured: &[Url]) -> bool {
    if realm.scheme() != "https" && !(realm.scheme() == "http" && registry.scheme() == "http") {
        return false;
    }
    let (Some(registry_host), Some(realm_host)) = (registry.host(), realm.host()) else { return false };
    let same_origin = registry.origin() == realm.origin();
    let same_domain = match (&registry_host, &realm_host) {
        (Host::Domain(one), Host::Domain(two)) => {
            let (one, two) = (registrable_domain(one), registrable_domain(two));
            one.is_some() && one == two
        }
        // An address is its own domain, port included: the same origin, or none.
        _ => false,
    };
    same_origin
        || same_domain
        || catalogue::is_known_realm(&registry_host.to_string(), &realm_host.to_string())
        || configured.iter().any(|url| url.origin() == realm.origin())
}

/// The domain that somebody registered: `docker.io` of `auth.docker.io`. A name without a public suffix
/// (`localhost`, `registry`) has none.
fn registrable_domain(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    public_suffix::registrable_domain(&host).map(str::to_owned)
}

/// The wire server of Azure: it hands out credentials to every machine there, at a public address.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Networks of IPv6 that upstreams must not lead to: address, and number of prefix bits (RFC 6890, and the IANA registry of
/// special-purpose addresses).
const PRIVATE_V6: [(Ipv6Addr, u32); 14] = [
    // Unspecified, loopback, and IPv4-compatible addresses, which carry any IPv4 address (RFC 4291 section 2.5.5.1).
    (Ipv6Addr::UNSPECIFIED, 96),
    // IPv4-translated (RFC 2765), and NAT64 within a site (RFC 8215).
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // Discard only (RFC 6666).
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    // Teredo, which carries an IPv4 address that is not written plainly (RFC 4380); benchmarking; ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // Unique local, link-local, site-local (RFC 3879), multicast.
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Whether an address is not public: loopback, private, link-local (where clouds serve their metadata), shared, multicast,
/// reserved (P-66).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || v4 == AZURE_WIRE_SERVER
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_private(IpAddr::V4(v4));
            }
            // NAT64 and 6to4 carry an IPv4 address inside, written plainly.
            let octets = v6.octets();
            let carried = match v6.segments() {
                [0x64, 0xff9b, ..] => octets.last_chunk::<4>().copied(),
                [0x2002, ..] => octets.get(2..6).and_then(|part| part.try_into().ok()),
                _ => None,
            };
            let is_in = |(network, bits): &(Ipv6Addr, u32)| {
                (v6.to_bits() ^ network.to_bits()).checked_shr(128 - bits) == Some(0)
            };
            PRIVATE_V6.iter().any(is_in) || carried.is_some_and(|v4: [u8; 4]| is_private(IpAddr::from(v4)))
        }
    }
}

/// Whether a registry is private by its configuration: at a private address, or under a name that is nobody's in the public
/// DNS (`registry`, `harbor.lan`, `localhost`). What a public name leads to says its owner, who is not asked whether the
/// owner's redirects may go to private addresses (P-66).
pub(super) fn is_private_registry(registry: &Url) -> bool {
    match registry.host() {
        Some(Host::Ipv4(v4)) => is_private(v4.into()),
        Some(Host::Ipv6(v6)) => is_private(v6.into()),
        Some(Host::Domain(name)) => !has_public_suffix(name),
        None => false,
    }
}

/// Whether a name ends in a suffix below which people register names.
fn has_public_suffix(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    public_suffix::suffix(&host).is_some()
}

/// The address, where a URL names one instead of a host.
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_to_its_own_registry_and_nowhere_else() {
        for (registry, realm, expected) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://nvcr.io", "https://authn.nvidia.com/token", true),
            ("https://ghcr.io", "https://authn.nvidia.com/token", false),
            ("https://ghcr.io", "https://evil.example/token", false),
            ("https://ghcr.io", "https://ghcr.io.evil.example/token", false),
            ("https://ghcr.io", "http://ghcr.io/token", false),
            // Two customers of one public suffix are strangers.
            ("https://alice.github.io", "https://bob.github.io/token", false),
            ("https://a.co.uk", "https://b.co.uk/t", false),
            // Names without a public suffix and addresses are their own domain, port included.
            ("http://registry:5000", "http://registry:5000/token", true),
            ("http://registry:5000", "http://registry:5001/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", false),
            ("http://10.0.0.1", "http://10.0.0.2/token", false),
            ("http://a.internal", "http://b.internal/token", false),
            ("http://reg.example.com", "https://auth.example.com/token", true),
            ("https://reg.example.com", "file:///etc/passwd", false),
        ] {
            let (registry, realm) = (Url::parse(registry).unwrap(), Url::parse(realm).unwrap());
            assert_eq!(is_trusted(&registry, &realm, &[]), expected, "{registry} {realm}");
        }
        let configured = [Url::parse("https://sso.corp.example").unwrap()];
        let registry = Url::parse("https://reg.other.example").unwrap();
        assert!(is_trusted(&registry, &Url::parse("https://sso.corp.example/token?x=1").unwrap(), &configured));
        assert!(!is_trusted(&registry, &Url::parse("https://sso.corp.example:444/token").unwrap(), &configured));
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fd00:ec2::254",
            // IPv4-compatible, Teredo, site-local, and Azure's wire server: none has a letter of the above.
            "::7f00:1",
            "::a9fe:a9fe",
            "::8.8.8.8",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "fec0::1",
            "feff::1",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "64:ff9b::a83f:8110",
            "64:ff9b:1::808:808",
            "::ffff:0:7f00:1",
            "100::1",
            "3fff::1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "168.63.129.15",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2001:4860:4860::8888",
            "2001:1::1",
            "101::1",
            "2002:101:101::",
            "::1:0:0:1",
        ] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_registry_is_private_by_what_the_configuration_says_and_not_by_dns() {
        for (url, expected) in [
            ("http://10.0.0.1:5000", true),
            ("https://[fd00::1]", true),
            ("http://[::ffff:127.0.0.1]:5000", true),
            ("http://localhost:5000", true),
            ("http://registry:5000", true),
            ("https://harbor.lan", true),
            ("https://registry.corp.internal", true),
            ("https://1.1.1.1", false),
            ("https://registry-1.docker.io", false),
            // Whoever owns the name may let it lead to 10.0.0.1.
            ("https://rebind.example.com", false),
            ("https://harbor.corp.example.com.", false),
            ("https://alice.github.io", false),
        ] {
            assert_eq!(is_private_registry(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
