//! Credentials that Docker's own configuration holds (`docker_config`): stored ones, and those of credential helpers.

mod helpers;

use std::collections::HashMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::platform::CredentialStore;
use registry_proxy_core::secret::{Basic, Secret};
use serde::Deserialize;

use self::helpers::Helpers;

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

/// The Docker configurations that upstreams refer to.
pub(crate) struct DockerCredentials {
    /// Which file each upstream has.
    files: Vec<Option<String>>,
    parsed: HashMap<String, DockerConfig>,
    helpers: Helpers,
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
        for (index, (path, upstream)) in files.iter().zip(&config.upstream).enumerate() {
            let Some(path) = path else { continue };
            let place = match upstream.docker_config {
                Some(_) => format!("upstream[{index}].docker_config"),
                None => "docker_config".to_owned(),
            };
            let wrong = |what: String| ConfigError { place: place.clone(), what: format!("{path}: {what}") };
            let text = crate::settings::read(path).map_err(|error| wrong(error.to_string()))?;
            // Its text may hold passwords: the place of an error is said, not what stands there.
            let file = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("not readable in line {}", error.line())))?;
            parsed.insert(path.clone(), file);
        }
        Ok((!parsed.is_empty()).then(|| Self { files, parsed, helpers: Helpers::default() }))
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
                return self.helpers.login(helper, name).await;
            }
            if let Some(basic) = file.auths.get(name).and_then(Stored::basic) {
                return Some(basic);
            }
        }
        let helper = file.creds_store.as_ref()?;
        self.helpers.login(helper, names.first()?).await
    }

    fn refused(&self, login: &Basic) {
        self.helpers.refused(login);
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
}
