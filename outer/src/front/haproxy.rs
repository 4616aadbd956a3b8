//! haproxy: as a reverse proxy, and as one that passes bytes on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{adapted, block, certificate};
use crate::Outcome;
use crate::process::{Program, Tool};

/// `server`: where the page's example has the product.
pub(super) fn program(folder: &Path, port: u16, proxy: SocketAddr, name: &str, server: &str) -> Outcome<Program> {
    let text = block(name)?;
    let text = if text.contains("ssl crt") {
        let (certificate, key) = certificate(folder)?;
        let both = folder.join("both.pem");
        fs::write(&both, [fs::read(certificate)?, fs::read(key)?].concat())?;
        adapted(&text, [("/etc/ssl/proxy/both.pem", both.display().to_string())])?
    } else {
        text
    };
    let text = adapted(&text, [("bind :443", format!("bind 127.0.0.1:{port}")), (server, proxy.to_string())])?;
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text)?;
    Ok(Program::tool(Tool::HAPROXY)?.arguments(["-db", "-f"]).argument(path))
}
