//! SHA-256 in the words of registries: `sha256:` and 64 hexadecimal digits.
//!
//! It uses `ring`, whose assembler is quick without compiler optimisation: the tests hash some
//! gigabytes and are built for debugging.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA256};

use crate::Outcome;

/// Digests in a set, to compare what arrived with what was made.
pub type Digests = BTreeSet<String>;

/// A digest in the making.
pub struct Hasher(Context);

impl Hasher {
    #[expect(clippy::new_without_default, reason = "nothing wants one by default")]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> String {
        name(self.0)
    }
}

/// The digest of `bytes`.
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    name(context)
}

/// The digest of a file, read piece by piece.
pub fn of_file(path: &Path) -> Outcome<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(name(context));
        }
        context.update(&piece[..length]);
    }
}

/// The 64 digits after the colon.
pub fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn name(context: Context) -> String {
    let mut name = String::from("sha256:");
    for byte in context.finish().as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
