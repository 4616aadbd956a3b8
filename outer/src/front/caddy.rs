//! Caddy, from `PyPI`.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{adapted, block, certificate};
use crate::process::Program;
use crate::{Context, Outcome};

/// Names the program; `cargo xtask test --install` gets it and sets this.
const CADDY: &str = "CADDY";

pub(super) fn program(folder: &Path, port: u16, proxy: SocketAddr) -> Outcome<Program> {
    let (certificate, key) = certificate(folder)?;
    // A certificate of its own, and no port that others have.
    let site = format!(
        "https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {} {}",
        certificate.display(),
        key.display()
    );
    let site =
        adapted(&block("caddyfile")?, [("proxy.example.com {", site), ("127.0.0.1:3000", proxy.to_string())])?;
    let path = folder.join("Caddyfile");
    fs::write(
        &path,
        format!("{{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}}\n{site}"),
    )?;
    let program = Program::at("caddy", &caddy()?)?.arguments(["run", "--adapter", "caddyfile", "--config"]);
    Ok(program.argument(path).variable("HOME", folder).variable("XDG_DATA_HOME", folder))
}

fn caddy() -> Outcome<PathBuf> {
    env::var_os(CADDY).map(PathBuf::from).filter(|path| path.is_file()).context(format_args!(
        "{CADDY} names no program: run `cargo xtask test --install`, which installs Caddy and names it"
    ))
}
