//! Clients' passwords for `auth = "users"`: bcrypt, off the threads that move bytes, few at a time.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use registry_proxy_core::platform::Passwords;
use registry_proxy_core::secret::Basic;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// A password that was right is right for this long without another bcrypt.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Logins remembered at once.
const MAX_REMEMBERED: usize = 1024;
/// What an unknown user's password is compared with, so that names cannot be told by the time an answer takes.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

/// The users of a password file.
#[derive(Clone)]
pub(crate) struct Htpasswd(HashMap<String, String>);

impl Htpasswd {
    /// Reads `name:hash` lines; only bcrypt is taken (P: `htpasswd -B`).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let (name, hash) = line.split_once(':').ok_or_else(|| format!("line {number}: expected name:hash"))?;
            let is_bcrypt =
                ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) && hash.len() == 60;
            if name.is_empty() || !is_bcrypt {
                return Err(format!("line {number}: expected name and bcrypt hash, as htpasswd -B writes them"));
            }
            users.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self(users))
    }
}

/// Checks passwords against the file.
pub(crate) struct Users {
    file: Htpasswd,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    salt: String,
    turns: Arc<Semaphore>,
}

impl Users {
    pub(crate) fn new(users: Htpasswd) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            file: users,
            remembered: Mutex::default(),
            salt: crate::settings::random_key().expose().to_owned(),
            // Half of the cores: the others go on moving bytes.
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
        }
    }

    fn mark(&self, login: &Basic) -> [u8; 32] {
        let text = format!("{}\0{}\0{}", self.salt, login.username, login.password.expose());
        Sha256::digest(text).into()
    }

    fn is_remembered(&self, mark: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(mark).is_some_and(|until| Instant::now() < *until)
    }

    fn remember(&self, mark: [u8; 32]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, until| now < *until);
        }
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(mark, now + REMEMBERED);
        }
    }
}

#[async_trait]
impl Passwords for Users {
    async fn verify(&self, login: &Basic) -> bool {
        let mark = self.mark(login);
        if self.is_remembered(&mark) {
            return true;
        }
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return false };
        let known = self.file.0.get(&login.username).cloned();
        let hash = known.clone().unwrap_or_else(|| NOBODY.to_owned());
        let password = login.password.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let is_right = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
            drop(turn);
            is_right
        });
        let is_right = checked.await.unwrap_or(false) && known.is_some();
        if is_right {
            self.remember(mark);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::secret::Secret;

    use super::*;

    fn basic(username: &str, password: &str) -> Basic {
        Basic { username: username.to_owned(), password: Secret::new(password) }
    }

    #[tokio::test]
    async fn the_right_password_of_a_known_user_is_right() {
        let hash = bcrypt::hash("open sesame", 4).unwrap();
        let users = Users::new(Htpasswd::parse(&format!("# people\n\nalice:{hash}\n")).unwrap());
        assert!(users.verify(&basic("alice", "open sesame")).await);
        assert!(users.verify(&basic("alice", "open sesame")).await, "remembered");
        assert!(!users.verify(&basic("alice", "open simsim")).await);
        assert!(!users.verify(&basic("bob", "open sesame")).await);
        assert!(!users.verify(&basic("", "")).await);
    }

    #[test]
    fn other_hashes_are_refused_with_their_line() {
        for line in ["alice:plain", "alice", ":$2y$10$x", "alice:$apr1$x$y", "alice:{SHA}x"] {
            assert!(Htpasswd::parse(&format!("\n{line}")).is_err_and(|what| what.starts_with("line 2")), "{line}");
        }
    }
}
