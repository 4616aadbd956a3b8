//! What is kept, under which name, and for how long.

mod keys;

pub use self::keys::{BLOBS, Key, Kind, LEASES, LINKS, MANIFESTS, TAGS};
