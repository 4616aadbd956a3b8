//! Where the requests for a login may go. None of these addresses comes from a client or from an upstream: they are built in,
//! or the environment names them.

use std::net::IpAddr;

use http::Uri;

/// The addresses on IPv6 at which AWS tells an instance or a pod who it is. On IPv4 all clouds use link-local addresses, which
/// no router passes on: EC2, Google and Azure 169.254.169.254, ECS 169.254.170.2, EKS 169.254.170.23, App Service its own.
const METADATA_V6: [&str; 2] = ["fd00:ec2::254", "fd00:ec2::23"];

/// The kind of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// The metadata service of the machine: plain HTTP, and never through a forward proxy, which is on another machine.
    Metadata,
    /// A service of the cloud, over TLS and the upstream's way out.
    Service,
}

/// The destination of an address; `None`: nothing is sent there. Over plain HTTP there are only the metadata addresses and
/// this machine itself, as in the tools of the clouds.
pub(super) fn of(uri: &Uri) -> Option<Destination> {
    let host = uri.host()?.trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>().ok();
    match uri.scheme_str()? {
        "https" => Some(Destination::Service),
        "http" => {
            let is_near = match address {
                Some(IpAddr::V4(address)) => address.is_link_local() || address.is_loopback(),
                Some(IpAddr::V6(address)) => {
                    address.is_loopback() || METADATA_V6.iter().any(|known| known.parse() == Ok(address))
                }
                None => host == "localhost",
            };
            is_near.then_some(Destination::Metadata)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_reaches_the_metadata_addresses_and_this_machine_only() {
        let of = |uri: &str| of(&uri.parse().unwrap());
        for uri in [
            "http://169.254.169.254/latest/api/token",
            "http://169.254.170.2/v2/credentials/x",
            "http://169.254.170.23/v1/credentials",
            "http://169.254.129.3:8081/msi/token",
            "http://[fd00:ec2::254]/latest",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://[FD00:EC2:0::23]/v1/credentials",
            "http://127.0.0.1:41/token",
            "http://[::1]:41/token",
            "http://localhost:41/token",
        ] {
            assert_eq!(of(uri), Some(Destination::Metadata), "{uri}");
        }
        for uri in [
            "http://169.254.169.254.evil.test/",
            "http://10.0.0.1/",
            "http://sts.amazonaws.com/",
            "http://metadata.google.internal/",
            "http://[fd00:ec2::253]/",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
            "ftp://169.254.169.254/",
            "/latest",
        ] {
            assert_eq!(of(uri), None, "{uri}");
        }
        assert_eq!(of("https://sts.eu-central-1.amazonaws.com/"), Some(Destination::Service));
    }
}
