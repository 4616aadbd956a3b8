//! `[[access]]`: who may pull and push what. Which rule decides: `access_rules`.

use serde::{Deserialize, Serialize};
use url::Url;

use super::clients::ClientsConfig;
use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;

/// Most rules. Each request is compared with them in turn.
const MAX_RULES: usize = 1000;
/// Most bytes of `who` and of a pattern: no name of a repository is longer.
const MAX_BYTES: usize = 512;

/// `[[access]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct AccessRule {
    /// Whom the rule is for. A user's name or a pattern of names (`alice`, `team-a-*`; with `auth = "upstream"` registry and user:
    /// `ghcr.io/alice`), `group:NAME` (`clients.groups_file`), `issuer:URL` or `issuer:URL PATTERN` (clients with a token of that issuer,
    /// and the pattern of their names), `anonymous` (who has not logged in), or `*` (everybody).
    pub who: String,
    /// Patterns of the repositories that may be pulled, such as `docker.io/**`: upstream and repository; `*` within a segment, `**` across
    /// segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Patterns of the repositories that may not, even if `allow` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// `true`: what `allow` has may be pushed and deleted, too, where the upstream has `push = true`.
    #[serde(default)]
    pub push: bool,
}

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RuleSubject<'a> {
    /// Everybody.
    Everybody,
    /// Who has not logged in.
    Anonymous,
    /// Users whose names fit this pattern.
    Name(&'a str),
    /// The users of this group.
    Group(&'a str),
    /// Clients with a token of this issuer, whose names fit the pattern, if there is one.
    Issuer(&'a str, Option<&'a str>),
}

impl<'a> RuleSubject<'a> {
    /// Reads `who`; otherwise what is wrong. The words of a form are never read as a user's name, and a name is never read as a form:
    /// names only meet patterns.
    pub(crate) fn parse(who: &'a str) -> Result<Self, &'static str> {
        if who.is_empty() || who.len() > MAX_BYTES || who.chars().any(char::is_control) {
            return Err("expected a user's name or pattern, group:NAME, issuer:URL, anonymous, or *");
        }
        if let Some(group) = who.strip_prefix("group:") {
            let is_name =
                !group.is_empty() && !group.contains([':', '/', '*']) && !group.contains(char::is_whitespace);
            return if is_name { Ok(Self::Group(group)) } else { Err("expected group: and the name of a group") };
        }
        if let Some(issuer) = who.strip_prefix("issuer:") {
            let (url, names) =
                issuer.split_once(' ').map_or((issuer, None), |(url, names)| (url, Some(names.trim())));
            let is_url = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            return if is_url && names.is_none_or(|names| !names.is_empty()) {
                Ok(Self::Issuer(url, names))
            } else {
                Err("expected issuer: and the issuer's URL, and behind a space perhaps a pattern of names")
            };
        }
        Ok(match who {
            "*" => Self::Everybody,
            "anonymous" => Self::Anonymous,
            name => Self::Name(name),
        })
    }
}

/// Refuses rules that mean nothing, or not what they seem to.
pub(super) fn check(rules: &[AccessRule], clients: &ClientsConfig) -> Result<(), ConfigError> {
    if rules.len() > MAX_RULES {
        return Err(ConfigError::new("access", format!("expected at most {MAX_RULES} rules")));
    }
    for (i, rule) in rules.iter().enumerate() {
        let refuse = |key: &str, what: &str| Err(ConfigError::new(format!("access[{i}].{key}"), what));
        match RuleSubject::parse(&rule.who) {
            Err(what) => return refuse("who", what),
            Ok(RuleSubject::Group(_)) if clients.groups_file.is_none() => {
                return refuse("who", "groups are those of clients.groups_file, which is not set");
            }
            Ok(_) => {}
        }
        for (key, patterns) in [("allow", &rule.allow), ("deny", &rule.deny)] {
            if patterns.iter().any(|pattern| !is_pattern(pattern)) {
                return refuse(
                    key,
                    "expected repositories with their registry, such as ghcr.io/acme/**, without tag or digest",
                );
            }
        }
        if rule.allow.is_empty() && rule.deny.is_empty() {
            return refuse("allow", "expected what may be pulled, such as [\"ghcr.io/acme/**\"], or deny");
        }
        if rule.push && rule.allow.is_empty() {
            return refuse("push", "only what allow has can be pushed, and it has nothing");
        }
    }
    Ok(())
}

/// Whether a pattern can mean repositories. A port belongs to the registry, before the first slash.
fn is_pattern(pattern: &str) -> bool {
    let name = pattern.split_once('/').map_or(pattern, |(_, name)| name);
    let is_plain = (1..=MAX_BYTES).contains(&pattern.len()) && pattern.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && !pattern.starts_with('/') && !name.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Sources};
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::load(&Sources { text: Some(text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) })
    }

    #[test]
    fn each_form_of_who_is_read_as_what_it_is() {
        let github = "https://token.actions.githubusercontent.com";
        for (who, expected) in [
            ("*", RuleSubject::Everybody),
            ("anonymous", RuleSubject::Anonymous),
            ("alice", RuleSubject::Name("alice")),
            ("team-a/*", RuleSubject::Name("team-a/*")),
            ("**", RuleSubject::Name("**")),
            ("localhost:5000/alice", RuleSubject::Name("localhost:5000/alice")),
            ("group:ops", RuleSubject::Group("ops")),
            ("issuer:https://token.actions.githubusercontent.com", RuleSubject::Issuer(github, None)),
            (
                "issuer:https://token.actions.githubusercontent.com acme/*",
                RuleSubject::Issuer(github, Some("acme/*")),
            ),
        ] {
            assert_eq!(RuleSubject::parse(who), Ok(expected), "{who}");
        }
        for who in [
            "",
            "group:",
            "group:a b",
            "group:a/b",
            "group:*",
            "issuer:",
            "issuer:acme",
            "issuer:https://a.test ",
            "a\nb",
        ] {
            assert!(RuleSubject::parse(who).is_err(), "{who:?}");
        }
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused_at_their_key() {
        let groups = "[clients]\ngroups_file='ops: alice'\n";
        for (rule, place) in [
            ("who=''\nallow=['**']", "access[0].who"),
            ("who='group:ops'\nallow=['**']", "access[0].who"),
            ("who='*'", "access[0].allow"),
            ("who='*'\nallow=['']", "access[0].allow"),
            ("who='*'\nallow=['/a/b']", "access[0].allow"),
            ("who='*'\nallow=['ghcr.io/a/b:v1']", "access[0].allow"),
            ("who='*'\ndeny=['ghcr.io/a/b@sha256']", "access[0].deny"),
            ("who='*'\ndeny=['a b']", "access[0].deny"),
            ("who='*'\ndeny=['**']\npush=true", "access[0].push"),
        ] {
            assert_eq!(load(&format!("[[access]]\n{rule}")).unwrap_err().place, place, "{rule}");
        }
        for rule in [
            "who='group:ops'\nallow=['**']",
            "who='*'\nallow=['localhost:5000/a/**']\npush=true",
            "who='anonymous'\ndeny=['**']",
        ] {
            assert!(load(&format!("{groups}[[access]]\n{rule}")).is_ok(), "{rule}");
        }
    }
}
