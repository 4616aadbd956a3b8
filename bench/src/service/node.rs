//! A plain relay in Node.js, as one would write it first.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
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
