//! Reverse proxies of other people, in front of the product, each as the page about them has it: what a reader copies is what
//! runs here, but for names, ports and certificates.

mod caddy;
mod haproxy;
mod nginx;
mod varnish;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::failure::ensure;
use crate::process::{Program, Service, wait_until};
use crate::{Context, Outcome};

pub use self::nginx::{Alone, Nginx};

const DEADLINE: Duration = Duration::from_mins(1);
/// The page with their configurations.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/behind-a-reverse-proxy.md");

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Nginx,
    Caddy,
    Haproxy,
    /// haproxy that passes bytes on, and says by the PROXY protocol whose they are.
    HaproxyTcp,
    Varnish,
}

/// One that runs, until it is dropped.
pub struct Running {
    pub service: Service,
    /// `https://localhost:PORT`
    base: String,
    _folder: TempDir,
}

impl Front {
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Caddy, Self::Haproxy, Self::HaproxyTcp, Self::Varnish];

    /// As the page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Haproxy => "haproxy",
            Self::HaproxyTcp => "haproxy, `mode tcp` with `send-proxy-v2`",
            Self::Varnish => "Varnish",
        }
    }

    /// Whether it ends TLS.
    pub fn is_https(self) -> bool {
        matches!(self, Self::Nginx | Self::Caddy | Self::Haproxy)
    }

    /// `https://localhost:PORT`
    pub fn base(self, port: u16) -> String {
        let is_https = self.is_https() || self.is_before_https();
        format!("{}://localhost:{port}", if is_https { "https" } else { "http" })
    }

    /// Whether it passes on what the product itself ends the TLS of.
    pub fn is_before_https(self) -> bool {
        matches!(self, Self::HaproxyTcp)
    }

    /// The product's own part, behind one that speaks the PROXY protocol, as the page has it: to be asked at `base`, with a
    /// certificate in this folder.
    pub fn proxy_protocol_config(folder: &Path, base: &str) -> Outcome<String> {
        let (certificate, key) = certificate(folder)?;
        adapted(
            &block("toml proxy-protocol")?,
            [
                ("https://proxy.example.com", base.to_owned()),
                ("10.0.0.5/32", "127.0.0.1/32".to_owned()),
                ("/etc/ssl/proxy/fullchain.pem", certificate.display().to_string()),
                ("/etc/ssl/proxy/key.pem", key.display().to_string()),
            ],
        )
    }

    /// Starts it on this port of this machine, in front of this address.
    pub fn start(self, port: u16, proxy: SocketAddr) -> Outcome<Running> {
        let folder = tempfile::tempdir()?;
        let program = match self {
            Self::Nginx => Nginx::default().program(folder.path(), port, proxy),
            Self::Caddy => caddy::program(folder.path(), port, proxy),
            Self::Haproxy => haproxy::program(folder.path(), port, proxy, "haproxy", "127.0.0.1:3000"),
            Self::HaproxyTcp => haproxy::program(folder.path(), port, proxy, "haproxy-tcp", "10.0.0.9:443"),
            Self::Varnish => varnish::program(folder.path(), port, proxy),
        }?;
        Running::start(program, folder, self.base(port), port)
    }
}

impl Running {
    fn start(program: Program, folder: TempDir, base: String, port: u16) -> Outcome<Self> {
        let mut service = program.start(&folder.path().join("log"))?;
        wait_until(&format!("{base} should listen"), DEADLINE, || {
            ensure(service.is_running()?, format_args!("it ended:\n{}", service.log()))?;
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        })?;
        Ok(Self { service, base, _folder: folder })
    }

    /// `https://localhost:PORT`
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `localhost:PORT`, as it stands in image names.
    pub fn address(&self) -> &str {
        self.base.split("://").nth(1).unwrap_or_default()
    }
}

/// The block of the page that is called so.
fn block(name: &str) -> Outcome<String> {
    let page = fs::read_to_string(PAGE).context(PAGE)?;
    let begin = format!("\n```{name}\n");
    let (_, rest) = page.split_once(&begin).context(format_args!("the page has no block called {name}"))?;
    Ok(rest.split("\n```").next().unwrap_or_default().to_owned() + "\n")
}

/// The text with its examples replaced, each of which must be there.
fn adapted<'a>(text: &str, changes: impl IntoIterator<Item = (&'a str, String)>) -> Outcome<String> {
    changes.into_iter().try_fold(text.to_owned(), |text, (old, new)| {
        ensure(text.contains(old), format_args!("`{old}` is not in\n{text}"))?;
        Ok(text.replace(old, &new))
    })
}

/// A certificate for `localhost` and its key, in files of this folder.
fn certificate(folder: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    let paths = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&paths.0, certificate.pem())?;
    fs::write(&paths.1, key.serialize_pem())?;
    Ok(paths)
}
