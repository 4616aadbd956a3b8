//! What is kept, under which name, and for how long.

mod keys;
mod memory;

pub use self::keys::{BLOBS, Key, Kind, LEASES, LINKS, MANIFESTS, TAGS};
pub use self::memory::MemoryStore;
