//! Fixtures for the outer tests: the finished binary between real clients and real registries.
//!
//! Read in this order. [`process`] starts and ends programs. [`image`] makes the images.
//! [`registry`] holds what stands behind the proxy, [`proxy`] the product itself, and
//! [`client`] what stands in front of it. Nothing here knows how the product works inside, and
//! nothing outlives the value that started it.

pub mod client;
pub mod digest;
pub mod failure;
pub mod http;
pub mod image;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod users;

pub use failure::{Context, Failure, Outcome};
