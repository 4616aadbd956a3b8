//! GET and HEAD of a blob: byte for byte, with ranges, never held in memory. The bytes come from the cache, from a download
//! into the cache that is in progress, or from the upstream.
//!
//! - [`upstream`], [`length`]: asking the registry for a blob, and how long it is
//! - [`window`]: which bytes of an answer go to the client; [`response`]: the answer itself
//! - [`relay`], [`redirect`]: from the upstream without caching, and redirects that the client follows
//! - [`hit`]: from the store; [`request`]: a request for a blob that is not there
//! - [`fetched`], [`ranged`]: fetching it once for all clients, whole or range by range
//! - [`cached`], [`unshared`]: the handler's work with a cache, and where requests cannot share work
//! - [`own_read`]: small blobs that the proxy reads for itself
//! - [`offload`]: blobs that the platform cannot carry
//! - [`handler`]: the answer to the client

mod cached;
mod fetched;
mod handler;
mod hit;
mod length;
mod offload;
mod own_read;
mod ranged;
mod redirect;
mod relay;
mod request;
mod response;
mod unshared;
mod upstream;
mod window;

pub(crate) use self::handler::get;
pub(crate) use self::own_read::{read_cached, read_small};
pub(crate) use self::relay::cache_for;
