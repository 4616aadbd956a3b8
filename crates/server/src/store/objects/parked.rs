//! The saved state of an upload: a line of text in a record, from which this or another process resumes it.
//!
//! Its last word is a checksum over the key and the other words, which detects lines that were cut, changed or belong to
//! another key. It is no protection against attackers: whoever can write records can write blobs as well.

use registry_proxy_core::cache::Key;
use sha2::{Digest as _, Sha256};

/// Longest line: an upload with ten thousand parts.
const MAX_BYTES: usize = 1 << 20;

/// The line with its checksum.
pub(super) fn seal(key: &Key, line: &str) -> String {
    format!("{line} {}", check(key, line))
}

/// The line without its checksum; `None`: it is not valid for this key.
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
