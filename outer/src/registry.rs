//! What stands behind the proxy: real registries, a token server, a separate storage host,
//! one that sends no faster than it is let, and one in which a tag moves.

mod distribution;
mod faucet;
mod moving_tag;
mod reported;
mod seed;
mod storage_front;
mod token;
mod token_server;

pub(crate) use distribution::address_at_start;
pub use distribution::{Access, Registry, Storage};
pub use faucet::Faucet;
pub use moving_tag::MovingTag;
pub use reported::{Behaviour, Does, Reported};
pub use seed::{Seed, TAG};
pub use storage_front::StorageFront;
pub use token_server::{Account, TokenServer};
