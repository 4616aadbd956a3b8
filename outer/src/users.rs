//! User files as `htpasswd -B` writes them.

use std::fs;
use std::path::Path;

use crate::Outcome;

/// The least bcrypt cost there is: the tests check a password many times, unoptimised.
const BCRYPT_COST: u32 = 4;

/// Writes `user:password` pairs as bcrypt lines.
pub fn write(path: &Path, users: &[(&str, &str)]) -> Outcome {
    let mut lines = String::new();
    for (user, password) in users {
        let hash = bcrypt::hash_with_result(password, BCRYPT_COST)?;
        // `2y` is what htpasswd writes and what Go's and Apache's readers expect.
        let hash = hash.format_for_version(bcrypt::Version::TwoY);
        lines.extend([user, ":", &hash, "\n"]);
    }
    fs::write(path, lines)?;
    Ok(())
}
