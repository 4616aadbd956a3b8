//! Credentials from Docker's configuration files (`docker_config`): stored logins, and those of credential helpers.

mod helpers;
mod lookup;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::Config;
use registry_proxy_core::config::ConfigError;
use registry_proxy_core::name::RepositoryName;
use registry_proxy_core::platform::CredentialStore;
use registry_proxy_core::secret::{Basic, Secret};
use serde::Deserialize;

use self::helpers::Helpers;
use self::lookup::Fit;

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

/// The Docker configuration files of all upstreams.
pub(crate) struct DockerCredentials {
    /// The file of each upstream.
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
            let text = crate::files::read(path).map_err(|error| wrong(error.to_string()))?;
            // The text may contain passwords: report only the line of an error.
            let file = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("not readable in line {}", error.line())))?;
            parsed.insert(path.clone(), file);
        }
        Ok((!parsed.is_empty()).then(|| Self { files, parsed, helpers: Helpers::default() }))
    }
}

/// The source of a login.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    /// Stored in the file under this key.
    Stored(&'a str, Basic),
    /// To be asked from this helper, for this server.
    Helper(&'a str, &'a str),
}

impl DockerConfig {
    /// The login for a repository of a host, by the most specific key; a helper comes before a stored login, as in docker.
    fn find<'a>(&'a self, host: &'a str, repository: &str) -> Option<Source<'a>> {
        let keys: HashSet<&String> = self.auths.keys().chain(self.cred_helpers.keys()).collect();
        let mut fitting = lookup::fitting(keys.into_iter(), host, repository);
        // A credential store knows the host, which is better than a login for another repository.
        fitting.retain(|(fit, _)| *fit != Fit::OtherPath || self.creds_store.is_none());
        for (_, key) in &fitting {
            if let Some(helper) = self.cred_helpers.get(*key) {
                return Some(Source::Helper(helper, key));
            }
            if let Some(basic) = self.auths.get(*key).and_then(Stored::basic) {
                return Some(Source::Stored(key, basic));
            }
        }
        // Docker leaves an empty entry for a login that is in the credential store.
        let server = fitting.first().map_or(lookup::server_of(host), |(_, key)| key.as_str());
        self.creds_store.as_ref().map(|helper| Source::Helper(helper, server))
    }
}

impl DockerCredentials {
    /// Describes the logins found for each upstream, for `check`.
    pub(crate) fn found(&self, config: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, upstream) in config.upstream.iter().enumerate() {
            let Some(file) = self.files.get(index).and_then(|path| self.parsed.get(path.as_ref()?)) else {
                continue;
            };
            let own = upstream.urls.iter().map(|url| url.authority().to_owned());
            let hosts: Vec<String> = std::iter::once(upstream.name.clone()).chain(own).collect();
            let found = file.described(&hosts);
            let is_own = upstream.docker_config.is_some();
            if found.is_empty() && is_own {
                lines.push(format!("{}: docker_config has no login for {}", upstream.name, hosts.join(" or ")));
            }
            lines.extend(found.into_iter().map(|what| format!("{}: docker_config has {what}", upstream.name)));
        }
        lines
    }
}

impl DockerConfig {
    /// Describes the logins for these hosts, for any repository.
    fn described(&self, hosts: &[String]) -> Vec<String> {
        let is_meant = |key: &&String| hosts.iter().any(|host| lookup::fit(key, host, "").is_some());
        let mut logins: Vec<&String> = self
            .auths
            .iter()
            .filter(|(_, stored)| stored.basic().is_some())
            .map(|(key, _)| key)
            .filter(is_meant)
            .collect();
        let mut helped: Vec<&String> = self.cred_helpers.keys().filter(is_meant).collect();
        logins.sort();
        helped.sort();
        let user = |key: &String| self.auths.get(key).and_then(Stored::basic).map(|basic| basic.username);
        let logins = logins.into_iter().map(|key| match user(key) {
            Some(user) => format!("a login of {user} under {key}"),
            None => format!("a login under {key}"),
        });
        let program = |key: &String| self.cred_helpers.get(key).cloned().unwrap_or_default();
        let helped = helped.into_iter().map(|key| format!("the credential helper {} for {key}", program(key)));
        let store = self.creds_store.iter().map(|store| format!("the credential store {store} for the rest"));
        logins.chain(helped).chain(store).collect()
    }
}

#[async_trait]
impl CredentialStore for DockerCredentials {
    async fn find(&self, upstream: usize, host: &str, repository: &RepositoryName) -> Option<Basic> {
        let file = self.parsed.get(self.files.get(upstream)?.as_ref()?)?;
        match file.find(host, repository.as_str())? {
            Source::Stored(_, basic) => Some(basic),
            Source::Helper(helper, server) => self.helpers.login(helper, server).await,
        }
    }

    fn refused(&self, login: &Basic) {
        self.helpers.refused(login);
    }
}

impl Stored {
    fn basic(&self) -> Option<Basic> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.expose().is_empty()) {
            // Docker's user name for a token in place of a password.
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

    fn config(json: &str) -> DockerConfig {
        serde_json::from_str(json).unwrap()
    }

    /// What is found, in short.
    fn found(config: &DockerConfig, host: &str, repository: &str) -> String {
        match config.find(host, repository) {
            Some(Source::Stored(key, basic)) => format!("{key} {}", basic.username),
            Some(Source::Helper(helper, server)) => format!("{helper}({server})"),
            None => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_most_specific_of_logins_and_helpers_is_found() {
        let config = config(
            r#"{"auths":{"h.test/r":{"username":"path","password":"p"},"https://h.test/v1/":{"username":"host","password":"p"},
                         "empty.test":{},"https://store.test/v1/":{}},
                "credHelpers":{"helped.test":"gcloud"},"credsStore":"desktop"}"#,
        );
        for (host, repository, expected) in [
            ("h.test", "r/a", "h.test/r path"),
            ("h.test", "z", "https://h.test/v1/ host"),
            ("helped.test", "a", "gcloud(helped.test)"),
            ("empty.test", "a", "desktop(empty.test)"),
            ("store.test", "a", "desktop(https://store.test/v1/)"),
            ("docker.io", "a/b", "desktop(https://index.docker.io/v1/)"),
            ("other.test", "a", "desktop(other.test)"),
        ] {
            assert_eq!(found(&config, host, repository), expected, "{host}/{repository}");
        }
    }

    #[test]
    fn what_is_found_is_said_without_a_password() {
        let config = config(
            r#"{"auths":{"https://h.test/v1/":{"username":"alice","password":"hunter2"},"h.test/r":{"auth":"Ym9iOmh1bnRlcjI="},
                         "other.test":{"auth":"Ym9iOmh1bnRlcjI="}},"credHelpers":{"h.test":"ecr-login"}}"#,
        );
        let expected = [
            "a login of bob under h.test/r",
            "a login of alice under https://h.test/v1/",
            "the credential helper ecr-login for h.test",
        ];
        assert_eq!(config.described(&["h.test".to_owned()]), expected);
        assert!(config.described(&["else.test".to_owned()]).is_empty());
    }
}
