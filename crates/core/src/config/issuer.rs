//! `[[clients.issuer]]`: OIDC issuers whose tokens let jobs and pods in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;

/// Most issuers: each token is compared with all of them.
const MAX_ISSUERS: usize = 32;
/// Most claims of a rule.
const MAX_CLAIMS: usize = 16;
/// Longest URL and audience, in bytes.
const MAX_BYTES: usize = 512;

/// `[[clients.issuer]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct IssuerConfig {
    /// The issuer's URL, exactly as its tokens have it in `iss`: `https://token.actions.githubusercontent.com`. Its keys are found by
    /// `/.well-known/openid-configuration` below it. `http://` is for this machine only.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^https?://")))]
    pub url: String,
    /// Whom tokens must be for (`aud`), such as this proxy's host: a token for somebody else lets nobody in.
    pub audience: String,
    /// What claims must be: `{ repository_owner = "acme" }`; `*` within a segment, `**` across segments. All of them must be so. A claim
    /// that says whose token it is belongs here: on GitHub, anybody can get a token for this audience.
    #[serde(rename = "match")]
    pub claims: BTreeMap<String, String>,
    /// What its clients are called in the log, with claims in braces: `{repository}`, or `ci/{project_path}`.
    #[serde(default = "IssuerConfig::default_name")]
    pub name: String,
    /// Patterns of the repositories that may be pulled, such as `ghcr.io/acme/**`: upstream and repository. Nobody can push by such a token.
    pub allow: Vec<String>,
    /// File with the issuer's keys (JWKS), for clusters whose issuer the proxy cannot reach. Nothing is fetched then. Read again at SIGHUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
}

impl IssuerConfig {
    fn default_name() -> String {
        "{sub}".to_owned()
    }
}

/// How a client's name is made of the claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<NamePart>);

/// A part of such a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePart {
    /// As it stands.
    Text(Box<str>),
    /// The value of a claim.
    Claim(Box<str>),
}

impl NameTemplate {
    /// Reads `ci/{project_path}`; otherwise what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected text with claims in braces, such as {repository}";
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (claim, after) = behind.split_once('}').ok_or(EXPECTED)?;
            if before.contains('}') || claim.is_empty() || claim.contains('{') {
                return Err(EXPECTED);
            }
            if !before.is_empty() {
                parts.push(NamePart::Text(before.into()));
            }
            parts.push(NamePart::Claim(claim.into()));
            rest = after;
        }
        if rest.contains('}') || parts.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(EXPECTED);
        }
        if !rest.is_empty() {
            parts.push(NamePart::Text(rest.into()));
        }
        Ok(Self(parts))
    }

    pub(crate) fn parts(&self) -> &[NamePart] {
        &self.0
    }
}

/// Refuses issuers that could let nobody in, or anybody.
pub(super) fn check(issuers: &[IssuerConfig]) -> Result<(), ConfigError> {
    if issuers.len() > MAX_ISSUERS {
        return Err(ConfigError::new("clients.issuer", format!("expected at most {MAX_ISSUERS}")));
    }
    for (i, issuer) in issuers.iter().enumerate() {
        let refuse = |key: &str, what: &str| Err(ConfigError::new(format!("clients.issuer[{i}].{key}"), what));
        check_url(&issuer.url).or_else(|what| refuse("url", what))?;
        if issuer.audience.is_empty() || issuer.audience.len() > MAX_BYTES {
            return refuse("audience", "expected whom tokens are for, such as proxy.example.com");
        }
        if issuer.claims.is_empty() {
            return refuse(
                "match",
                "expected the claims that let a token in, such as { repository_owner = \"acme\" }",
            );
        }
        if issuer.claims.len() > MAX_CLAIMS {
            return refuse("match", "expected at most 16 claims");
        }
        if issuer.claims.iter().any(|(claim, wanted)| claim.is_empty() || wanted.is_empty()) {
            return refuse("match", "expected a value for each claim");
        }
        NameTemplate::parse(&issuer.name).map(|_| ()).or_else(|what| refuse("name", what))?;
        if issuer.allow.is_empty() {
            return refuse("allow", "expected what may be pulled, such as [\"ghcr.io/acme/**\"]");
        }
        // A port is part of the upstream's name, before the first slash.
        let has_tag =
            |pattern: &String| pattern.split_once('/').is_some_and(|(_, name)| name.contains([':', '@']));
        if issuer.allow.iter().any(|pattern| pattern.is_empty() || has_tag(pattern)) {
            return refuse("allow", "expected repositories, such as ghcr.io/acme/**, without tag or digest");
        }
        let mut before = issuers.iter().take(i);
        if before.any(|before| before.url == issuer.url && before.jwks_file != issuer.jwks_file) {
            return refuse("jwks_file", "expected the same as above: these issuers have the same url");
        }
    }
    Ok(())
}

fn check_url(text: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected the issuer as tokens have it in iss: https://host, perhaps with a path";
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    let is_near = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(EXPECTED),
    };
    if url.scheme() == "http" && !is_near {
        return Err("over plain HTTP anybody on the way could give keys: expected https://");
    }
    let has_more = url.query().is_some() || url.fragment().is_some();
    let has_login = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || has_more || has_login || text.len() > MAX_BYTES {
        return Err(EXPECTED);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Sources};
    use super::*;

    const GITHUB: &str = "url='https://token.actions.githubusercontent.com'\naudience='p.example'\nmatch={repository_owner='acme'}\nname='{repository}'\nallow=['ghcr.io/acme/**']\n";

    fn load(issuers: &str) -> Result<Config, ConfigError> {
        let text = format!("[clients]\nauth='users'\n{issuers}");
        Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) })
    }

    fn refused(issuers: &str) -> String {
        load(issuers).unwrap_err().place
    }

    #[test]
    fn an_issuer_needs_no_password_file_beside_it() {
        let config = load(&format!("[[clients.issuer]]\n{GITHUB}")).unwrap();
        assert_eq!(config.clients.issuer[0].claims["repository_owner"], "acme");
        assert_eq!(refused(""), "clients.users_file");
        let again = Config::load(&Sources {
            text: Some(&config.to_toml()),
            variables: Vec::new(),
            read: &|path| Ok(path.to_owned()),
        });
        assert_eq!(again.unwrap().clients.issuer, config.clients.issuer, "as check prints it");
        let short = GITHUB.replace("name='{repository}'\n", "");
        assert_eq!(load(&format!("[[clients.issuer]]\n{short}")).unwrap().clients.issuer[0].name, "{sub}");
    }

    #[test]
    fn an_issuer_counts_only_where_clients_log_in_to_the_proxy() {
        for auth in ["open", "upstream"] {
            let text = format!("[clients]\nauth='{auth}'\n[[clients.issuer]]\n{GITHUB}");
            let sources = Sources { text: Some(&text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) };
            let error = Config::load(&sources).unwrap_err();
            assert_eq!(error.place, "clients.issuer", "{auth}");
            assert!(error.what.contains("auth = \"users\""), "{error}");
        }
    }

    #[test]
    fn what_could_let_in_nobody_or_anybody_is_refused_at_its_key() {
        let at = |key: &str| format!("clients.issuer[0].{key}");
        for (key, old, new) in [
            ("url", "https://token.actions.githubusercontent.com", "token.actions.githubusercontent.com"),
            ("url", "https://token.actions.githubusercontent.com", "http://token.actions.githubusercontent.com"),
            ("url", "https://token.actions.githubusercontent.com", "https://u:p@i.test"),
            ("url", "https://token.actions.githubusercontent.com", "https://i.test?x=1"),
            ("url", "https://token.actions.githubusercontent.com", "ftp://127.0.0.1"),
            ("audience", "p.example", ""),
            ("match", "{repository_owner='acme'}", "{}"),
            ("match", "'acme'", "''"),
            ("name", "{repository}", "job"),
            ("name", "{repository}", "{repository"),
            ("name", "{repository}", "{}"),
            ("name", "{repository}", "a}{repository}"),
            ("allow", "['ghcr.io/acme/**']", "[]"),
            ("allow", "ghcr.io/acme/**", ""),
            ("allow", "ghcr.io/acme/**", "ghcr.io/acme/app:v1"),
        ] {
            let issuer = GITHUB.replace(old, new);
            assert_ne!(issuer, GITHUB, "{old}");
            assert_eq!(refused(&format!("[[clients.issuer]]\n{issuer}")), at(key), "{new}");
        }
        let lacking = GITHUB.replace("match={repository_owner='acme'}\n", "");
        assert!(
            load(&format!("[[clients.issuer]]\n{lacking}")).unwrap_err().what.contains("missing field `match`")
        );
        let two = format!("[[clients.issuer]]\n{GITHUB}[[clients.issuer]]\n{GITHUB}jwks_file='k'\n");
        assert_eq!(refused(&two), "clients.issuer[1].jwks_file");
        assert_eq!(refused(&format!("[[clients.issuer]]\n{GITHUB}").repeat(33)), "clients.issuer");
        for url in ["http://127.0.0.1:8080", "http://[::1]:1/a", "http://localhost:1", "https://i.test/realms/a/"]
        {
            let issuer = GITHUB.replace("https://token.actions.githubusercontent.com", url);
            assert!(load(&format!("[[clients.issuer]]\n{issuer}")).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_name_is_made_of_text_and_claims() {
        let (text, claim) =
            (|text: &str| NamePart::Text(text.into()), |claim: &str| NamePart::Claim(claim.into()));
        for (template, expected) in [
            ("{sub}", vec![claim("sub")]),
            ("ci/{project_path}", vec![text("ci/"), claim("project_path")]),
            ("{a}-{b}!", vec![claim("a"), text("-"), claim("b"), text("!")]),
        ] {
            assert_eq!(NameTemplate::parse(template), Ok(NameTemplate(expected)), "{template}");
        }
    }
}
