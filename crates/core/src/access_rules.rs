//! Which rule of `[[access]]` decides, and what it says: pure. Everything that gives content of a repository asks here, by the
//! upstream's configured name and the repository's name there.

use std::collections::HashSet;

use crate::config::{AccessRule, ClientsConfig, RuleSubject};
use crate::error::AccessDenied;
use crate::name::RepositoryName;
use crate::pattern;

/// Who asks, as far as it was verified. A name that nobody has confirmed is no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who<'a> {
    /// The user's name, or that of a workload. `None`: who has not logged in.
    pub(crate) name: Option<&'a str>,
    /// The registry that accepted the login: names of accounts are its own.
    pub(crate) registry: Option<&'a str>,
    /// The issuer that vouches for a workload.
    pub(crate) issuer: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// Who has not logged in.
    pub(crate) const ANONYMOUS: Self = Self { name: None, registry: None, issuer: None };

    /// A user of our password file.
    pub(crate) fn user(name: &'a str) -> Self {
        Self { name: Some(name), ..Self::ANONYMOUS }
    }

    /// A client for which an OIDC issuer vouches.
    pub(crate) fn workload(issuer: &'a str, name: &'a str) -> Self {
        Self { name: Some(name), registry: None, issuer: Some(issuer) }
    }

    /// An account at a registry, which has accepted the login.
    pub(crate) fn account(registry: &'a str, name: &'a str) -> Self {
        Self { name: Some(name), registry: Some(registry), issuer: None }
    }
}

/// What somebody wants to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To read anything of it.
    Pull,
    /// To push to it, or to delete something.
    Push,
}

/// The rules, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct AccessRules(Vec<CompiledRule>);

#[derive(Debug)]
struct CompiledRule {
    whom: Whom,
    allow: Vec<Box<str>>,
    deny: Vec<Box<str>>,
    push: bool,
    /// What it allows and denies, as text: tokens depend on it.
    text: Box<str>,
}

/// Whom a rule is for, with the users of its group.
#[derive(Debug)]
enum Whom {
    Everybody,
    Anonymous,
    Name(Box<str>),
    Group(HashSet<Box<str>>),
    Issuer { url: Box<str>, names: Option<Box<str>> },
}

impl Whom {
    /// `None`: `who` cannot be read, which the check of the configuration refuses.
    fn new(who: &str, clients: &ClientsConfig) -> Option<Self> {
        Some(match RuleSubject::parse(who).ok()? {
            RuleSubject::Everybody => Self::Everybody,
            RuleSubject::Anonymous => Self::Anonymous,
            RuleSubject::Name(pattern) => Self::Name(pattern.into()),
            RuleSubject::Group(group) => Self::Group(clients.groups.of(group).map(Box::from).collect()),
            RuleSubject::Issuer(url, names) => Self::Issuer { url: url.into(), names: names.map(Box::from) },
        })
    }

    fn is(&self, who: Who<'_>) -> bool {
        match (self, who) {
            (Self::Everybody, _) | (Self::Anonymous, Who { name: None, .. }) => true,
            (Self::Name(pattern), Who { name: Some(name), issuer: None, registry }) => match registry {
                Some(registry) => pattern::matches_joined(pattern, &[registry, "/", name]),
                None => pattern::matches(pattern, name),
            },
            (Self::Group(users), Who { name: Some(name), issuer: None, registry }) => match registry {
                Some(registry) => users.contains(format!("{registry}/{name}").as_str()),
                None => users.contains(name),
            },
            (Self::Issuer { url, names }, Who { name: Some(name), issuer: Some(issuer), .. }) => {
                **url == *issuer && names.as_ref().is_none_or(|names| pattern::matches(names, name))
            }
            (Self::Anonymous | Self::Name(_) | Self::Group(_) | Self::Issuer { .. }, _) => false,
        }
    }
}

impl CompiledRule {
    fn has(patterns: &[Box<str>], upstream: &str, repository: &str) -> bool {
        patterns.iter().any(|pattern| pattern::matches_joined(pattern, &[upstream, "/", repository]))
    }

    /// What the rule says of a repository; `None`: nothing.
    fn says(&self, upstream: &str, repository: &str) -> Option<bool> {
        if Self::has(&self.deny, upstream, repository) {
            return Some(false);
        }
        Self::has(&self.allow, upstream, repository).then_some(true)
    }
}

impl AccessRules {
    /// The rules of the configuration, which have been checked.
    pub(crate) fn new(rules: &[AccessRule], clients: &ClientsConfig) -> Self {
        let patterns = |patterns: &[String]| patterns.iter().map(|pattern| pattern.as_str().into()).collect();
        let compiled = |rule: &AccessRule| CompiledRule {
            // What cannot be read names nobody, and keeps the numbers of the others.
            whom: Whom::new(&rule.who, clients).unwrap_or(Whom::Group(HashSet::new())),
            allow: patterns(&rule.allow),
            deny: patterns(&rule.deny),
            push: rule.push,
            text: format!("{:?} {:?} {};", rule.allow, rule.deny, rule.push).into(),
        };
        Self(rules.iter().map(compiled).collect())
    }

    /// Whether there are none: then nothing is denied.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this client may do this, and the number of the rule that says so, from 1 on; `None`: there are no rules. The first rule
    /// decides that is for the client and has the repository in `deny` or in `allow`. What no rule has is denied.
    pub(crate) fn decide(
        &self,
        who: Who<'_>,
        upstream: &str,
        repository: &str,
        right: Right,
    ) -> Result<Option<usize>, AccessDenied> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut numbered = self.0.iter().zip(1..).filter(|(rule, _)| rule.whom.is(who));
        let decided = numbered.find_map(|(rule, number)| Some((rule, number, rule.says(upstream, repository)?)));
        match decided {
            Some((rule, number, true)) if right == Right::Pull || rule.push => Ok(Some(number)),
            Some((_, number, true)) => Err(AccessDenied::Push(number)),
            Some((_, number, false)) => Err(AccessDenied::Rule(number)),
            None => Err(AccessDenied::NoRule),
        }
    }

    /// Whether somebody who logs in might do this.
    pub(crate) fn may_somebody(&self, upstream: &str, repository: &str, right: Right) -> bool {
        self.0.iter().any(|rule| {
            let is_for_logins = match rule.whom {
                Whom::Name(_) | Whom::Group(_) | Whom::Issuer { .. } | Whom::Everybody => true,
                Whom::Anonymous => false,
            };
            is_for_logins && (right == Right::Pull || rule.push) && rule.says(upstream, repository) == Some(true)
        })
    }

    /// What the rules say to this client, as text: once it is another, tokens of the client end.
    pub(crate) fn text_for(&self, who: Who<'_>) -> String {
        self.0.iter().filter(|rule| rule.whom.is(who)).map(|rule| &*rule.text).collect()
    }
}

/// What somebody may do.
#[derive(Clone, Copy)]
pub(crate) struct Rights<'a> {
    rules: &'a AccessRules,
    who: Who<'a>,
}

impl<'a> Rights<'a> {
    /// By these rules.
    pub(crate) fn new(rules: &'a AccessRules, who: Who<'a>) -> Self {
        Self { rules, who }
    }

    /// Whether rules restrict anybody.
    pub(crate) fn are_restricted(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether they may read anything of a repository, or why not.
    pub(crate) fn pull(&self, upstream: &str, name: &RepositoryName) -> Result<(), AccessDenied> {
        self.rules.decide(self.who, upstream, name.as_str(), Right::Pull).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Groups;

    fn rules(rules: &[(&str, &[&str], &[&str], bool)]) -> AccessRules {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let rule = |(who, allow, deny, push): &(&str, &[&str], &[&str], bool)| AccessRule {
            who: (*who).to_owned(),
            allow: texts(allow),
            deny: texts(deny),
            push: *push,
        };
        let groups = Groups::parse("ops: carol ghcr.io/carol\n").unwrap();
        let clients = ClientsConfig { groups, ..ClientsConfig::default() };
        AccessRules::new(&rules.iter().map(rule).collect::<Vec<_>>(), &clients)
    }

    const ALICE: Who<'_> = Who { name: Some("alice"), registry: None, issuer: None };

    #[test]
    fn without_rules_nothing_is_denied_and_with_one_the_rest_is() {
        assert_eq!(rules(&[]).decide(ALICE, "ghcr.io", "a/b", Right::Push), Ok(None));
        let one = rules(&[("bob", &["**"], &[], true)]);
        assert_eq!(one.decide(ALICE, "ghcr.io", "a/b", Right::Pull), Err(AccessDenied::NoRule));
        assert_eq!(one.decide(Who::user("bob"), "ghcr.io", "a/b", Right::Push), Ok(Some(1)));
    }

    #[test]
    fn the_first_rule_that_has_the_repository_decides_and_its_deny_goes_before_its_allow() {
        let rules = rules(&[
            ("bob", &["**"], &[], true),
            ("alice", &["ghcr.io/acme/**"], &["ghcr.io/acme/secret/**"], false),
            ("*", &["**"], &["quay.io/**"], true),
        ]);
        for (upstream, repository, right, expected) in [
            ("ghcr.io", "acme/app", Right::Pull, Ok(Some(2))),
            ("ghcr.io", "acme/app", Right::Push, Err(AccessDenied::Push(2))),
            ("ghcr.io", "acme/secret/app", Right::Pull, Err(AccessDenied::Rule(2))),
            ("ghcr.io", "other/app", Right::Push, Ok(Some(3))),
            ("quay.io", "acme/app", Right::Pull, Err(AccessDenied::Rule(3))),
        ] {
            assert_eq!(rules.decide(ALICE, upstream, repository, right), expected, "{upstream}/{repository}");
        }
    }

    #[test]
    fn a_rule_is_for_those_whom_it_names_and_for_nobody_who_is_called_like_its_form() {
        let workload = Who { name: Some("acme/app"), registry: None, issuer: Some("https://a.test") };
        for (who, named, others) in [
            ("*", vec![ALICE, Who::ANONYMOUS, workload], vec![]),
            ("anonymous", vec![Who::ANONYMOUS], vec![ALICE, workload, Who::user("anonymous"), Who::user("")]),
            ("**", vec![ALICE, Who::account("ghcr.io", "alice")], vec![Who::ANONYMOUS, workload]),
            ("al*", vec![ALICE], vec![Who::user("bob"), Who::account("ghcr.io", "alice"), Who::ANONYMOUS]),
            (
                "ghcr.io/*",
                vec![Who::account("ghcr.io", "alice")],
                vec![ALICE, Who::account("quay.io", "alice"), Who::account("ghcr.io", "a/b")],
            ),
            // A user of the password file may be called so, and is no account of a registry.
            (
                "ghcr.io/alice",
                vec![Who::account("ghcr.io", "alice")],
                vec![Who::account("evil.test", "ghcr.io/alice")],
            ),
            (
                "group:ops",
                vec![Who::user("carol"), Who::account("ghcr.io", "carol")],
                vec![
                    ALICE,
                    Who::user("group:ops"),
                    Who::user("ops"),
                    Who::account("quay.io", "carol"),
                    Who { name: Some("carol"), ..workload },
                    Who::ANONYMOUS,
                ],
            ),
            (
                "issuer:https://a.test",
                vec![workload],
                vec![ALICE, Who::ANONYMOUS, Who::user("issuer:https://a.test")],
            ),
            ("issuer:https://a.test acme/*", vec![workload], vec![Who { name: Some("other/app"), ..workload }]),
            ("issuer:https://a.test/", vec![], vec![workload]),
            ("acme/*", vec![Who::user("acme/app")], vec![workload]),
        ] {
            let rules = rules(&[(who, &["**"], &[], false)]);
            let may = |asks: Who<'_>| rules.decide(asks, "ghcr.io", "a/b", Right::Pull).is_ok();
            for asks in named {
                assert!(may(asks), "{who}: {asks:?}");
            }
            for asks in others {
                assert!(!may(asks), "{who}: {asks:?}");
            }
        }
    }

    #[test]
    fn a_registrys_name_is_no_part_of_a_repositorys() {
        let rules = rules(&[("*", &["a.test/b/**"], &[], false)]);
        for (upstream, repository, may) in [
            ("a.test", "b/c", true),
            ("a.test", "b", false),
            ("c.test", "a.test/b/c", false),
            ("a.tes", "t/b/c", false),
        ] {
            assert_eq!(
                rules.decide(ALICE, upstream, repository, Right::Pull).is_ok(),
                may,
                "{upstream}/{repository}"
            );
        }
    }

    #[test]
    fn a_login_may_help_where_a_rule_for_logins_allows_it() {
        let rules = rules(&[
            ("anonymous", &["a.test/public/**"], &[], true),
            ("alice", &["a.test/team/**"], &["a.test/team/secret"], false),
        ]);
        for (repository, right, helps) in [
            ("team/app", Right::Pull, true),
            ("team/app", Right::Push, false),
            ("team/secret", Right::Pull, false),
            ("public/app", Right::Pull, false),
            ("other", Right::Pull, false),
        ] {
            assert_eq!(rules.may_somebody("a.test", repository, right), helps, "{repository} {right:?}");
        }
    }

    #[test]
    fn what_the_rules_say_to_a_client_changes_with_its_own_rules_only() {
        let before = rules(&[("alice", &["a.test/**"], &[], false), ("bob", &["**"], &[], true)]);
        let text = before.text_for(ALICE);
        let same = rules(&[("bob", &["a.test/b"], &[], true), ("alice", &["a.test/**"], &[], false)]);
        assert_eq!(same.text_for(ALICE), text);
        for changed in [
            rules(&[("bob", &["**"], &[], true)]),
            rules(&[("alice", &["a.test/**"], &[], true)]),
            rules(&[("alice", &["a.test/*"], &[], false)]),
            rules(&[("alice", &[], &["a.test/**"], false)]),
            rules(&[("alice", &["a.test/**"], &[], false), ("*", &["b.test/**"], &[], false)]),
        ] {
            assert_ne!(changed.text_for(ALICE), text);
        }
    }
}
