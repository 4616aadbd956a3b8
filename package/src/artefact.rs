//! What was made, in one line.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::elf::Linkage;
use crate::error::Error;

/// A file that was written.
pub(crate) struct Artefact {
    pub(crate) path: PathBuf,
    /// What the binary in it needs of the system.
    pub(crate) linkage: Linkage,
}

impl Artefact {
    pub(crate) fn line(&self) -> Result<String, Error> {
        let bytes = fs::read(&self.path).map_err(|error| Error::io(self.path.display(), error))?;
        let (size, digest) = (bytes.len(), sha256(&bytes));
        Ok(format!("{}  {size} bytes  sha256:{digest}  {}", self.path.display(), self.linkage))
    }
}

/// In hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
