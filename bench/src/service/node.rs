//! Relays in Node.js: a plain one, as one would write it first, and one with Fastify.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_address};
use crate::Result;

pub(crate) fn start(room: &Path, upstream: SocketAddr) -> Result<Service> {
    let address = free_address()?;
    fs::write(room.join("relay.js"), include_str!("relay.js"))?;
    let mut command = Command::new("node");
    command.arg("relay.js").arg(address.port().to_string()).arg(upstream.port().to_string());
    Service::start(command, room, address, "/v2/")
}

/// The folder of npm's in which Fastify is; `cargo xtask bench --install` puts it there and says where.
const FASTIFY: &str = "BENCH_FASTIFY";

/// Where Fastify is; `None`: it is not there.
pub(crate) fn fastify() -> Option<PathBuf> {
    std::env::var_os(FASTIFY).map(PathBuf::from)
}

/// A relay with Fastify, as the Node.js project was that this one grew out of.
pub(crate) fn start_fastify(folder: &Path, room: &Path, upstream: SocketAddr) -> Result<Service> {
    let address = free_address()?;
    fs::write(room.join("fastify.js"), include_str!("fastify.js"))?;
    let mut command = Command::new("node");
    command.arg("fastify.js").arg(address.port().to_string()).arg(upstream.port().to_string());
    command.env("NODE_PATH", folder.join("node_modules"));
    Service::start(command, room, address, "/v2/")
}
