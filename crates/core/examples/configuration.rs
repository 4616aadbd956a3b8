//! Prints the reference of the configuration for `cargo xtask docs`: `page` for `docs/reference/configuration.md`,
//! `schema` for `docs/reference/registry-proxy.schema.json`.

use std::io::{Error, ErrorKind, Write as _};

use registry_proxy_core::config::reference;

fn main() -> std::io::Result<()> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("page") => reference::markdown(),
        Some("schema") => reference::json_schema(),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "expected page or schema")),
    };
    std::io::stdout().write_all(text.as_bytes())
}
