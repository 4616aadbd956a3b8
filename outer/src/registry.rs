//! What stands behind the proxy: real registries, a token server, a separate storage host,
//! and one that sends no faster than it is let.

mod distribution;
mod faucet;
mod reported;
mod seed;
mod storage_front;
mod token;
mod token_server;

pub(crate) use distribution::address_at_start;
pub use distribution::{Access, Registry, Storage};
pub use faucet::Faucet;
pub use reported::{Behaviour, Does, Reported};
pub use seed::{Seed, TAG};
pub use storage_front::StorageFront;
pub use token_server::{Account, TokenServer};
