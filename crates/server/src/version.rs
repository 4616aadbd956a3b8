//! Which build this is: version, commit and target.

use std::env::consts::{ARCH, OS};
use std::sync::LazyLock;

/// `0.1.0 (1a2b3c4d5e6f, x86_64-linux-musl)`. Builds for packages name the commit in `REGISTRY_PROXY_COMMIT`; it is no part of
/// the sources, so that the same sources give the same bytes.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
        let commit = option_env!("REGISTRY_PROXY_COMMIT").filter(|commit| !commit.is_empty());
        let commit = commit.map(|commit| format!("{commit}, ")).unwrap_or_default();
        format!("{} ({commit}{ARCH}-{OS}{libc})", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}
