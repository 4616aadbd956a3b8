//! What a process that was killed has left in its folder. All of it must be right, and it tells in the midst of what
//! that was.

use std::fmt;
use std::path::Path;

use registry_proxy_core::digest::Digest;

use crate::fixture::{Shelf, kept, links, tags, unnamed};

/// What was left.
pub(super) struct Remains {
    /// What has its name, by digest.
    kept: Vec<Digest>,
    /// Some bytes of a blob.
    is_filling: bool,
    /// A record, or all bytes of a blob, without its name.
    is_committing: bool,
    /// Tags without their manifest, which goes before them.
    pub(super) torn: Vec<String>,
}

impl Remains {
    /// Looks through a folder. Whatever has its name is whole and right, and no tag or link leads to anything else than
    /// the shelf has.
    pub(super) fn of(folder: &Path, shelf: &Shelf) -> Self {
        let kept = kept(folder);
        links(folder, shelf);
        let torn = tags(folder, shelf).into_iter().filter(|(_, target)| !kept.contains(target));
        let torn = torn.map(|(tag, _)| tag).collect();
        let (mut is_filling, mut is_committing) = (false, false);
        for file in unnamed(folder) {
            let bytes = std::fs::read(file).unwrap();
            if bytes.is_empty() {
                // Nothing tells what it was to be.
                continue;
            }
            let is_record = std::str::from_utf8(&bytes).is_ok();
            if is_record || shelf.has_blob(&bytes) {
                is_committing = true;
            } else {
                is_filling = true;
            }
        }
        Self { kept, is_filling, is_committing, torn }
    }
}

/// In the midst of what processes were killed, so often each.
#[derive(Default)]
pub(super) struct Tally {
    rounds: usize,
    pub(super) filling: usize,
    pub(super) committing: usize,
    pub(super) removing: usize,
    /// Blobs and manifests that all of them kept.
    pub(super) kept: usize,
}

impl Tally {
    /// `is_removing`: whether it was killed in the midst of an eviction.
    pub(super) fn add(&mut self, remains: &Remains, is_removing: bool) {
        self.rounds += 1;
        self.filling += usize::from(remains.is_filling);
        self.committing += usize::from(remains.is_committing);
        self.removing += usize::from(is_removing);
        self.kept += remains.kept.len();
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, filling, committing, removing, kept } = self;
        write!(
            f,
            "{rounds} times, {filling} of them in a fill, {committing} in a commit, {removing} in an eviction; "
        )?;
        write!(f, "{kept} things kept")
    }
}
