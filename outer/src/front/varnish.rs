//! Varnish, which ends no TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{adapted, block};
use crate::Outcome;
use crate::process::{Program, Tool};

pub(super) fn program(folder: &Path, port: u16, proxy: SocketAddr) -> Outcome<Program> {
    let text = adapted(&block("vcl")?, [("\"3000\"", format!("\"{}\"", proxy.port()))])?;
    let path = folder.join("registry-proxy.vcl");
    fs::write(&path, text)?;
    let program = Program::tool(Tool::VARNISHD)?.arguments(["-F", "-j", "none", "-s", "malloc,64m", "-n"]);
    let program = program.argument(folder.join("work")).arguments(["-a", &format!("127.0.0.1:{port}")]);
    Ok(program.argument("-f").argument(path).arguments(block("varnishd-options")?.split_whitespace()))
}
