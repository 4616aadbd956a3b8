//! The bare relay of `bench/bare-relay`: what a relay that does nothing else can reach with the same HTTP library.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_address};
use crate::Result;

/// Tells where the program is, which `cargo xtask bench` builds; otherwise it is looked for beside this one.
const VARIABLE: &str = "BENCH_BARE_RELAY";

/// Starts it; `None`: it is not there.
pub(crate) fn start(room: &Path, upstream: SocketAddr) -> Result<Option<Service>> {
    let program = match std::env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("registry-proxy-bare-relay"),
    };
    if !program.is_file() {
        return Ok(None);
    }
    let address = free_address()?;
    let mut command = Command::new(program.canonicalize()?);
    command.arg(address.to_string()).arg(upstream.to_string());
    Service::start(command, room, address, "/v2/").map(Some)
}
