//! Where the socket is.

use std::path::{Path, PathBuf};

use registry_proxy_core::Config;
use registry_proxy_core::config::StoreAddress;

use crate::{files, store};

/// The socket's path; `None`: there is none. `found`: the directory that the cache was
/// opened in.
pub(super) fn path(config: &Config, found: Option<&Path>) -> Option<PathBuf> {
    match config.admin_socket.as_deref() {
        _ if config.cache.store == StoreAddress::None => None,
        Some("none") => None,
        Some(path) => Some(files::expand(path)),
        None => {
            store::directory(&config.cache, found).map(|directory| directory.join("admin.sock")).or_else(|| {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                runtime.filter(|path| path.is_absolute()).map(|path| path.join("registry-proxy.sock"))
            })
        }
    }
}
