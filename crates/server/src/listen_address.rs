//! Where a server that listens on an address is reached from this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses to connect to, the best first: `0.0.0.0` and `[::]` mean all addresses of the machine.
pub(crate) fn reachable(listens: SocketAddr) -> Vec<SocketAddr> {
    let with = |ip: IpAddr| SocketAddr::new(ip, listens.port());
    match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![with(Ipv4Addr::LOCALHOST.into())],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![with(Ipv6Addr::LOCALHOST.into()), with(Ipv4Addr::LOCALHOST.into())]
        }
        IpAddr::V4(_) | IpAddr::V6(_) => vec![listens],
    }
}

/// The best of them for `listen` of the configuration, which may have a name in place of an address.
pub(crate) fn shown(listen: &str) -> String {
    let best = listen.parse().ok().and_then(|listens| reachable(listens).first().copied());
    best.map_or_else(|| listen.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_all_is_reached_on_this_machine() {
        for (listens, reached) in [
            ("0.0.0.0:3000", vec!["127.0.0.1:3000"]),
            ("[::]:3000", vec!["[::1]:3000", "127.0.0.1:3000"]),
            ("10.0.0.0:80", vec!["10.0.0.0:80"]),
            ("10.1.2.3:80", vec!["10.1.2.3:80"]),
        ] {
            let reached: Vec<SocketAddr> = reached.into_iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(reachable(listens.parse().unwrap()), reached, "{listens}");
            assert_eq!(shown(listens), reached[0].to_string());
        }
        assert_eq!(shown("localhost:3000"), "localhost:3000");
    }
}
