//! What must outlast a failure of power, and what need not: a decision by the kind of key.

use registry_proxy_core::cache::{Key, Kind};

/// Whether what is written must outlast a failure of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It is on the disk before it gets its name, and its name is, before the write counts as done.
    Synced,
    /// The system writes it when it likes. To wait for a disk takes a small file as long as a large one.
    Soon,
}

impl Durability {
    /// A lease ends with its process, and so with the machine. Where a link is missing or empty, the registry is asked once more.
    /// An origin that is missing could let a registry claim what only another one gave, and all else would be missed.
    pub(super) fn of(key: &Key) -> Self {
        match key.kind() {
            Some(Kind::Lease { .. } | Kind::Link { .. }) => Self::Soon,
            Some(
                Kind::Blob(_)
                | Kind::Manifest(_)
                | Kind::Tag { .. }
                | Kind::Hold { .. }
                | Kind::HeldDigest { .. }
                | Kind::Origins(_)
                | Kind::Ingest(_)
                | Kind::Usage { .. },
            )
            | None => Self::Synced,
        }
    }
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::digest::Digest;
    use registry_proxy_core::name::RepositoryName;

    use super::*;

    #[test]
    fn what_would_be_missed_after_a_failure_of_power_is_synced() {
        let (digest, repository) = (Digest::sha256(b""), RepositoryName::parse("library/alpine").unwrap());
        for (key, expected) in [
            (Key::blob(&digest), Durability::Synced),
            (Key::manifest(&digest), Durability::Synced),
            (Key::tag("docker.io", &repository, "latest"), Durability::Synced),
            (Key::hold("docker.io", &repository, "latest"), Durability::Synced),
            (Key::origins(&digest), Durability::Synced),
            (Key::link("docker.io", &repository, &digest), Durability::Soon),
            (Key::lease(&digest, 1), Durability::Soon),
        ] {
            assert_eq!(Durability::of(&key), expected, "{key}");
        }
    }
}
