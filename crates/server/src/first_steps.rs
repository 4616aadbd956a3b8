//! What to do with a server that has just started, for whoever started it at a terminal.

use std::fmt::Write as _;
use std::net::SocketAddr;

use registry_proxy_core::Config;
use registry_proxy_core::client_snippets::ProxyAddress;
use registry_proxy_core::route::Routes;

use crate::listen_address;

/// Lines for a terminal; a service's log has no use for them.
pub(crate) fn text(config: &Config, listens: SocketAddr) -> String {
    let (is_https, host) = match &config.public_url {
        Some(url) => (url.scheme() == "https", url.authority().to_owned()),
        None => (config.tls.cert_file.is_some(), listen_address::shown(&listens.to_string())),
    };
    // The secret itself is for nobody who looks over a shoulder.
    let path_secret = config.clients.path_secret.is_some().then_some("PATH-SECRET");
    let image = image(config, &ProxyAddress { is_https, host: &host, path_secret });
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n  to pull through it         docker pull {image}");
    let _ = writeln!(
        text,
        "  under an image's own name  registry-proxy client docker    (containerd, podman …: client --help)"
    );
    let _ = writeln!(text, "  if pulls do not work       registry-proxy doctor\n");
    text
}

/// An image as it is called at this address: of the default registry, or else of the first.
fn image(config: &Config, address: &ProxyAddress<'_>) -> String {
    let routes = Routes::new(config);
    let Ok(mirrors) = routes.mirrors(address.host, &[]) else {
        return format!("{}/OWNER/IMAGE", address.in_names(None));
    };
    let registries = mirrors.registries();
    let Some(mirrored) = registries.iter().find(|one| one.is_default).or(registries.first()) else {
        let upstream = config.upstream.first().map(|upstream| upstream.name.as_str());
        return format!("{}/OWNER/IMAGE", address.in_names(upstream));
    };
    let place = address.in_names(mirrored.segment.filter(|_| !mirrored.is_default));
    let image = if mirrored.registry == "docker.io" { "library/alpine" } else { "OWNER/IMAGE" };
    format!("{place}/{image}")
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::config::Sources;

    use super::*;

    #[test]
    fn the_first_lines_say_what_to_pull_and_never_the_secret() {
        let load = |text: &str| {
            let variables = Vec::new();
            let read = |_: &str| -> std::io::Result<String> { Err(std::io::ErrorKind::NotFound.into()) };
            Config::load(&Sources { text: Some(text), variables, read: &read }).unwrap()
        };
        let at = |toml: &str, listens: &str| text(&load(toml), listens.parse().unwrap());
        assert!(at("", "0.0.0.0:3000").contains("docker pull 127.0.0.1:3000/library/alpine\n"));
        let one = "public_url = 'https://proxy.example.com'\n[clients]\npath_secret = 's3cret-of-the-path'\n[[upstream]]\nname = 'ghcr.io'\n";
        let shown = at(one, "127.0.0.1:3000");
        assert!(shown.contains("docker pull proxy.example.com/PATH-SECRET/ghcr.io/OWNER/IMAGE\n"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
        // Docker Hub by another name, and a host that looks like a part of a repository's name.
        let hub =
            "public_url = 'https://proxy'\n[[upstream]]\nname = 'hub'\nurls = ['https://registry-1.docker.io']\n";
        assert!(at(hub, "127.0.0.1:3000").contains("docker pull proxy:443/hub/library/alpine\n"));
        assert!(
            at(&format!("{hub}default = true"), "127.0.0.1:3000")
                .contains("docker pull proxy:443/library/alpine\n")
        );
    }
}
