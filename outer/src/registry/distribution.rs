//! Debian's `docker-registry`: as an upstream of every kind of login, and as a cache near the
//! clients, in front of the product.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Seed, TokenServer};
use crate::process::{Program, Service, Tool};
use crate::{Outcome, users};

/// How clients log in.
pub enum Access<'a> {
    Open,
    Basic(&'a [(&'a str, &'a str)]),
    Token(&'a TokenServer),
}

/// What it holds.
pub enum Storage<'a> {
    /// The images of the tests, read only: any number of registries shares them.
    Seeded(&'a Seed),
    /// What lies in a folder, read only.
    Shared(&'a Path),
    /// Nothing, and pushes are welcome.
    Fresh,
    /// The same, in memory: for many small things, each of which would have to be on the disk first.
    InMemory,
    /// Somebody else's folder, writable.
    At(&'a Path),
    /// What it has fetched from this URL, with these credentials if any.
    CacheOf(&'a str, Option<(&'a str, &'a str)>),
}

/// A running registry.
pub struct Registry {
    service: Service,
    address: SocketAddr,
    _folder: TempDir,
}

impl Registry {
    pub fn start(storage: &Storage<'_>, access: &Access<'_>) -> Outcome<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST), storage, access)
    }

    /// Listens on a free port of this address.
    pub fn start_on(address: IpAddr, storage: &Storage<'_>, access: &Access<'_>) -> Outcome<Self> {
        let listen = SocketAddr::new(address, 0);
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.yml");
        let text = [
            "version: 0.1\nlog: {level: info}\n".to_owned(),
            storage_section(storage, folder.path()),
            format!("http: {{addr: '{listen}'}}\n"),
            access_section(access, folder.path())?,
        ];
        fs::write(&config, text.concat())?;
        let mut service = Program::tool(Tool::DOCKER_REGISTRY)?
            .argument("serve")
            .argument(&config)
            .variable("OTEL_TRACES_EXPORTER", "none")
            .start(&folder.path().join("log"))?;
        let rest = service.wait_for_log("listening on ")?;
        Ok(Self { service, address: address_at_start(&rest)?, _folder: folder })
    }

    /// Open, with the images of the tests.
    pub fn seeded(seed: &Seed) -> Outcome<Self> {
        Self::start(&Storage::Seeded(seed), &Access::Open)
    }

    /// Open and empty.
    pub fn fresh() -> Outcome<Self> {
        Self::start(&Storage::Fresh, &Access::Open)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its access log and messages.
    pub fn log(&self) -> String {
        self.service.log()
    }
}

/// The `IP:PORT` a line goes on with.
pub(crate) fn address_at_start(text: &str) -> Outcome<SocketAddr> {
    let end = text.find(|character: char| !character.is_ascii_hexdigit() && !".:[]".contains(character));
    Ok(text[..end.unwrap_or(text.len())].parse()?)
}

fn storage_section(storage: &Storage<'_>, folder: &Path) -> String {
    let (root, read_only): (Option<PathBuf>, _) = match storage {
        Storage::Seeded(seed) => (Some(seed.storage()), true),
        Storage::Shared(path) => (Some((*path).to_owned()), true),
        Storage::At(path) => (Some((*path).to_owned()), false),
        Storage::Fresh | Storage::CacheOf(..) => (Some(folder.join("storage")), false),
        Storage::InMemory => (None, false),
    };
    let driver = match root {
        Some(root) => format!("filesystem: {{rootdirectory: '{}'}}", root.display()),
        None => "inmemory: {}".to_owned(),
    };
    let section = format!(
        "storage:\n  {driver}\n  delete: {{enabled: {}}}\n  \
         maintenance:\n    uploadpurging: {{enabled: false}}\n    readonly: {{enabled: {read_only}}}\n",
        !read_only,
    );
    section + &cache_section(storage)
}

fn cache_section(storage: &Storage<'_>) -> String {
    let Storage::CacheOf(url, credentials) = storage else {
        return String::new();
    };
    let section = format!("proxy:\n  remoteurl: '{url}'\n");
    match credentials {
        None => section,
        Some((user, password)) => format!("{section}  username: '{user}'\n  password: '{password}'\n"),
    }
}

fn access_section(access: &Access<'_>, folder: &Path) -> Outcome<String> {
    match access {
        Access::Open => Ok(String::new()),
        Access::Basic(accounts) => {
            let file = folder.join("htpasswd");
            users::write(&file, accounts)?;
            let path = file.display();
            Ok(format!("auth:\n  htpasswd: {{realm: outer, path: '{path}'}}\n"))
        }
        Access::Token(server) => {
            let file = folder.join("token.pem");
            fs::write(&file, server.certificate_pem())?;
            Ok(format!(
                "auth:\n  token:\n    realm: '{}'\n    service: '{}'\n    issuer: '{}'\n    \
                 rootcertbundle: '{}'\n",
                server.realm(),
                super::token::SERVICE,
                super::token::ISSUER,
                file.display()
            ))
        }
    }
}
