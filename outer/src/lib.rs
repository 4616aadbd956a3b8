//! Fixtures for the outer tests: the finished binary between real clients and real registries.
//!
//! Read in this order. [`process`] starts and ends programs. [`image`] makes the images.
//! [`registry`] holds what stands behind the proxy, [`objects`] what it may keep content in,
//! [`proxy`] the product itself, [`packaged`] what `cargo xtask package` made of it, and [`client`] what stands in
//! front of it. [`gateway`] stands between as a serverless platform does, [`function`] is the product behind that, [`cutter`] is a way that breaks,
//! [`front`] and [`way_out`] are other people's proxies on either side, [`prometheus`] reads the product's metrics, and [`browser`] its page;
//! [`signer_key`] signs images. Nothing here knows how the product works inside, and
//! nothing outlives the value that started it.

pub mod browser;
pub mod client;
pub mod cutter;
pub mod digest;
pub mod failure;
pub mod front;
pub mod function;
pub mod gateway;
pub mod http;
pub mod image;
pub mod objects;
pub mod packaged;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod signer_key;
pub mod users;
pub mod way_out;
pub mod worker;

pub use failure::{Context, Failure, Outcome};
