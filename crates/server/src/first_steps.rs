//! What to do with a server that has just started, for whoever started it at a terminal.

use std::fmt::Write as _;
use std::net::SocketAddr;

use registry_proxy_core::Config;

use crate::listen_address;

/// Lines for a terminal; a service's log has no use for them.
pub(crate) fn text(config: &Config, listens: SocketAddr) -> String {
    let host = match &config.public_url {
        Some(url) => url.authority().to_owned(),
        None => listen_address::shown(&listens.to_string()),
    };
    let secret = if config.clients.path_secret.is_some() { "PATH-SECRET/" } else { "" };
    let image = match config.upstream.iter().find(|upstream| upstream.default) {
        Some(upstream) if upstream.name == "docker.io" => "library/alpine".to_owned(),
        Some(_) => "OWNER/IMAGE".to_owned(),
        None => {
            config.upstream.first().map(|upstream| format!("{}/OWNER/IMAGE", upstream.name)).unwrap_or_default()
        }
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n  to pull through it         docker pull {host}/{secret}{image}");
    let _ = writeln!(
        text,
        "  under an image's own name  registry-proxy client docker    (containerd, podman …: client --help)"
    );
    let _ = writeln!(text, "  if pulls do not work       registry-proxy doctor\n");
    text
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
    }
}
