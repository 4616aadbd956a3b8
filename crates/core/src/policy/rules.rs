//! The rules, and what becomes of an image by them.

use std::sync::Arc;

use super::verdict::SignatureVerdict;
use crate::config::{PolicyMode, PolicyRule};
use crate::name::RepositoryName;
use crate::pattern;
use crate::platform::SignatureKey;

/// How many hex digits of a key's fingerprint messages show.
const SHOWN_DIGITS: usize = 16;

/// A rule and its key.
pub(crate) struct SignaturePolicy {
    /// The repositories it applies to.
    pub(crate) pattern: Box<str>,
    /// What becomes of an image without the signature.
    pub(crate) mode: PolicyMode,
    /// The signer, for messages.
    pub(crate) signer: Box<str>,
    /// The signer's key; `None`: this platform verifies no signatures.
    pub(crate) key: Option<Arc<dyn SignatureKey>>,
}

/// What becomes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyDecision {
    /// It is served.
    Serve,
    /// It is served, and the operator is told.
    ServeAndWarn,
    /// It is refused.
    Refuse,
}

impl SignaturePolicy {
    fn new(rule: &PolicyRule, key: Option<&Arc<dyn SignatureKey>>) -> Self {
        // The path of a file concerns no client.
        let file = rule.require.key_file.rsplit('/').next().unwrap_or_default();
        let signer = match key {
            Some(key) => {
                let digits =
                    key.fingerprint().into_iter().take(SHOWN_DIGITS / 2).map(|byte| format!("{byte:02x}"));
                format!("the key {file} (SHA-256 {}…)", digits.collect::<String>())
            }
            None => format!("the key {file}"),
        };
        Self { pattern: rule.pattern.as_str().into(), mode: rule.mode, signer: signer.into(), key: key.cloned() }
    }

    /// What becomes of an image with this verdict.
    pub(crate) const fn decide(&self, verdict: SignatureVerdict) -> PolicyDecision {
        match (verdict.is_accepted(), self.mode) {
            (true, _) => PolicyDecision::Serve,
            (false, PolicyMode::Warn) => PolicyDecision::ServeAndWarn,
            (false, PolicyMode::Enforce) => PolicyDecision::Refuse,
        }
    }

    /// Whether the rule can apply to an upstream at all: what stands before its first star says so without the
    /// repository's name.
    fn may_mean(&self, upstream: &str) -> bool {
        let fixed = self.pattern.split('*').next().unwrap_or_default().as_bytes();
        fixed.iter().zip(upstream.as_bytes()).all(|(expected, found)| expected == found)
    }
}

/// All rules, in their order.
pub(crate) struct PolicyRules(Vec<SignaturePolicy>);

impl PolicyRules {
    /// Rules that have been checked, and the key of each, as far as the platform has any.
    pub(crate) fn new(rules: &[PolicyRule], keys: &[Arc<dyn SignatureKey>]) -> Self {
        Self(rules.iter().enumerate().map(|(i, rule)| SignaturePolicy::new(rule, keys.get(i))).collect())
    }

    /// The first rule that matches a repository.
    pub(crate) fn rule_for(&self, upstream: &str, repository: &RepositoryName) -> Option<&SignaturePolicy> {
        // Without a rule that can match, nothing is allocated.
        if !self.0.iter().any(|rule| rule.may_mean(upstream)) {
            return None;
        }
        let name = format!("{upstream}/{repository}");
        self.0.iter().find(|rule| pattern::matches(&rule.pattern, &name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RequiredSigner;
    use crate::policy::NoVerdict;

    fn rule(pattern: &str, key_file: &str, mode: PolicyMode) -> PolicyRule {
        PolicyRule { pattern: pattern.to_owned(), require: RequiredSigner { key_file: key_file.to_owned() }, mode }
    }

    struct Key;

    impl SignatureKey for Key {
        fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            false
        }

        fn fingerprint(&self) -> [u8; 32] {
            [0xab; 32]
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_its_key_is_named_without_its_path() {
        let keys: [Arc<dyn SignatureKey>; 1] = [Arc::new(Key)];
        let rules = [
            rule("ghcr.io/acme/**", "/etc/keys/acme.pub", PolicyMode::Enforce),
            rule("ghcr.io/*/app", "other.pub", PolicyMode::Warn),
            rule("registry.test:5000/**", "r.pub", PolicyMode::Warn),
        ];
        let rules = PolicyRules::new(&rules, &keys);
        for (upstream, repository, expected) in [
            ("ghcr.io", "acme/app", Some("the key acme.pub (SHA-256 abababababababab…)")),
            ("ghcr.io", "acme/a/b", Some("the key acme.pub (SHA-256 abababababababab…)")),
            ("ghcr.io", "other/app", Some("the key other.pub")),
            ("ghcr.io", "other/tool", None),
            ("ghcr.io", "acme", None),
            ("docker.io", "acme/app", None),
            ("ghcr.io.evil.test", "acme/app", None),
            ("registry.test:5000", "any/thing", Some("the key r.pub")),
        ] {
            let found = rules.rule_for(upstream, &RepositoryName::parse(repository).unwrap());
            assert_eq!(found.map(|rule| &*rule.signer), expected, "{upstream}/{repository}");
        }
        assert!(PolicyRules::new(&[], &keys).rule_for("ghcr.io", &RepositoryName::parse("a").unwrap()).is_none());
    }

    #[test]
    fn only_enforce_refuses_and_nothing_but_a_signature_satisfies_it() {
        use crate::policy::verdict::Flaw;
        let (warn, enforce) = (PolicyMode::Warn, PolicyMode::Enforce);
        for (verdict, by_warn, by_enforce) in [
            (SignatureVerdict::Signed, PolicyDecision::Serve, PolicyDecision::Serve),
            (SignatureVerdict::PartOfSigned, PolicyDecision::Serve, PolicyDecision::Serve),
            (SignatureVerdict::Attachment, PolicyDecision::Serve, PolicyDecision::Serve),
            (SignatureVerdict::Unsigned, PolicyDecision::ServeAndWarn, PolicyDecision::Refuse),
            (
                SignatureVerdict::Rejected { signatures: 1, flaw: Flaw::NotByKey },
                PolicyDecision::ServeAndWarn,
                PolicyDecision::Refuse,
            ),
            (SignatureVerdict::Unknown(NoVerdict::TooLate), PolicyDecision::ServeAndWarn, PolicyDecision::Refuse),
            (
                SignatureVerdict::Unknown(NoVerdict::NoVerifier),
                PolicyDecision::ServeAndWarn,
                PolicyDecision::Refuse,
            ),
        ] {
            let decide = |mode| SignaturePolicy::new(&rule("**", "k", mode), None).decide(verdict);
            assert_eq!((decide(warn), decide(enforce)), (by_warn, by_enforce), "{verdict:?}");
        }
    }
}
