//! What is stored of logins: `~/.config/registry-proxy/credentials.json`, which nobody but the user may read.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use registry_proxy_core::secret::Secret;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::exposed;
use super::server_key::ServerKey;
use crate::client_config::replace_file;

/// The largest file: some hundred logins.
const MOST_BYTES: u64 = 1 << 20;
/// How long another process may hold the lock: longer than a renewal takes.
const LOCK_DEADLINE: Duration = Duration::from_secs(25);
/// Between two attempts to get the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// All logins, by the server that they are for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredLogins {
    logins: BTreeMap<String, StoredLogin>,
}

/// A login at one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredLogin {
    pub(super) username: String,
    #[serde(serialize_with = "exposed")]
    pub(super) secret: Secret,
    /// In seconds since 1970; `None`: nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<u64>,
    /// Where it comes from, if `registry-proxy login` got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<LoginGrant>,
}

/// What an issuer was asked for, and what it is asked with when a login ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginGrant {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub(super) refresh_token: Option<Secret>,
}

#[allow(clippy::ref_option, reason = "serde calls it so")]
fn exposed_if_any<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => exposed(secret, serializer),
        None => serializer.serialize_none(),
    }
}

impl StoredLogins {
    pub(super) fn get(&self, server: &ServerKey) -> Option<&StoredLogin> {
        self.logins.get(server.as_str())
    }

    pub(super) fn set(&mut self, server: &ServerKey, login: StoredLogin) {
        self.logins.insert(server.as_str().to_owned(), login);
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, server: &ServerKey) -> bool {
        self.logins.remove(server.as_str()).is_some()
    }

    /// Servers and user names.
    pub(super) fn names(&self) -> BTreeMap<&str, &str> {
        self.logins.iter().map(|(server, login)| (server.as_str(), login.username.as_str())).collect()
    }
}

/// The file. What is written replaces it in one step, so it can be read at any time.
pub(super) struct CredentialsFile(PathBuf);

/// The file while no other process changes it.
pub(super) struct LockedFile<'a> {
    file: &'a CredentialsFile,
    /// The lock ends with it.
    _lock: File,
}

impl CredentialsFile {
    /// The user's own.
    pub(super) fn of_user() -> Result<Self, String> {
        Self::of(|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn of(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, String> {
        // A relative path is no path (XDG Base Directory Specification).
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        let settings = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let settings = settings.ok_or("HOME is not set, so there is no place for credentials")?;
        Ok(Self(settings.join("registry-proxy/credentials.json")))
    }

    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    fn wrong(&self, what: &dyn std::fmt::Display) -> String {
        format!("{}: {what}", self.0.display())
    }

    /// What is stored; nothing, if there is no file.
    pub(super) fn read(&self) -> Result<StoredLogins, String> {
        // A link could lead to a file that others write.
        let opened = OpenOptions::new().read(true).custom_flags(no_link()).open(&self.0);
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(StoredLogins::default()),
            opened => opened.map_err(|error| self.wrong(&error))?,
        };
        let metadata = file.metadata().map_err(|error| self.wrong(&error))?;
        if !metadata.is_file() {
            return Err(self.wrong(&"is no file"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(self.wrong(&"other users may read it, or write to it: chmod 600, and log in again"));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.wrong(&"belongs to another user"));
        }
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| self.wrong(&error))?;
        if text.len() as u64 > MOST_BYTES {
            return Err(self.wrong(&"has more than 1 MiB"));
        }
        // Its text has passwords: an error says nothing but the place.
        serde_json::from_str(&text)
            .map_err(|error| self.wrong(&format_args!("not readable in line {}", error.line())))
    }

    /// Keeps other processes from changing it. Waits for those that do.
    pub(super) fn lock(&self) -> Result<LockedFile<'_>, String> {
        self.make_directory()?;
        let path = self.0.with_extension("lock");
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link());
        let lock = options.open(&path).map_err(|error| wrong(&error))?;
        let until = Instant::now() + LOCK_DEADLINE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(LockedFile { file: self, _lock: lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(wrong(&"another registry-proxy holds it for too long"));
                }
                Err(TryLockError::Error(error)) => return Err(wrong(&error)),
            }
        }
    }

    /// The directory of the file, which others may not write to: they could put another file in its place.
    fn make_directory(&self) -> Result<(), String> {
        let directory = self.0.parent().unwrap_or(Path::new("/"));
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", directory.display());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| wrong(&error))?;
        let metadata = std::fs::metadata(directory).map_err(|error| wrong(&error))?;
        if metadata.mode() & 0o022 != 0 {
            return Err(wrong(&"other users may write to it: chmod 700"));
        }
        Ok(())
    }
}

impl LockedFile<'_> {
    pub(super) fn read(&self) -> Result<StoredLogins, String> {
        self.file.read()
    }

    pub(super) fn write(&self, logins: &StoredLogins) -> Result<(), String> {
        let text = serde_json::to_string_pretty(logins).map_err(|error| self.file.wrong(&error))? + "\n";
        if text.len() as u64 > MOST_BYTES {
            return Err(self.file.wrong(&"there is no room for more logins: registry-proxy logout makes some"));
        }
        replace_file(&self.file.0, &text, None, 0o600).map_err(|error| self.file.wrong(&error))
    }
}

fn no_link() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    pub(super) fn login(username: &str, secret: &str) -> StoredLogin {
        StoredLogin { username: username.to_owned(), secret: Secret::new(secret), expires: None, grant: None }
    }

    fn key(text: &str) -> ServerKey {
        ServerKey::parse(text).unwrap()
    }

    #[test]
    fn logins_are_found_again_in_a_file_that_others_cannot_read() {
        let home = tempfile::tempdir().unwrap();
        let file = CredentialsFile::at(home.path().join("settings/registry-proxy/credentials.json"));
        assert_eq!(file.read().unwrap(), StoredLogins::default());
        let grant = LoginGrant {
            issuer: "https://id.test".to_owned(),
            client_id: "cli".to_owned(),
            scope: "openid".to_owned(),
            audience: None,
            refresh_token: Some(Secret::new("again")),
        };
        let mut logins = StoredLogins::default();
        logins.set(&key("a.test"), login("alice", "hunter2"));
        logins.set(&key("b.test"), StoredLogin { expires: Some(7), grant: Some(grant), ..login("oidc", "jwt") });
        file.lock().unwrap().write(&logins).unwrap();
        assert_eq!(file.read().unwrap(), logins);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.0), mode(file.0.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&home.path().join("settings/registry-proxy/credentials.lock")), 0o600);
        assert!(!format!("{logins:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_a_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = CredentialsFile::at(home.path().join("credentials.json"));
        fs::write(&file.0, r#"{"logins":{}}"#).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
            assert!(file.read().unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).unwrap();
        file.read().unwrap();
        let link = CredentialsFile::at(home.path().join("link.json"));
        std::os::unix::fs::symlink(&file.0, &link.0).unwrap();
        link.read().unwrap_err();
    }

    #[test]
    fn nothing_is_stored_where_others_could_replace_it() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let file = CredentialsFile::at(home.path().join("credentials.json"));
        assert!(file.lock().err().unwrap().contains("chmod 700"));
    }

    #[test]
    fn a_damaged_file_is_named_by_its_line_and_never_repeated() {
        let home = tempfile::tempdir().unwrap();
        let file = CredentialsFile::at(home.path().join("credentials.json"));
        for text in [
            "{\"logins\":{\"a\":{\"username\":\"u\",\n\"secret\":8675309}}}",
            "{\"logins\":{\"a\":{\"username\":\"u\",\n\"secret\":\"hunter2\",\"hunter2\":1}}}",
            "{\n\"hunter2\":{}}",
        ] {
            fs::write(&file.0, text).unwrap();
            fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).unwrap();
            let refused = file.read().unwrap_err();
            assert!(refused.ends_with("not readable in line 2"), "{refused}");
        }
        fs::write(&file.0, " ".repeat((1 << 20) + 1)).unwrap();
        assert!(file.read().unwrap_err().contains("more than 1 MiB"));
    }

    #[test]
    fn the_users_settings_are_where_the_environment_says() {
        let of = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value));
            CredentialsFile::of(variable).map(|file| file.0)
        };
        let home = ("HOME", "/home/a");
        let expected = PathBuf::from("/home/a/.config/registry-proxy/credentials.json");
        assert_eq!(of(&[home]).unwrap(), expected);
        assert_eq!(of(&[home, ("XDG_CONFIG_HOME", "settings")]).unwrap(), expected);
        let own = of(&[home, ("XDG_CONFIG_HOME", "/x")]).unwrap();
        assert_eq!(own, PathBuf::from("/x/registry-proxy/credentials.json"));
        of(&[]).unwrap_err();
    }
}
