//! The core of registry-proxy: it makes all decisions and does no I/O of its own.
//!
//! [`Proxy::handle`] takes a request and returns a response. Time, randomness, storage and network come through the traits of
//! [`platform`], so the same code runs on a laptop, in a function, in a Worker, and in tests with fakes and a virtual clock. The
//! map:
//!
//! - [`route`]: which upstream, which repository, what of it
//! - `access`: who asks, and our tokens · `access_rules`: which rule of `[[access]]` decides · [`upstream`]: addresses, logins, redirects, replies
//! - `policy`: whose signature the images of a repository need, and what a signature says
//! - `quota`: how much clients may have in an hour and a day
//! - [`cache`]: cached content · [`admin`]: keeps it within its limits; list, purge, verify, export and import
//! - [`bundle`]: images in one archive, as they are exported and imported
//! - `evidence`: what is known of a digest in a repository, from whom, and what follows from it
//! - `manifest`, `blob`, `listing`, `push`, `storage`, `search`: what is done for each endpoint · `relay`: bodies that survive
//! - `page`: the page at `/` for people · [`client_snippets`]: what clients are configured with
//! - `admin_page`: the page at `/-/`, behind a login · `traffic`: what it plots · [`audit`]: who did what
//! - [`notification`]: what happens that an operator wants to hear of, and whether it is said
//! - `request`: what a handler works with and returns, how the client sees us, the log line
//! - [`explain`]: what would be done for an image, and why, without doing it; `explanation`: how that is told
//! - [`spans`]: what a request does, for a platform that exports traces
//! - [`warm`]: fetches images into the cache before anybody pulls them
//! - [`config`]: every key · [`error`] and [`outcome`]: what clients, log and metrics are told
//! - [`own_hosts`]: whether a request names this server by a name of its own
//! - leaves: [`catalogue`], [`client`], [`jwks`], [`name`], [`digest`], [`media`], [`range`], [`secret`], [`seal`], `coding`, `pattern`,
//!   `tag_pattern`, `image_platform`, `profile`, `unconnected`

pub mod admin;
pub mod audit;
pub mod backoff;
pub mod body;
pub mod bundle;
pub mod cache;
pub mod catalogue;
pub mod client;
pub mod client_snippets;
pub mod coding;
pub mod config;
pub mod digest;
pub mod error;
pub mod explain;
pub mod headers;
pub mod human;
pub mod jwks;
pub mod media;
pub mod name;
pub mod notification;
pub mod outcome;
pub mod own_hosts;
pub mod platform;
pub mod range;
pub mod route;
pub mod seal;
pub mod secret;
pub mod spans;
pub mod telemetry;
pub mod upstream;
pub mod warm;

mod accept;
mod access;
mod access_rules;
mod admin_page;
mod blob;
mod blocks;
mod delivery;
mod evidence;
mod explanation;
mod fill;
mod image_platform;
mod ingest;
mod listing;
mod manifest;
mod manifest_types;
mod page;
mod pattern;
mod policy;
mod profile;
mod proxy;
mod push;
mod quota;
mod relay;
mod request;
mod search;
mod shared_requests;
mod single_flight;
mod storage;
mod sync;
mod tag_pattern;
mod traffic;
mod unconnected;
mod waiting;
mod warm_orders;

#[cfg(feature = "testing")]
pub mod testing;

pub use crate::body::Body;
pub use crate::config::Config;
pub use crate::platform::{Cx, Platform};
pub use crate::proxy::{EventError, Proxy, TimerReport};
