//! Verdicts of a moment ago, and those that are being looked for, each once for all who wait. In memory only: the signatures
//! themselves are cached as all content is.

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::rules::ImagePolicy;
use super::service::{ServiceVerdict, VerdictService};
use super::verdict::SignatureVerdict;
use crate::digest::Digest;
use crate::evidence::ClientScope;
use crate::name::RepositoryName;
use crate::platform::Moment;
use crate::single_flight::SingleFlight;

/// Most verdicts that are remembered, of some 100 bytes each.
const MAX_VERDICTS: usize = 1 << 16;

/// What a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerdictOf {
    /// A manifest.
    Manifest,
    /// A blob that manifests name.
    Blob,
}

/// Whose verdict about what: a hash of what is wanted, the repository, the client's login there, and the digest. So a changed key asks
/// again, and what one client's login may not see says nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VerdictKey([u8; 32]);

impl VerdictKey {
    /// The key of a verdict.
    pub(crate) fn new(scope: &ClientScope, rule: &ImagePolicy, of: VerdictOf, digest: &Digest) -> Self {
        let mut hash = Sha256::new();
        let ClientScope { upstream, repository, credential } = scope;
        hash.update(rule.fingerprint());
        hash.update(credential);
        hash.update([match of {
            VerdictOf::Manifest => 0,
            VerdictOf::Blob => 1,
        }]);
        // None of these contains a zero byte.
        for text in [&**upstream, &**repository, digest.as_str()] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        Self(hash.finalize().into())
    }

    /// The key of what a service says of a manifest: to all clients, since only those who may have the manifest come to hear of it.
    pub(crate) fn of_service(
        service: &VerdictService,
        upstream: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(service.fingerprint());
        // None of these contains a zero byte.
        for text in [upstream, repository.as_str(), digest.as_str()] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        Self(hash.finalize().into())
    }
}

#[derive(Clone, Copy)]
struct KnownVerdict<V> {
    verdict: V,
    /// `None`: for as long as there is room.
    until: Option<Moment>,
}

/// Verdicts of a moment ago, and those that are being looked for.
pub(crate) struct Verdicts<V> {
    known: Cache<VerdictKey, KnownVerdict<V>>,
    /// Those that are being looked for.
    pub(crate) flights: SingleFlight<VerdictKey, V>,
}

impl<V: Clone> Verdicts<V> {
    /// Looked for together only where requests may wait for each other (`Capabilities::shares_io`).
    pub(crate) fn new(shares_io: bool) -> Self {
        Self { known: Cache::new(MAX_VERDICTS), flights: SingleFlight::new(shares_io) }
    }

    /// A verdict that is known.
    pub(crate) fn get(&self, key: &VerdictKey, now: Moment) -> Option<V> {
        let known = self.known.get(key)?;
        known.until.is_none_or(|until| now < until).then_some(known.verdict)
    }

    /// Remembers a verdict until a moment, or for as long as there is room.
    pub(crate) fn keep_until(&self, key: VerdictKey, verdict: V, until: Option<Moment>) {
        self.known.insert(key, KnownVerdict { verdict, until });
    }
}

impl Verdicts<SignatureVerdict> {
    /// Remembers a verdict, for as long as its kind is good.
    pub(crate) fn keep(&self, key: VerdictKey, verdict: SignatureVerdict, now: Moment) {
        self.keep_until(key, verdict, verdict.life().map(|life| now.after(life)));
    }
}

/// What a service said, and until when it counts.
#[derive(Clone)]
pub(crate) struct ServiceWord {
    /// What it said.
    pub(crate) verdict: ServiceVerdict,
    /// Until then.
    pub(crate) until: Moment,
}

impl ServiceWord {
    /// What a service said just now.
    pub(crate) fn new(service: &VerdictService, verdict: ServiceVerdict, now: Moment) -> Self {
        let until = now.after(service.life(&verdict));
        Self { verdict, until }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{PolicyRule, RequiredSigner};
    use crate::platform::{SignatureKey, Signer};
    use crate::policy::{NoVerdict, PolicyRules};

    struct Key(u8);

    impl SignatureKey for Key {
        fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            false
        }

        fn fingerprint(&self) -> [u8; 32] {
            [self.0; 32]
        }
    }

    #[test]
    fn a_verdict_is_for_one_key_repository_login_and_digest() {
        let rules = |fingerprint| {
            let require = Some(RequiredSigner::by_key("k"));
            let rule = PolicyRule { require, ..PolicyRule::new("**") };
            PolicyRules::new(&[rule], &[Some(Signer::Key(Arc::new(Key(fingerprint))))])
        };
        let key = |fingerprint, upstream: &str, repository: &str, credential: u8, of, digest: &[u8]| {
            let repository = RepositoryName::parse(repository).unwrap();
            let rules = rules(fingerprint);
            let rule = rules.rule_for(upstream, &repository).unwrap();
            let scope = ClientScope::new(upstream, &repository, [credential; 16]);
            VerdictKey::new(&scope, rule, of, &Digest::sha256(digest))
        };
        let (manifest, blob) = (VerdictOf::Manifest, VerdictOf::Blob);
        let all = [
            key(1, "u", "a/b", 0, manifest, b"x"),
            key(2, "u", "a/b", 0, manifest, b"x"),
            key(1, "v", "a/b", 0, manifest, b"x"),
            key(1, "u", "a/c", 0, manifest, b"x"),
            key(1, "u", "a/b", 1, manifest, b"x"),
            key(1, "u", "a/b", 0, blob, b"x"),
            key(1, "u", "a/b", 0, manifest, b"y"),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
        assert_eq!(all[0], key(1, "u", "a/b", 0, manifest, b"x"));
    }

    #[test]
    fn that_a_signature_is_missing_is_forgotten_soon_and_that_nobody_could_say_at_once() {
        let (verdicts, key) = (Verdicts::new(true), VerdictKey([0; 32]));
        let at = |seconds| Moment(Duration::from_secs(seconds));
        for (verdict, seconds, expected) in [
            (SignatureVerdict::Signed, 1_000_000, true),
            (SignatureVerdict::Unsigned, 9, true),
            (SignatureVerdict::Unsigned, 10, false),
            (SignatureVerdict::Unknown(NoVerdict::TooLate), 0, false),
        ] {
            verdicts.keep(key, verdict, at(0));
            assert_eq!(verdicts.get(&key, at(seconds)), expected.then_some(verdict), "{verdict:?} {seconds}");
        }
    }
}
