//! The product, with the configuration a user would write.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Service, free_address};
use crate::Result;
use crate::tls::{Certificate, Protocol};

/// Answered with 200 once it takes requests.
pub(crate) const READY: &str = "/healthz";

/// Starts it as a relay and waits for a 200 on `ready`.
pub(crate) fn start(binary: &Path, room: &Path, upstream: SocketAddr, ready: &str) -> Result<Service> {
    let address = free_address()?;
    let command = configured("store = \"none\"", binary, room, address, upstream)?;
    Service::start(command, room, address, ready)
}

/// The same with this cache.
pub(crate) fn start_caching(
    cache: &str,
    binary: &Path,
    room: &Path,
    upstream: SocketAddr,
    ready: &str,
) -> Result<Service> {
    let address = free_address()?;
    Service::start(configured(cache, binary, room, address, upstream)?, room, address, ready)
}

/// The same, for clients that speak TLS.
pub(crate) fn start_tls(
    cache: &str,
    certificate: &Certificate,
    binary: &Path,
    room: &Path,
    upstream: SocketAddr,
) -> Result<Service> {
    let address = free_address()?;
    let (cert, key) = (certificate.chain_file.display(), certificate.key_file.display());
    let sections = format!("{cache}\n\n[tls]\ncert_file = \"{cert}\"\nkey_file = \"{key}\"");
    let command = configured(&sections, binary, room, address, upstream)?;
    let client = certificate.client(Protocol::Http1)?;
    Service::start_until(command, room, address, || client.download(address, READY).is_ok())
}

/// A cache in this directory, which holds a tag for as long as any measurement takes.
pub(crate) fn cache_in(directory: &Path) -> String {
    format!("store = \"file://{}\"\ntag_ttl = \"1h\"", directory.display())
}

/// As a platform starts it: told by variables alone what it is to do, and without a cache. Waits for a 200 on `/v2/`.
pub(crate) fn start_on(binary: &Path, room: &Path, variables: &[(&str, &str)]) -> Result<Service> {
    let address = free_address()?;
    let mut command = bare(binary, variables)?;
    command.arg("--listen").arg(address.to_string());
    Service::start(command, room, address, "/v2/")
}

/// The command for that.
pub(crate) fn bare(binary: &Path, variables: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(fs::canonicalize(binary)?);
    command.envs(variables.iter().copied()).env("REGISTRY_PROXY_CACHE__STORE", "none");
    Ok(command)
}

/// The command, with a configuration that has these keys of the cache.
fn configured(
    cache: &str,
    binary: &Path,
    room: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
) -> Result<Command> {
    let config = format!(
        "listen = \"{address}\"

[clients]
auth = \"open\"

[cache]
{cache}

[log]
format = \"text\"

[[upstream]]
name = \"bench.test\"
urls = [\"http://{upstream}\"]
insecure = true
default = true
"
    );
    let path = room.join("config.toml");
    fs::write(&path, config)?;
    // The program starts in its own directory, where a relative path is another.
    let mut command = Command::new(fs::canonicalize(binary)?);
    command.arg("--config").arg(path);
    Ok(command)
}
