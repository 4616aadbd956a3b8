//! `[[policy]]`: whose signature the images of a repository need, and which service says yes or no to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::events::ReceiverUrl;
#[cfg(feature = "schema")]
use super::order;
use super::units::Span;

/// Rules with a `verdict_url`, each of which has connections of its own.
const MAX_SERVICES: usize = 32;
/// How long an answer may be waited for.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an answer may count: for less, the blobs of an image would not come in time; for more, nobody would learn what was
/// found since.
const LIVES: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(7 * 24);

/// `[[policy]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct PolicyRule {
    /// Pattern of repositories, such as `ghcr.io/acme/**`: upstream and repository; `*` within a segment, `**` across segments.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[!-~]+$")))]
    pub pattern: String,
    /// Who must have signed. Either this or `verdict_url` is required; with both, both must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<RequiredSigner>,
    /// A service, such as a scanner, that is asked by POST whether a manifest may be served, before it is; it may be at a private
    /// address. It answers 200 with `{"allow": true}`, or `false` and a `reason`. `HTTPS_PROXY` and its like apply; redirects are not
    /// followed. Path and query are shown nowhere, since they may contain a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict_url: Option<ReceiverUrl>,
    /// How long its answer is waited for, at most `60s`.
    #[serde(default = "PolicyRule::default_timeout")]
    pub verdict_timeout: Span,
    /// What counts where it does not answer in time, or anything else: `deny` or `allow`. It is asked again after 10 seconds.
    #[serde(default)]
    pub verdict_default: VerdictDefault,
    /// How long its answer counts, for all clients: `10s` to `7d`.
    #[serde(default = "PolicyRule::default_life")]
    pub verdict_life: Span,
    /// `true`: allows `http://`, and does not verify the service's certificate. For a service on the same machine, and for tests.
    #[serde(default)]
    pub verdict_insecure: bool,
    /// `warn`: an image that is not as the rule wants is served, and the log says so. `enforce`: it is refused.
    #[serde(default)]
    pub mode: PolicyMode,
}

impl PolicyRule {
    const fn default_timeout() -> Span {
        Span::seconds(2)
    }

    const fn default_life() -> Span {
        Span::seconds(600)
    }

    /// A rule that wants nothing yet.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            require: None,
            verdict_url: None,
            verdict_timeout: Self::default_timeout(),
            verdict_default: VerdictDefault::default(),
            verdict_life: Self::default_life(),
            verdict_insecure: false,
            mode: PolicyMode::default(),
        }
    }
}

/// `require` of `[[policy]]`: a key, or an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct RequiredSigner {
    /// File with the signer's public key in PEM, as `cosign generate-key-pair` writes it to `cosign.pub`: ECDSA P-256, Ed25519, or
    /// RSA of 2048 to 8192 bits. Read again at SIGHUP. Either this or the three others are required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// For signatures without a key: the OIDC issuer that the signer has logged in to, such as
    /// `https://token.actions.githubusercontent.com`, exactly as it is in the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The signer, as that issuer calls it: an email address or a URI; `*` within a segment, `**` across segments, as in
    /// `https://github.com/acme/app/.github/workflows/release.yml@refs/tags/*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// File with the trust root in JSON, as Sigstore's TUF repository has it (`trusted_root.json`): the certificate authorities and
    /// logs that count. Nothing is fetched. Read again at SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_root_file: Option<String>,
}

/// Who must have signed, once it is clear which kind is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerSource<'a> {
    /// Who has the private half of the key in this file.
    Key {
        /// Its path.
        file: &'a str,
    },
    /// An identity.
    Identity {
        /// The OIDC issuer, exactly.
        issuer: &'a str,
        /// A pattern of the issuer's names.
        subject: &'a str,
        /// The path of the trust root.
        trusted_root_file: &'a str,
    },
}

impl RequiredSigner {
    /// Who has the key in this file.
    pub fn by_key(file: &str) -> Self {
        Self { key_file: Some(file.to_owned()), ..Self::default() }
    }

    /// Which kind is meant; otherwise the key that is wrong, and why.
    pub fn source(&self) -> Result<SignerSource<'_>, (&'static str, &'static str)> {
        let given = |key: &'static str, value: &'static str| (key, value);
        match (&self.key_file, &self.issuer, &self.subject, &self.trusted_root_file) {
            (Some(file), None, None, None) if !file.is_empty() => Ok(SignerSource::Key { file }),
            (Some(_), None, None, None) => {
                Err(given("require.key_file", "expected the path of a public key, such as cosign.pub"))
            }
            (Some(_), ..) => Err(given(
                "require.key_file",
                "expected a key, or issuer, subject and trusted_root_file; not both",
            )),
            (None, None, None, None) => {
                Err(given("require", "expected key_file, or issuer, subject and trusted_root_file"))
            }
            (None, issuer, subject, root) => {
                let text = |value: &'_ Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
                match (issuer, subject, root) {
                    (Some(issuer), Some(subject), Some(root))
                        if text(&self.issuer) && text(&self.subject) && text(&self.trusted_root_file) =>
                    {
                        Ok(SignerSource::Identity { issuer, subject, trusted_root_file: root })
                    }
                    _ if !text(&self.issuer) => {
                        Err(given("require.issuer", "needed: https://host of the OIDC issuer"))
                    }
                    _ if !text(&self.subject) => Err(given("require.subject", "needed: the signer, or a pattern")),
                    _ => Err(given("require.trusted_root_file", "needed: the path of a trusted_root.json")),
                }
            }
        }
    }
}

/// What counts where the service of `verdict_url` gives no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum VerdictDefault {
    /// As if it had said no.
    #[default]
    Deny,
    /// As if it had said yes; the log says so.
    Allow,
}

/// What becomes of an image that is not as the rule wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum PolicyMode {
    /// It is served, and the log says so.
    #[default]
    Warn,
    /// It is refused.
    Enforce,
}

impl PolicyMode {
    /// As the configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

/// Refuses rules that could not apply to anything.
pub(super) fn check(rules: &[PolicyRule]) -> Result<(), ConfigError> {
    if rules.iter().filter(|rule| rule.verdict_url.is_some()).count() > MAX_SERVICES {
        return Err(ConfigError::new("policy", format!("expected at most {MAX_SERVICES} rules with verdict_url")));
    }
    for (i, rule) in rules.iter().enumerate() {
        let refuse = |key: &str, what: &str| Err(ConfigError::new(format!("policy[{i}].{key}"), what));
        // A port is part of the upstream's name, before the first slash.
        let has_tag = rule.pattern.split_once('/').is_some_and(|(_, repository)| repository.contains([':', '@']));
        if rule.pattern.is_empty() {
            return refuse("match", "expected a pattern such as ghcr.io/acme/**");
        }
        if has_tag {
            return refuse("match", "expected repositories, such as ghcr.io/acme/**, without tag or digest");
        }
        if rule.require.is_none() && rule.verdict_url.is_none() {
            return refuse("require", "needed: who must have signed, or verdict_url");
        }
        if let Some(require) = &rule.require {
            require.source().map(|_| ()).or_else(|(key, what)| refuse(key, what))?;
        }
        if let Some(url) = &rule.verdict_url {
            check_service(rule, url).or_else(|(key, what)| refuse(key, what))?;
        }
    }
    Ok(())
}

/// Refuses a service that could not be asked: at which key, and why.
fn check_service(rule: &PolicyRule, url: &ReceiverUrl) -> Result<(), (&'static str, &'static str)> {
    let url = url.expose();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(("verdict_url", "expected https://host/path"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err((
            "verdict_url",
            "an address must not contain a user name or password; a token may stand in its query",
        ));
    }
    if url.scheme() == "http" && !rule.verdict_insecure {
        return Err(("verdict_url", "plain HTTP needs verdict_insecure = true"));
    }
    if rule.verdict_timeout.0.is_zero() || rule.verdict_timeout.0 > LONGEST_TIMEOUT {
        return Err(("verdict_timeout", "expected more than nothing and at most 60s"));
    }
    if !LIVES.contains(&rule.verdict_life.0) {
        return Err(("verdict_life", "expected 10s to 7d"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn a_rule_names_repositories_and_a_key() {
        let rule = |pattern: &str, key_file: &str| PolicyRule {
            require: Some(RequiredSigner::by_key(key_file)),
            ..PolicyRule::new(pattern)
        };
        for (pattern, key_file, expected) in [
            ("ghcr.io/acme/**", "cosign.pub", None),
            ("**", "cosign.pub", None),
            ("registry.test:5000/acme/app", "cosign.pub", None),
            ("", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/app:v1", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/app@sha256:00", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/**", "", Some("policy[0].require.key_file")),
        ] {
            let place = check(&[rule(pattern, key_file)]).err().map(|error| error.place);
            assert_eq!(place.as_deref(), expected, "{pattern} {key_file}");
        }
        assert_eq!(rule("**", "k").mode, PolicyMode::Warn);
    }

    #[test]
    fn a_signer_is_a_key_or_an_identity_with_all_that_it_takes() {
        let whole = "issuer='https://i.test', subject='a@b.test', trusted_root_file='root.json'";
        let config = load(&format!("require={{{whole}}}")).unwrap();
        let require = config.policy[0].require.as_ref().unwrap();
        let (issuer, subject, trusted_root_file) = ("https://i.test", "a@b.test", "root.json");
        assert_eq!(require.source(), Ok(SignerSource::Identity { issuer, subject, trusted_root_file }));
        for (keys, place) in [
            (String::new(), "policy[0].require"),
            (format!("key_file='k', {whole}"), "policy[0].require.key_file"),
            ("key_file='k', subject='s'".to_owned(), "policy[0].require.key_file"),
            (whole.replace("https://i.test", ""), "policy[0].require.issuer"),
            (whole.replace("a@b.test", ""), "policy[0].require.subject"),
            (whole.replace("root.json", ""), "policy[0].require.trusted_root_file"),
            ("subject='s', trusted_root_file='r'".to_owned(), "policy[0].require.issuer"),
            ("issuer='i', trusted_root_file='r'".to_owned(), "policy[0].require.subject"),
            ("issuer='i', subject='s'".to_owned(), "policy[0].require.trusted_root_file"),
        ] {
            assert_eq!(load(&format!("require={{{keys}}}")).unwrap_err().place, place, "{keys}");
        }
    }

    fn load(keys: &str) -> Result<Config, ConfigError> {
        let text = format!("[[policy]]\nmatch = '**'\n{keys}");
        Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &crate::testing::stored_nowhere })
    }

    #[test]
    fn a_service_may_stand_alone_and_is_asked_within_two_seconds_and_denies_by_default() {
        let config = load("verdict_url = 'https://scanner.internal/verdict'").unwrap();
        let rule = &config.policy[0];
        assert_eq!((rule.require.is_none(), rule.mode), (true, PolicyMode::Warn));
        assert_eq!((rule.verdict_timeout, rule.verdict_life), (Span::seconds(2), Span::seconds(600)));
        assert_eq!(rule.verdict_default, VerdictDefault::Deny);
        let keys = "verdict_url = 'https://s.test'\nverdict_default = 'allow'\nverdict_timeout = '250ms'\n";
        let rule = &load(keys).unwrap().policy[0];
        assert_eq!(rule.verdict_default, VerdictDefault::Allow);
        assert_eq!(rule.verdict_timeout.0, Duration::from_millis(250));
    }

    #[test]
    fn a_service_that_cannot_be_right_is_refused_at_its_key() {
        let with = |more: &str| format!("verdict_url = 'https://s.test/v'\n{more}");
        for (keys, place) in [
            (String::new(), "policy[0].require"),
            ("verdict_url = 'ftp://s.test'".to_owned(), "policy[0].verdict_url"),
            ("verdict_url = 'http://s.test'".to_owned(), "policy[0].verdict_url"),
            ("verdict_url = 'https://u:p@s.test'".to_owned(), "policy[0].verdict_url"),
            (with("verdict_timeout = '0s'"), "policy[0].verdict_timeout"),
            (with("verdict_timeout = '61s'"), "policy[0].verdict_timeout"),
            (with("verdict_life = '9s'"), "policy[0].verdict_life"),
            (with("verdict_life = '8d'"), "policy[0].verdict_life"),
            (with("verdict_default = 'maybe'"), "policy[0].verdict_default"),
        ] {
            assert_eq!(load(&keys).unwrap_err().place, place, "{keys}");
        }
        assert!(load("verdict_url = 'http://127.0.0.1:1'\nverdict_insecure = true").is_ok());
        let many = "verdict_url = 'https://s.test'\n[[policy]]\nmatch = 'a'\n".repeat(MAX_SERVICES);
        assert_eq!(load(&format!("{many}verdict_url = 'https://s.test'")).unwrap_err().place, "policy");
    }

    #[test]
    fn what_follows_the_services_host_is_shown_nowhere() {
        let config = load("verdict_url = 'https://s.test:8443/t0k3n?key=s1g'").unwrap();
        let shown = format!("{config:?}{}", config.to_toml());
        assert!(shown.contains("https://s.test:8443/***"), "{shown}");
        assert!(!["t0k3n", "s1g"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
