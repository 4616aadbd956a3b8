//! Prints `docs/reference/registries.md`, for `cargo xtask docs`.

use std::io::Write as _;

use registry_proxy_core::testing::zoo::{Table, page};

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(page(&Table::checked_in()).as_bytes())
}
