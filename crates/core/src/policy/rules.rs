//! The rules, and what becomes of an image by them.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::service::{ServiceVerdict, VerdictService};
use super::verdict::SignatureVerdict;
use crate::config::{PolicyMode, PolicyRule, SignerSource};
use crate::name::RepositoryName;
use crate::pattern;
use crate::platform::{BundleVerifier, SignatureKey, Signer};

/// How many hex digits of a key's fingerprint messages show.
const SHOWN_DIGITS: usize = 16;

/// A rule, with its key and its service.
pub(crate) struct ImagePolicy {
    /// The repositories it applies to.
    pub(crate) pattern: Box<str>,
    /// What becomes of an image that is not as the rule wants.
    pub(crate) mode: PolicyMode,
    /// Who must have signed, if somebody must.
    pub(crate) signature: Option<WantedSignature>,
    /// Which service is asked, if one is.
    pub(crate) service: Option<VerdictService>,
}

/// The signature that a rule wants.
pub(crate) struct WantedSignature {
    /// The signer, for messages.
    pub(crate) signer: Box<str>,
    /// Who that is; `None`: this platform verifies no signatures.
    pub(crate) by: Option<WantedSigner>,
}

/// A signer that a rule wants.
pub(crate) enum WantedSigner {
    /// Who has this key.
    Key(Arc<dyn SignatureKey>),
    /// An identity.
    Identity(WantedIdentity),
}

/// An identity that a rule wants.
pub(crate) struct WantedIdentity {
    /// The OIDC issuer, exactly.
    pub(crate) issuer: Box<str>,
    /// A pattern of the issuer's names.
    pub(crate) subject: Box<str>,
    /// What verifies bundles.
    pub(crate) verifier: Arc<dyn BundleVerifier>,
}

impl WantedSigner {
    fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Key(key) => key.fingerprint(),
            Self::Identity(WantedIdentity { issuer, subject, verifier }) => {
                let mut hash = Sha256::new();
                hash.update(verifier.fingerprint());
                // Neither contains a zero byte: a certificate's names have none.
                for text in [issuer, subject] {
                    hash.update(text.as_bytes());
                    hash.update([0]);
                }
                hash.finalize().into()
            }
        }
    }
}

/// What a rule wants of a service, for messages: its address concerns no client.
pub(crate) const WANTED_CONSENT: &str = "the consent of an outside service";

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

impl WantedSignature {
    /// What a rule that has been checked wants, if it wants a signature.
    fn new(rule: &PolicyRule, signer: Option<&Signer>) -> Option<Self> {
        let source = rule.require.as_ref()?.source().ok()?;
        Some(match (source, signer) {
            (SignerSource::Key { file }, Some(Signer::Key(key))) => {
                let digits =
                    key.fingerprint().into_iter().take(SHOWN_DIGITS / 2).map(|byte| format!("{byte:02x}"));
                let signer = format!("the key {} (SHA-256 {}…)", name_of(file), digits.collect::<String>());
                Self { signer: signer.into(), by: Some(WantedSigner::Key(Arc::clone(key))) }
            }
            (SignerSource::Identity { issuer, subject, .. }, Some(Signer::Identity(verifier))) => {
                let verifier = Arc::clone(verifier);
                let by = WantedIdentity { issuer: issuer.into(), subject: subject.into(), verifier };
                Self { signer: identity(issuer, subject), by: Some(WantedSigner::Identity(by)) }
            }
            (SignerSource::Key { file }, Some(Signer::Identity(_)) | None) => {
                Self { signer: format!("the key {}", name_of(file)).into(), by: None }
            }
            (SignerSource::Identity { issuer, subject, .. }, Some(Signer::Key(_)) | None) => {
                Self { signer: identity(issuer, subject), by: None }
            }
        })
    }
}

/// A file's name: its path concerns no client.
fn name_of(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or_default()
}

fn identity(issuer: &str, subject: &str) -> Box<str> {
    format!("{subject}, as {issuer} calls it").into()
}

impl ImagePolicy {
    fn new(rule: &PolicyRule, signer: Option<&Signer>, services: usize) -> Self {
        Self {
            pattern: rule.pattern.as_str().into(),
            mode: rule.mode,
            signature: WantedSignature::new(rule, signer),
            service: VerdictService::new(rule, services),
        }
    }

    /// All that it wants, for messages.
    pub(crate) fn wanted(&self) -> String {
        let signature = self.signature.as_ref().map(|wanted| format!("a signature by {}", wanted.signer));
        let parts: Vec<_> =
            signature.into_iter().chain(self.service.as_ref().map(|_| WANTED_CONSENT.to_owned())).collect();
        parts.join(", and ")
    }

    /// Tells it from a rule with another key or service.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let signer = self.signature.as_ref().and_then(|wanted| wanted.by.as_ref());
        hash.update(signer.map_or([0; 32], WantedSigner::fingerprint));
        hash.update(self.service.as_ref().map_or([0; 32], VerdictService::fingerprint));
        hash.finalize().into()
    }

    /// What becomes of an image with this verdict on its signature.
    pub(crate) const fn decide(&self, verdict: SignatureVerdict) -> PolicyDecision {
        self.decide_by(verdict.is_accepted())
    }

    /// What becomes of an image with this verdict of the service.
    pub(crate) const fn decide_service(&self, verdict: &ServiceVerdict) -> PolicyDecision {
        match (verdict, self.decide_by(verdict.is_allowed())) {
            // Served by the default alone: the operator should know.
            (ServiceVerdict::Unanswered { .. }, PolicyDecision::Serve) => PolicyDecision::ServeAndWarn,
            (
                ServiceVerdict::Allowed | ServiceVerdict::Denied { .. } | ServiceVerdict::Unanswered { .. },
                decision,
            ) => decision,
        }
    }

    const fn decide_by(&self, is_accepted: bool) -> PolicyDecision {
        match (is_accepted, self.mode) {
            (true, _) => PolicyDecision::Serve,
            (false, PolicyMode::Warn) => PolicyDecision::ServeAndWarn,
            (false, PolicyMode::Enforce) => PolicyDecision::Refuse,
        }
    }
}

/// All rules, in their order.
pub(crate) struct PolicyRules(Vec<ImagePolicy>);

impl PolicyRules {
    /// Rules that have been checked, and the signer of each, as far as the platform has any.
    pub(crate) fn new(rules: &[PolicyRule], signers: &[Option<Signer>]) -> Self {
        let mut services = 0;
        let rule = |(i, rule): (usize, &PolicyRule)| {
            let policy = ImagePolicy::new(rule, signers.get(i).and_then(Option::as_ref), services);
            services += usize::from(rule.verdict_url.is_some());
            policy
        };
        Self(rules.iter().enumerate().map(rule).collect())
    }

    /// The first rule that matches a repository.
    pub(crate) fn rule_for(&self, upstream: &str, repository: &RepositoryName) -> Option<&ImagePolicy> {
        let pieces = [upstream, "/", repository.as_str()];
        self.0.iter().find(|rule| pattern::matches_joined(&rule.pattern, &pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RequiredSigner, VerdictDefault};
    use crate::policy::{NoAnswer, NoVerdict};

    fn rule(pattern: &str, key_file: &str, mode: PolicyMode) -> PolicyRule {
        let require = Some(RequiredSigner::by_key(key_file));
        PolicyRule { require, mode, ..PolicyRule::new(pattern) }
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
        let signers = [Some(Signer::Key(Arc::new(Key)))];
        let rules = [
            rule("ghcr.io/acme/**", "/etc/keys/acme.pub", PolicyMode::Enforce),
            rule("ghcr.io/*/app", "other.pub", PolicyMode::Warn),
            rule("registry.test:5000/**", "r.pub", PolicyMode::Warn),
        ];
        let rules = PolicyRules::new(&rules, &signers);
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
            let signer = found.and_then(|rule| rule.signature.as_ref()).map(|wanted| &*wanted.signer);
            assert_eq!(signer, expected, "{upstream}/{repository}");
        }
        assert!(
            PolicyRules::new(&[], &signers).rule_for("ghcr.io", &RepositoryName::parse("a").unwrap()).is_none()
        );
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
            let decide = |mode| ImagePolicy::new(&rule("**", "k", mode), None, 0).decide(verdict);
            assert_eq!((decide(warn), decide(enforce)), (by_warn, by_enforce), "{verdict:?}");
        }
    }

    #[test]
    fn only_enforce_refuses_what_a_service_denies_and_a_default_that_allows_is_told() {
        let unanswered = |default| ServiceVerdict::Unanswered { why: NoAnswer::TooLate, default };
        for (verdict, by_warn, by_enforce) in [
            (ServiceVerdict::Allowed, PolicyDecision::Serve, PolicyDecision::Serve),
            (
                ServiceVerdict::Denied { reason: "CVE".into() },
                PolicyDecision::ServeAndWarn,
                PolicyDecision::Refuse,
            ),
            (unanswered(VerdictDefault::Deny), PolicyDecision::ServeAndWarn, PolicyDecision::Refuse),
            (unanswered(VerdictDefault::Allow), PolicyDecision::ServeAndWarn, PolicyDecision::ServeAndWarn),
        ] {
            let decide = |mode| {
                let rule = PolicyRule { mode, ..PolicyRule::new("**") };
                ImagePolicy::new(&rule, None, 0).decide_service(&verdict)
            };
            let decisions = (decide(PolicyMode::Warn), decide(PolicyMode::Enforce));
            assert_eq!(decisions, (by_warn, by_enforce), "{verdict:?}");
        }
    }
}
