//! Clients' passwords for `auth = "users"`: bcrypt, on other threads than those that move bytes, a few at a time. The core
//! limits how many wait, and decides which logins need a check at all.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use registry_proxy_core::platform::Passwords;
use registry_proxy_core::secret::{Basic, Secret};
use tokio::sync::Semaphore;

/// Salt and hash to compare an unknown user's password with.
const NOBODY: &str = "abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";
/// Rounds of bcrypt, as a power of two. (`htpasswd -B` takes five unless told otherwise.)
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// The users of a password file.
#[derive(Clone)]
pub(crate) struct Htpasswd {
    users: HashMap<String, String>,
    costliest: u32,
}

impl Htpasswd {
    /// Reads `name:hash` lines; only bcrypt is taken (P: `htpasswd -B`).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut users, mut costliest) = (HashMap::new(), *COSTS.start());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let (name, hash) = line.split_once(':').ok_or_else(|| format!("line {number}: expected name:hash"))?;
            let cost = cost(hash).filter(|_| !name.is_empty()).ok_or_else(|| {
                format!("line {number}: expected name and bcrypt hash, as htpasswd -B writes them")
            })?;
            costliest = costliest.max(cost);
            users.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self { users, costliest })
    }

    /// The hash for unknown users. It takes as long as a known user's, so that response times do not reveal user names.
    fn nobody(&self) -> String {
        format!("$2b${:02}${NOBODY}", self.costliest)
    }
}

/// The cost of a bcrypt hash; `None`: it is another kind of hash.
fn cost(hash: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| hash.strip_prefix(prefix))?;
    let (cost, _) = rest.split_once('$').filter(|(cost, rest)| (cost.len(), rest.len()) == (2, NOBODY.len()))?;
    cost.parse().ok().filter(|cost| COSTS.contains(cost))
}

/// Checks passwords against the file.
pub(crate) struct Users {
    file: Htpasswd,
    turns: Arc<Semaphore>,
}

impl Users {
    pub(crate) fn new(users: Htpasswd) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // Use half of the cores; the others keep moving bytes.
        Self { file: users, turns: Arc::new(Semaphore::new(cores.div_ceil(2))) }
    }
}

#[async_trait]
impl Passwords for Users {
    async fn verify(&self, login: &Basic) -> bool {
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return false };
        let known = self.file.users.get(&login.username);
        let hash = known.cloned().unwrap_or_else(|| self.file.nobody());
        let password = login.password.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let is_right = bcrypt::verify(password.expose(), &hash).unwrap_or(false);
            drop(turn);
            is_right
        });
        checked.await.unwrap_or(false) && known.is_some()
    }

    fn line(&self, username: &str) -> Option<Secret> {
        self.file.users.get(username).map(|hash| Secret::new(hash.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_COST: &str = "alice:$2y$99$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

    fn basic(username: &str, password: &str) -> Basic {
        Basic { username: username.to_owned(), password: Secret::new(password) }
    }

    #[tokio::test]
    async fn the_right_password_of_a_known_user_is_right() {
        let hash = bcrypt::hash("open sesame", 4).unwrap();
        let users = Users::new(Htpasswd::parse(&format!("# people\n\nalice:{hash}\n")).unwrap());
        assert!(users.verify(&basic("alice", "open sesame")).await);
        assert_eq!(users.line("alice").unwrap().expose(), hash);
        assert!(users.line("bob").is_none());
        assert!(!users.verify(&basic("alice", "open simsim")).await);
        assert!(!users.verify(&basic("bob", "open sesame")).await);
        assert!(!users.verify(&basic("", "")).await);
    }

    #[test]
    fn an_unknown_user_takes_as_long_as_the_costliest_known_one() {
        let of = |costs: &[u32]| {
            let line = |cost: &u32| format!("user{cost}:{}\n", bcrypt::hash("open sesame", *cost).unwrap());
            Htpasswd::parse(&costs.iter().map(line).collect::<String>()).unwrap().nobody()
        };
        for (costs, expected) in [(&[5][..], 5), (&[4, 6, 5], 6), (&[], 4)] {
            let nobody = of(costs);
            assert_eq!(cost(&nobody), Some(expected), "{nobody}");
            // Compared in earnest: what cannot be read is refused at once.
            assert_eq!(bcrypt::verify("open sesame", &nobody).ok(), Some(false), "{nobody}");
        }
    }

    #[test]
    fn other_hashes_are_refused_with_their_line() {
        for line in ["alice:plain", "alice", ":$2y$10$x", "alice:$apr1$x$y", "alice:{SHA}x", NO_COST] {
            assert!(Htpasswd::parse(&format!("\n{line}")).is_err_and(|what| what.starts_with("line 2")), "{line}");
        }
    }
}
