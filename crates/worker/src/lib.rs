//! registry-proxy on Cloudflare Workers: the core between `fetch` and R2.
//!
//! - [`native`]: the JavaScript that moves bytes without copying them into wasm
//! - [`body`]: streams of the platform as bodies of the core
//! - [`transport`]: requests to upstreams; [`store`]: the bucket
//! - [`runtime`]: time, randomness, and work that outlives an answer
//! - [`settings`]: variables and secrets as a configuration
//! - [`log`]: lines for `console`
//!
//! A Worker has one thread, and a request may not use what another one opened. So everything is made `Send` here by
//! `SendWrapper`, which panics if another thread uses it, and no request waits for another's I/O (`Capabilities::shares_io`).

#![cfg(target_arch = "wasm32")]

mod body;
mod log;
mod native;
mod runtime;
mod settings;
mod store;
mod transport;
mod worker;

pub use self::worker::{fetch, scheduled};
