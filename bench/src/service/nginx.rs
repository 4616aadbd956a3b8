//! nginx: what serves the upstream, and what we are compared with.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Service, free_address};
use crate::Result;
use crate::tls::Certificate;

/// Whether requests are logged: only where the product's log counts too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    Off,
    File,
}

/// The program; distributions keep it where only administrators look.
pub(crate) fn program() -> &'static str {
    let system = "/usr/sbin/nginx";
    if Path::new(system).exists() { system } else { "nginx" }
}

/// nginx as a relay, set up as well as it can be for this work: large buffers,
/// nothing ever written to disk, connections to the upstream kept.
pub(crate) fn relay(room: &Path, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
    let address = free_address()?;
    let log = match log {
        AccessLog::Off => "off",
        AccessLog::File => "access.log",
    };
    let http = format!(
        "access_log {log};
upstream registry {{
  server {upstream};
  keepalive 64;
  keepalive_requests 1000000000;
}}
server {{
  listen {address} backlog=1024;
  location / {{
    proxy_pass http://registry;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_buffer_size 256k;
    proxy_buffers 16 256k;
    proxy_busy_buffers_size 1m;
    proxy_max_temp_file_size 0;
  }}
}}
"
    );
    serve(room, address, &http)
}

/// nginx as a cache: `sendfile` from its own directory, where answers are written at once, with no detour over
/// another one.
pub(crate) fn cache(room: &Path, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
    let address = free_address()?;
    serve(room, address, &caching(room, upstream, log, &format!("listen {address} backlog=1024;")))
}

/// The same, and the address at which it speaks TLS 1.3, and within that HTTP/1.1 or HTTP/2.
pub(crate) fn cache_tls(
    room: &Path,
    upstream: SocketAddr,
    log: AccessLog,
    certificate: &Certificate,
) -> Result<(Service, SocketAddr)> {
    let (address, tls) = (free_address()?, free_address()?);
    let (chain, key) = (certificate.chain_file.display(), certificate.key_file.display());
    let listen = format!(
        "listen {address} backlog=1024; listen {tls} ssl http2 backlog=1024;
  ssl_certificate {chain};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.3;
  ssl_session_cache shared:tls:50m;
  ssl_session_timeout 1d;
  ssl_session_tickets on;
  http2_chunk_size 16k;"
    );
    Ok((serve(room, address, &caching(room, upstream, log, &listen))?, tls))
}

/// The same, and the address at which it speaks HTTP/2 without TLS.
pub(crate) fn cache_http2(room: &Path, upstream: SocketAddr) -> Result<(Service, SocketAddr)> {
    let (address, http2) = (free_address()?, free_address()?);
    let listen = format!(
        "listen {address} backlog=1024; listen {http2} http2 backlog=2048; http2_max_concurrent_streams 256;"
    );
    Ok((serve(room, address, &caching(room, upstream, AccessLog::Off, &listen))?, http2))
}

fn caching(room: &Path, upstream: SocketAddr, log: AccessLog, listen: &str) -> String {
    let log = match log {
        AccessLog::Off => "off",
        AccessLog::File => "access.log",
    };
    let room_path = room.display();
    format!(
        "access_log {log};
proxy_cache_path {room_path}/cache levels=1:2 keys_zone=kept:10m max_size=20g inactive=1d use_temp_path=off;
open_file_cache max=30000 inactive=1h;
open_file_cache_valid 1h;
upstream registry {{
  server {upstream};
  keepalive 64;
  keepalive_requests 1000000000;
}}
server {{
  {listen}
  location / {{
    proxy_pass http://registry;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_cache kept;
    proxy_cache_valid 200 1d;
    proxy_cache_lock on;
    add_header X-Cache $upstream_cache_status;
  }}
}}
"
    )
}

/// nginx with the files of a cache of ours, which it only sends.
pub(crate) fn kept_files(room: &Path, cache: &Path) -> Result<Service> {
    let address = free_address()?;
    let blobs = cache.join("v1/blobs/sha256");
    let http = format!(
        "access_log off;
server {{
  listen {address} backlog=1024;
  location ~ ^/v2/bench/blobs/sha256:(?<shard>..)(?<rest>.*)$ {{
    alias {}/$shard/$shard$rest;
    default_type application/octet-stream;
  }}
  location = /v2/ {{
    return 200;
  }}
}}
",
        blobs.display()
    );
    serve(room, address, &http)
}

/// Starts nginx with the given inside of its `http` block.
pub(super) fn serve(room: &Path, address: SocketAddr, http: &str) -> Result<Service> {
    let mut config = String::from(
        "daemon off;
worker_processes auto;
pid nginx.pid;
error_log error.log;
",
    );
    // Else the workers become somebody who cannot enter the directory.
    if rustix::process::geteuid().is_root() {
        config.push_str("user root;\n");
    }
    write!(
        config,
        "events {{
  worker_connections 4096;
}}
http {{
sendfile on;
tcp_nopush on;
keepalive_requests 1000000000;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
scgi_temp_path scgi;
uwsgi_temp_path uwsgi;
{http}}}
"
    )?;
    fs::write(room.join("nginx.conf"), config)?;
    let mut command = Command::new(program());
    command.args(["-e", "error.log", "-c", "nginx.conf", "-p"]).arg(room);
    Service::start(command, room, address, "/v2/")
}
