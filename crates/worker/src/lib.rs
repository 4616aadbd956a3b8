//! registry-proxy on Cloudflare Workers: the core between `fetch` and R2.
//!
//! - [`native`]: the JavaScript that moves what must not enter wasm
//! - [`body`]: streams of the platform, as bodies of the core
//! - [`transport`] requests out, [`store`] the bucket
//! - [`runtime`]: time, randomness, and work that outlives an answer
//! - [`settings`]: variables and secrets, as a configuration
//! - [`log`]: lines for `console`
//!
//! A Worker has one thread, and no request may touch what another one opened. So everything is made `Send` at this edge
//! by `SendWrapper`, which would panic if that were ever untrue, and the core waits for nobody (`Capabilities::shares_io`).

#![cfg(target_arch = "wasm32")]

mod body;
mod log;
mod native;
mod runtime;
mod settings;
mod store;
mod transport;
mod worker;

pub use self::worker::fetch;
