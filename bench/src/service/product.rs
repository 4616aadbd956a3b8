//! The product, with the configuration a user would write.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Service, free_address};
use crate::Result;

/// Answered with 200 once it takes requests.
pub(crate) const READY: &str = "/healthz";

/// Starts it as a relay and waits for a 200 on `ready`.
pub(crate) fn start(binary: &Path, room: &Path, upstream: SocketAddr, ready: &str) -> Result<Service> {
    start_with("store = \"none\"", binary, room, upstream, ready)
}

/// The same with a cache in this directory, which holds a tag for as long as any measurement takes.
pub(crate) fn start_caching(
    cache: &Path,
    binary: &Path,
    room: &Path,
    upstream: SocketAddr,
    ready: &str,
) -> Result<Service> {
    let section = format!("store = \"file://{}\"\ntag_ttl = \"1h\"", cache.display());
    start_with(&section, binary, room, upstream, ready)
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

fn start_with(cache: &str, binary: &Path, room: &Path, upstream: SocketAddr, ready: &str) -> Result<Service> {
    let address = free_address()?;
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
    Service::start(command, room, address, ready)
}
