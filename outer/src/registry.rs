//! What stands behind the proxy: real registries, a token server, and a separate storage host.

mod distribution;
mod seed;
mod storage_front;
mod token;
mod token_server;

pub(crate) use distribution::address_at_start;
pub use distribution::{Access, Registry, Storage};
pub use seed::{Seed, TAG};
pub use storage_front::StorageFront;
pub use token_server::{Account, TokenServer};
