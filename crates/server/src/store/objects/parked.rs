//! What is parked of an upload: a line of text that lies in a record and comes back, perhaps to another process.
//!
//! Its last word is a check over the key and all other words. A line that was cut, changed or is of another key is no
//! line; who may write records on purpose may write blobs as well, so it guards against nothing else.

use registry_proxy_core::cache::Key;
use sha2::{Digest as _, Sha256};

/// Longest line: one with ten thousand parts.
const MAX_BYTES: usize = 1 << 20;

/// The line, with its check.
pub(super) fn seal(key: &Key, line: &str) -> String {
    format!("{line} {}", check(key, line))
}

/// The line, without its check; `None`: it is not one of this key.
pub(super) fn open<'line>(key: &Key, parked: &'line str) -> Option<&'line str> {
    if parked.len() > MAX_BYTES {
        return None;
    }
    let (line, found) = parked.rsplit_once(' ')?;
    (found == check(key, line)).then_some(line)
}

fn check(key: &Key, line: &str) -> String {
    let hash = Sha256::new().chain_update(key.as_str()).chain_update("\n").chain_update(line).finalize();
    let head: [u8; 8] = std::array::from_fn(|index| hash[index]);
    format!("{:016x}", u64::from_be_bytes(head))
}
