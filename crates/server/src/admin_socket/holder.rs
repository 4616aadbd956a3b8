//! Who has the cache that a command is about: a running server, or nobody, so that the command opens the store itself.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use registry_proxy_core::Config;
use registry_proxy_core::admin::{CacheAdmin, Command, Tell};
use registry_proxy_core::config::StoreAddress;
use tokio::net::UnixStream;

use super::ask_cache;
use super::place::path;
use crate::error_text::with_source;
use crate::runtime::SystemClock;
use crate::store::{self, OpenedStore};

/// Who has the cache.
pub(crate) enum CacheHolder {
    /// A server, which takes commands on this socket.
    Server(UnixStream, PathBuf),
    /// Nobody.
    Nobody(OpenedStore),
}

impl CacheHolder {
    /// Finds it. A server may have access to a store that we cannot open. So the store is opened only if no server answers, or
    /// if opening it is the only way to find the directory with the socket.
    pub(crate) async fn find(config: &Config) -> Result<Self, String> {
        if config.cache.store == StoreAddress::None {
            return Err("nothing is cached: cache.store is none".to_owned());
        }
        let is_looked_for = config.cache.store == StoreAddress::Auto && config.admin_socket.is_none();
        let looked_for = is_looked_for.then(|| store::open(&config.cache));
        let found = looked_for.as_ref().and_then(|opened| opened.as_ref().ok()?.as_ref()?.directory.as_deref());
        let path = path(config, found);
        if let Some(path) = &path {
            match UnixStream::connect(path).await {
                Ok(stream) => return Ok(Self::Server(stream, path.clone())),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(error) => return Err(format!("admin_socket: cannot connect to {}: {error}", path.display())),
            }
        }
        if config.cache.store == StoreAddress::Memory {
            let place = path.map_or("admin_socket".to_owned(), |path| path.display().to_string());
            return Err(format!("the cache is in a server's memory, and no server answers at {place}"));
        }
        let opened =
            looked_for.unwrap_or_else(|| store::open(&config.cache)).map_err(|error| error.to_string())?;
        opened
            .map(Self::Nobody)
            .ok_or_else(|| "nothing is cached: no cache directory is writable; set cache.store".to_owned())
    }

    /// Runs a command.
    pub(crate) async fn run(self, command: Command, tell: Tell<'_>) -> Result<(), String> {
        match self {
            Self::Server(stream, _) => ask_cache(stream, command, tell).await,
            Self::Nobody(opened) => {
                let admin = CacheAdmin::of_store(opened.store, Arc::new(SystemClock));
                admin.run(&command, tell).await.map_err(|error| with_source(&error))
            }
        }
    }

    /// Where the cache is, for people.
    pub(crate) fn place(&self, config: &Config) -> String {
        match self {
            Self::Server(_, path) => format!("the server at {}", path.display()),
            Self::Nobody(opened) => store::place(&config.cache, opened.directory.as_deref()),
        }
    }
}
