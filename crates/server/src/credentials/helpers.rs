//! Credential helpers: `docker-credential-<name> get`, as Docker calls them. For each server at most one process runs at a
//! time, and its answer is cached for a while.

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use registry_proxy_core::secret::{Basic, Secret};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

/// Time limit of a helper.
const TIME: Duration = Duration::from_secs(10);
/// How long a login is cached: the shortest-lived ones (Google's) are valid for an hour.
const LIFE: Duration = Duration::from_mins(10);
/// Pause after a helper had no login, or one that the registry refused.
const REST: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: Secret,
}

/// Cached replies, by helper and server.
#[derive(Default)]
pub(super) struct Helpers(Mutex<HashMap<(String, String), Arc<CachedReply>>>);

/// Locked while the helper runs. Other callers wait for its answer; if the caller that runs it gives up, the next one runs it.
type CachedReply = tokio::sync::Mutex<Option<HelperReply>>;

/// A helper's answer, and when it came.
struct HelperReply {
    at: Instant,
    login: Option<Basic>,
}

impl HelperReply {
    fn counts(&self) -> bool {
        self.at.elapsed() < if self.login.is_some() { LIFE } else { REST }
    }
}

impl Helpers {
    /// The helper's login for a server.
    pub(super) async fn login(&self, helper: &str, server: &str) -> Option<Basic> {
        self.cached(helper, server, ask(helper, server)).await
    }

    async fn cached(
        &self,
        helper: &str,
        server: &str,
        ask: impl Future<Output = io::Result<Option<Basic>>>,
    ) -> Option<Basic> {
        let key = (helper.to_owned(), server.to_owned());
        let place = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let mut known = place.lock().await;
        if let Some(reply) = known.as_ref().filter(|reply| reply.counts()) {
            return reply.login.clone();
        }
        let login = match tokio::time::timeout(TIME, ask).await {
            Ok(Ok(login)) => login,
            Ok(Err(error)) => {
                tracing::warn!(helper, server, %error, "credential helper failed");
                None
            }
            Err(_) => {
                tracing::warn!(helper, server, "credential helper took too long");
                None
            }
        };
        *known = Some(HelperReply { at: Instant::now(), login: login.clone() });
        login
    }

    /// A registry refused this login: drop it from the cache, but not more often than once in [`REST`].
    pub(super) fn refused(&self, login: &Basic) {
        let places: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        for place in places {
            // If it is locked, a newer answer is on its way.
            let Ok(mut known) = place.try_lock() else { continue };
            known.take_if(|reply| reply.login.as_ref() == Some(login) && reply.at.elapsed() >= REST);
        }
    }
}

async fn ask(helper: &str, server: &str) -> io::Result<Option<Basic>> {
    let is_plain = helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !is_plain || helper.is_empty() {
        return Err(io::Error::other("its name is not valid"));
    }
    let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(server.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        // Usually "credentials not found".
        return Ok(None);
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| io::Error::other("its output cannot be parsed"))?;
    Ok(Some(Basic { username: answer.username, password: answer.secret }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn basic(password: &str) -> Basic {
        Basic { username: "bob".to_owned(), password: Secret::new(password) }
    }

    /// A helper that has another password each time it is asked.
    #[derive(Default)]
    struct Changing {
        helpers: Helpers,
        asked: AtomicUsize,
    }

    impl Changing {
        async fn login(&self) -> Option<Basic> {
            let ask = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let before = self.asked.fetch_add(1, Ordering::Relaxed);
                Ok(Some(basic(&before.to_string())))
            };
            self.helpers.cached("test", "up.test", ask).await
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_a_path_is_not_run() {
        assert!(ask("../../bin/sh", "x").await.is_err());
        assert!(ask("", "x").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn when_an_answer_has_had_its_time_one_of_all_who_ask_asks_anew() {
        let it = Changing::default();
        for round in ["0", "1"] {
            let answers = futures_util::future::join_all((0..50).map(|_| it.login())).await;
            assert!(answers.iter().all(|login| *login == Some(basic(round))), "{answers:?}");
            tokio::time::advance(LIFE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_goes_away_and_another_one_asks() {
        let it = Changing::default();
        let gone = tokio::time::timeout(Duration::from_millis(500), it.login());
        let (gone, waited) = tokio::join!(gone, it.login());
        assert!(gone.is_err());
        assert_eq!(waited, Some(basic("0")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_asked_for_anew_but_not_without_end() {
        let it = Changing::default();
        assert_eq!(it.login().await, Some(basic("0")));
        it.helpers.refused(&basic("0"));
        assert_eq!(it.login().await, Some(basic("0")), "it was asked just now");
        tokio::time::advance(REST).await;
        it.helpers.refused(&basic("another's"));
        assert_eq!(it.login().await, Some(basic("0")), "another one was refused");
        it.helpers.refused(&basic("0"));
        assert_eq!(it.login().await, Some(basic("1")));
    }
}
