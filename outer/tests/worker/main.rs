//! The Worker in workerd, with a bucket: real clients, real registries, as on Cloudflare but for its network.
//!
//! Miniflare's bucket lives in the same process and does its hashing there, so what a cold pull takes is mostly the
//! bucket's. What the Worker itself takes is seen where there is no bucket, and on hits.

mod blobs;
mod blocked;
mod broken;
mod deploy;
mod held;
mod images;
mod stage;
mod timer;
