//! What is wrong in a `hosts.toml` that names this proxy: containerd says nothing of it and asks the registry itself.
//! Format: <https://github.com/containerd/containerd/blob/main/docs/hosts.md>.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;

use toml::Table;
use url::{Host, Url};

use super::finding::Finding;

/// Larger files are no configuration.
const MAX_BYTES: u64 = 1 << 20;
const WRITE: &str = "registry-proxy client containerd --write puts it right";

/// Where clients may reach this proxy.
pub(super) struct ProxyAddresses<'a> {
    pub(super) public_url: Option<&'a Url>,
    pub(super) listen: SocketAddr,
}

impl ProxyAddresses<'_> {
    /// Whether an address is on this proxy's host. The address of this machine itself counts as well.
    fn is_same_host(&self, url: &Url) -> bool {
        let is_listened_at = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback() || self.listen.ip() == address,
            Some(Host::Ipv6(address)) => address.is_loopback() || self.listen.ip() == address,
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        is_listened_at || self.public_url.is_some_and(|public| public.host() == url.host())
    }

    fn is_same_port(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        port == Some(self.listen.port())
            || self
                .public_url
                .is_some_and(|public| public.host() == url.host() && public.port_or_known_default() == port)
    }
}

/// The faults of the files at these paths.
pub(super) fn findings(paths: &[String], proxy: &ProxyAddresses<'_>) -> Vec<Finding> {
    let read = |path: &String| {
        let mut text = String::new();
        File::open(path).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        Some(faults(path, &text, proxy))
    };
    paths.iter().filter_map(read).flatten().collect()
}

fn faults(path: &str, text: &str, proxy: &ProxyAddresses<'_>) -> Vec<Finding> {
    let error = |what: String, next: String| Finding::error("client containerd", format!("{path}: {what}"), next);
    let file = match text.parse::<Table>() {
        Ok(file) => file,
        Err(no) => {
            return vec![error(
                format!("is no TOML: {}", no.message()),
                "mend it; containerd skips the file".into(),
            )];
        }
    };
    let server = file.get("server").and_then(|server| Some((server.as_str()?, &file)));
    let hosts = file.get("host").and_then(|hosts| hosts.as_table()).into_iter().flatten();
    let hosts = hosts.filter_map(|(url, keys)| Some((url.as_str(), keys.as_table()?)));
    let hosts = server.into_iter().chain(hosts);
    let ours: Vec<(&str, Url, &Table)> = hosts
        .filter_map(|(written, keys)| Some((written, Url::parse(written).ok()?, keys)))
        .filter(|(_, url, _)| proxy.is_same_host(url))
        .collect();
    // Another server of this machine may stand beside the proxy in the file.
    let is_named = ours.iter().any(|(_, url, _)| proxy.is_same_port(url));
    let fault = |(written, url, keys): &(&str, Url, &Table)| {
        if !proxy.is_same_port(url) {
            let what = format!("{written} is another port than this proxy's, which is {}", proxy.listen.port());
            return (!is_named).then(|| error(what, WRITE.to_owned()));
        }
        let has_path = url.path().strip_prefix("/v2/").is_some_and(|path| !path.is_empty());
        let overrides = keys.get("override_path").and_then(toml::Value::as_bool).unwrap_or(false);
        (has_path && !overrides).then(|| {
            let asked = url.path();
            error(
                format!("{written} has a path, and override_path is missing: containerd asks for {asked}/v2/…"),
                format!("put override_path = true below it; {WRITE}"),
            )
        })
    };
    ours.iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, public_url: Option<&str>) -> Vec<String> {
        let public_url = public_url.map(|url| Url::parse(url).unwrap());
        let proxy = ProxyAddresses { public_url: public_url.as_ref(), listen: "0.0.0.0:3000".parse().unwrap() };
        let found = faults("hosts.toml", text, &proxy);
        assert!(found.iter().all(|finding| finding.next.is_some()));
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_host_that_never_reaches_this_proxy_is_told() {
        let right = "server = 'https://ghcr.io'\n[host.'http://127.0.0.1:3000/v2/ghcr.io']\noverride_path = true\n\
                     [host.'http://127.0.0.1:3000']\n[host.'http://127.0.0.1:3000/ghcr.io']\n[host.'https://other.test/v2/a']\n\
                     [host.'http://127.0.0.1:30020']\n";
        assert_eq!(told(right, None), Vec::<String>::new());
        for (text, public_url, part) in [
            ("[host.'http://127.0.0.1:3000/v2/ghcr.io']\n", None, "asks for /v2/ghcr.io/v2/…"),
            ("[host.'http://[::1]:3000/v2/ghcr.io']\noverride_path = false\n", None, "override_path is missing"),
            ("server = 'https://proxy.test/v2/ghcr.io'\n", Some("https://proxy.test"), "override_path is missing"),
            ("[host.'http://localhost:5000']\n", None, "another port than this proxy's, which is 3000"),
            ("[host.'https://proxy.test:8443']\n", Some("https://proxy.test"), "another port"),
            ("[host.'http://127.0.0.1:3000'\n", None, "is no TOML"),
        ] {
            let found = told(text, public_url);
            assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
        }
        assert_eq!(told("[host.'https://proxy.test']\n", Some("https://proxy.test")), Vec::<String>::new());
    }
}
