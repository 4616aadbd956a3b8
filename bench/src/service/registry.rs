//! Debian's `docker-registry` as a cache: what is compared with the product where content is kept.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Service, free_address};
use crate::Result;

/// Starts it as a pull-through cache of this upstream.
pub(crate) fn cache(room: &Path, upstream: SocketAddr) -> Result<Service> {
    let address = free_address()?;
    let config = format!(
        "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: '{}/storage'}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: '{address}'}}
proxy: {{remoteurl: 'http://{upstream}'}}
",
        room.display()
    );
    fs::write(room.join("config.yml"), config)?;
    let mut command = Command::new("docker-registry");
    command.args(["serve", "config.yml"]).env("OTEL_TRACES_EXPORTER", "none");
    Service::start(command, room, address, "/v2/")
}
