//! Detects changes of certificate and key files, which other programs renew.

use std::os::unix::fs::MetadataExt as _;

use registry_proxy_core::Config;

/// The state of each file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchedFiles(Vec<(String, Option<FileState>)>);

/// Inode, length and modification time (seconds, nanoseconds).
type FileState = (u64, u64, i64, i64);

impl WatchedFiles {
    /// Reads the state of every certificate and key file in the configuration.
    pub(crate) fn look(config: &Config) -> Self {
        let upstreams = config.upstream.iter();
        let theirs = upstreams
            .flat_map(|upstream| [&upstream.ca_file, &upstream.client_cert_file, &upstream.client_key_file]);
        let paths = [&config.tls.cert_file, &config.tls.key_file].into_iter().chain(theirs).flatten();
        Self(paths.map(|path| (path.clone(), state_of(path))).collect())
    }
}

/// Follows links, since Kubernetes changes a mount by changing a link. `None`: there is no such file.
fn state_of(path: &str) -> Option<FileState> {
    let found = std::fs::metadata(crate::files::expand(path)).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        let mut config = Config::default();
        config.tls.cert_file = Some(path.to_str().unwrap().to_owned());
        let mut before = WatchedFiles::look(&config);
        let mut has_changed = |what: &str| {
            let now = WatchedFiles::look(&config);
            assert_ne!(std::mem::replace(&mut before, now.clone()), now, "{what}");
            assert_eq!(before, WatchedFiles::look(&config), "{what}, and then nothing");
        };
        std::fs::write(&path, "first").unwrap();
        has_changed("written");
        std::fs::write(&path, "another").unwrap();
        has_changed("written over");
        std::fs::write(dir.path().join("next"), "another").unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
        has_changed("replaced");
        std::fs::remove_file(&path).unwrap();
        has_changed("removed");
    }
}
