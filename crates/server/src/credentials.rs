//! Credentials that Docker's own configuration holds (`docker_config`): stored ones, and those of credential helpers.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::CredentialStore;
use registry_proxy_core::secret::{Basic, Secret};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

/// How long a helper may take.
const HELPER_TIME: Duration = Duration::from_secs(10);
/// How long its answer is used: the shortest-lived of them (Google) live for an hour.
const HELPER_LIFE: Duration = Duration::from_mins(10);
/// How long it is left alone after it had nothing.
const HELPER_REST: Duration = Duration::from_secs(30);
/// What Docker calls Docker Hub in its files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: HashMap<String, Stored>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: Secret,
}

/// What a helper said, and until when it counts.
type Helped = (Instant, Option<Basic>);

/// The Docker configurations that upstreams refer to.
pub(crate) struct DockerCredentials {
    /// Which file each upstream has.
    files: Vec<Option<String>>,
    parsed: HashMap<String, DockerConfig>,
    helped: Mutex<HashMap<(String, String), Helped>>,
}

impl DockerCredentials {
    /// Reads the files; `None` where no upstream refers to any.
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, ConfigError> {
        let files: Vec<Option<String>> = config
            .upstream
            .iter()
            .map(|u| u.docker_config.clone().or_else(|| config.docker_config.clone()))
            .collect();
        let mut parsed = HashMap::new();
        for path in files.iter().flatten() {
            let wrong =
                |what: String| ConfigError { place: "docker_config".to_owned(), what: format!("{path}: {what}") };
            let text = crate::settings::read(path).map_err(|error| wrong(error.to_string()))?;
            // Its text may hold passwords: the place of an error is said, not what stands there.
            let file = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("not readable in line {}", error.line())))?;
            parsed.insert(path.clone(), file);
        }
        Ok((!parsed.is_empty()).then(|| Self { files, parsed, helped: Mutex::default() }))
    }

    async fn helped_by(&self, helper: &str, server: &str) -> Option<Basic> {
        let key = (helper.to_owned(), server.to_owned());
        let known = self.helped.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, basic)) = known.filter(|(until, _)| Instant::now() < *until) {
            return basic;
        }
        let found = match tokio::time::timeout(HELPER_TIME, ask_helper(helper, server)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(helper, server, %error, "credential helper failed");
                None
            }
            Err(_) => {
                tracing::warn!(helper, server, "credential helper took too long");
                None
            }
        };
        let life = if found.is_some() { HELPER_LIFE } else { HELPER_REST };
        let mut answers = self.helped.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(key, (Instant::now() + life, found.clone()));
        found
    }
}

#[async_trait]
impl CredentialStore for DockerCredentials {
    async fn find(&self, upstream: usize, host: &str) -> Option<Basic> {
        let file = self.parsed.get(self.files.get(upstream)?.as_ref()?)?;
        let names: Vec<String> = if host == "docker.io" || host == "registry-1.docker.io" {
            vec![DOCKER_HUB.to_owned(), "docker.io".to_owned(), "registry-1.docker.io".to_owned()]
        } else {
            vec![host.to_owned(), format!("https://{host}"), format!("https://{host}/"), format!("http://{host}")]
        };
        for name in &names {
            if let Some(helper) = file.cred_helpers.get(name) {
                return self.helped_by(helper, name).await;
            }
            if let Some(basic) = file.auths.get(name).and_then(Stored::basic) {
                return Some(basic);
            }
        }
        let helper = file.creds_store.as_ref()?;
        self.helped_by(helper, names.first()?).await
    }
}

impl Stored {
    fn basic(&self) -> Option<Basic> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.expose().is_empty()) {
            // Docker's mark for a token in the place of a password.
            return Some(Basic { username: "<token>".to_owned(), password: token.clone() });
        }
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            return Some(Basic { username: username.clone(), password: password.clone() });
        }
        let pair = String::from_utf8(BASE64_STANDARD.decode(self.auth.as_ref()?.expose()).ok()?).ok()?;
        let (username, password) = pair.split_once(':')?;
        Some(Basic { username: username.to_owned(), password: Secret::new(password.trim_end_matches('\0')) })
    }
}

/// `docker-credential-<helper> get`, as Docker calls it.
async fn ask_helper(helper: &str, server: &str) -> std::io::Result<Option<Basic>> {
    let is_plain = helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !is_plain || helper.is_empty() {
        return Err(std::io::Error::other("its name is none"));
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
        // "credentials not found": an everyday answer.
        return Ok(None);
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| std::io::Error::other("its answer cannot be read"))?;
    Ok(Some(Basic { username: answer.username, password: answer.secret }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(json: &str) -> Option<(String, String)> {
        let stored: Stored = serde_json::from_str(json).unwrap();
        stored.basic().map(|basic| (basic.username, basic.password.expose().to_owned()))
    }

    #[test]
    fn stored_credentials_are_read_in_each_of_their_forms() {
        let pair = |username: &str, password: &str| Some((username.to_owned(), password.to_owned()));
        assert_eq!(basic(r#"{"auth":"YWxpY2U6aHVudGVyMg=="}"#), pair("alice", "hunter2"));
        assert_eq!(basic(r#"{"username":"alice","password":"hunter2"}"#), pair("alice", "hunter2"));
        assert_eq!(basic(r#"{"auth":"","identitytoken":"tok"}"#), pair("<token>", "tok"));
        assert_eq!(basic("{}"), None);
        assert_eq!(basic(r#"{"auth":"%%%"}"#), None);
    }

    #[tokio::test]
    async fn a_helper_that_is_a_path_is_not_run() {
        assert!(ask_helper("../../bin/sh", "x").await.is_err());
        assert!(ask_helper("", "x").await.is_err());
    }
}
