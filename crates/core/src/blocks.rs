//! What this proxy never serves (`[[block]]`): pure. A manifest or blob by its digest, a repository or a tag by its name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use crate::config::BlockRule;
use crate::digest::Digest;
use crate::error::Blocked;
use crate::evidence::ClientScope;
use crate::name::{Reference, RepositoryName};
use crate::pattern;
use crate::platform::Moment;
use crate::route::Endpoint;
use crate::sync::Mutex;

/// How long it is remembered what blocked manifests name: one that could not be read may be readable then.
const PARTS_LIFE: Duration = Duration::from_mins(10);

/// How long a repository is not asked again for a blocked manifest that it does not have, nor about a blob that may leave.
const ANSWER_LIFE: Duration = Duration::from_mins(10);

/// Most answers of [`ANSWER_LIFE`] that are remembered, of some 300 bytes each.
const MAX_ANSWERS: usize = 1 << 13;

const SHA256: &str = "sha256";

/// Blobs, each with a blocked manifest that names it.
pub(crate) type BlockedParts = Arc<HashMap<Digest, Digest>>;

/// What this proxy never serves.
pub(crate) struct Blocks {
    digests: BTreeMap<Digest, Box<str>>,
    /// Whether some of them are of another algorithm than SHA-256.
    has_others: bool,
    patterns: Vec<(Box<str>, Box<str>)>,
    /// What blocked manifests name, as far as anybody knew.
    parts: Mutex<KnownParts>,
    /// Until when an answer about a digest in a repository counts.
    answers: Option<Cache<AnswerKey, Moment>>,
}

/// What is known of a digest in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    /// This blob belongs to no blocked manifest alone.
    MayLeave,
    /// This blocked manifest is not there.
    IsAbsent,
}

/// An answer, for whom and where: what one client's login does not find says nothing to another.
#[derive(PartialEq, Eq, Hash)]
struct AnswerKey {
    answer: Answer,
    digest: Digest,
    scope: ClientScope,
}

/// The key of an answer that is looked for: the same hash, and nothing is copied.
#[derive(Hash)]
struct AnswerQuestion<'a> {
    answer: Answer,
    digest: &'a Digest,
    scope: &'a ClientScope,
}

impl Equivalent<AnswerKey> for AnswerQuestion<'_> {
    fn equivalent(&self, key: &AnswerKey) -> bool {
        (self.answer, self.digest, self.scope) == (key.answer, &key.digest, &key.scope)
    }
}

/// What blocked manifests name, and when the cache was asked.
#[derive(Default)]
struct KnownParts {
    asked: Option<Moment>,
    /// Blocked manifests that were seen.
    seen: HashSet<Digest>,
    parts: BlockedParts,
}

impl Blocks {
    /// By these rules, which have been checked.
    pub(crate) fn new(rules: &[BlockRule]) -> Self {
        let digest =
            |rule: &BlockRule| Some((Digest::parse(rule.digest.as_ref()?).ok()?, Box::from(rule.reason.as_str())));
        let pattern = |rule: &BlockRule| Some((rule.pattern.as_deref()?.into(), Box::from(rule.reason.as_str())));
        let digests: BTreeMap<Digest, Box<str>> = rules.iter().filter_map(digest).collect();
        Self {
            answers: (!digests.is_empty()).then(|| Cache::new(MAX_ANSWERS)),
            has_others: digests.keys().any(|digest| digest.algorithm() != SHA256),
            digests,
            patterns: rules.iter().filter_map(pattern).collect(),
            parts: Mutex::default(),
        }
    }

    /// Whether nothing is blocked.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.patterns.is_empty()
    }

    /// Blocked digests.
    pub(crate) fn digests(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.digests.keys()
    }

    /// What blocked manifests name; `None`: the cache has not been asked lately.
    pub(crate) fn parts(&self, now: Moment) -> Option<BlockedParts> {
        let known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        (now.since(known.asked?) < PARTS_LIFE).then(|| Arc::clone(&known.parts))
    }

    /// The cache says what blocked manifests name, each of them with its blobs.
    pub(crate) fn learn_parts(&self, now: Moment, learned: Vec<(Digest, Vec<Digest>)>) -> BlockedParts {
        let mut known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked = Some(now);
        known.add(learned)
    }

    /// A blocked manifest was seen on its way: these are the blobs that it names.
    pub(crate) fn learn_manifest(&self, blocked: &Digest, blobs: Vec<Digest>) -> BlockedParts {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).add(vec![(blocked.clone(), blobs)])
    }

    /// The blocked digests of which nobody has seen what they name, and which may be in this repository.
    pub(crate) fn unseen_in(&self, scope: &ClientScope, now: Moment) -> Vec<Digest> {
        let unseen: Vec<Digest> = {
            let known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            self.digests.keys().filter(|digest| !known.seen.contains(*digest)).cloned().collect()
        };
        unseen.into_iter().filter(|digest| !self.is_known(Answer::IsAbsent, scope, digest, now)).collect()
    }

    /// A blocked manifest is not in a repository.
    pub(crate) fn learn_absence(&self, scope: &ClientScope, blocked: &Digest, now: Moment) {
        self.keep(Answer::IsAbsent, scope, blocked, now);
    }

    /// Whether a blob was found a moment ago to belong to no blocked manifest alone.
    pub(crate) fn may_leave(&self, scope: &ClientScope, blob: &Digest, now: Moment) -> bool {
        self.is_known(Answer::MayLeave, scope, blob, now)
    }

    /// A blob belongs to no blocked manifest alone.
    pub(crate) fn let_leave(&self, scope: &ClientScope, blob: &Digest, now: Moment) {
        self.keep(Answer::MayLeave, scope, blob, now);
    }

    fn is_known(&self, answer: Answer, scope: &ClientScope, digest: &Digest, now: Moment) -> bool {
        let until = self.answers.as_ref().and_then(|known| known.get(&AnswerQuestion { answer, digest, scope }));
        until.is_some_and(|until| now < until)
    }

    fn keep(&self, answer: Answer, scope: &ClientScope, digest: &Digest, now: Moment) {
        if let Some(answers) = &self.answers {
            let key = AnswerKey { answer, digest: digest.clone(), scope: scope.clone() };
            answers.insert(key, now.after(ANSWER_LIFE));
        }
    }

    /// Why a request to read is refused, as far as its address says.
    pub(crate) fn request(
        &self,
        upstream: &str,
        repository: &RepositoryName,
        endpoint: &Endpoint,
    ) -> Option<Blocked> {
        if self.is_empty() {
            return None;
        }
        let (tag, digest) = match endpoint {
            Endpoint::Manifest(Reference::Tag(tag)) => (Some(tag.as_str()), None),
            Endpoint::Manifest(Reference::Digest(digest)) | Endpoint::Blob(digest) => (None, Some(digest)),
            // A list names what there is, and serves none of it: only those of a whole repository are refused.
            Endpoint::Referrers(_) | Endpoint::Tags | Endpoint::Uploads | Endpoint::Upload => (None, None),
        };
        digest.and_then(|digest| self.digest(digest)).or_else(|| self.name(upstream, repository, tag))
    }

    /// Why a digest is not served.
    pub(crate) fn digest(&self, digest: &Digest) -> Option<Blocked> {
        let reason = self.digests.get(digest)?;
        Some(Blocked { what: digest.as_str().into(), reason: reason.clone() })
    }

    /// Why these bytes, which go by a digest, are not served. They may be blocked by a digest of another algorithm.
    pub(crate) fn content(&self, digest: &Digest, bytes: Option<&[u8]>) -> Option<Blocked> {
        self.digest(digest).or_else(|| {
            if !self.has_others && digest.algorithm() == SHA256 {
                return None;
            }
            let other = |blocked: &&Digest| blocked.algorithm() != digest.algorithm();
            let matches = |blocked: &&Digest| bytes.is_some_and(|bytes| blocked.matches(bytes) == Some(true));
            self.digests.keys().filter(other).find(matches).and_then(|blocked| self.digest(blocked))
        })
    }

    /// A pattern with a tag means that tag; one without means the repository and all that is in it.
    fn name(&self, upstream: &str, repository: &RepositoryName, tag: Option<&str>) -> Option<Blocked> {
        let repository = repository.as_str();
        let name = [upstream, "/", repository];
        let is_meant = |pattern: &str| match tag {
            None => pattern::matches_joined(pattern, &name),
            Some(tag) => {
                let tagged = [upstream, "/", repository, ":", tag];
                // What the tagged name does not begin with, the name does not either: most requests end here.
                pattern::may_match_joined(pattern, &tagged)
                    && (pattern::matches_joined(pattern, &name) || pattern::matches_joined(pattern, &tagged))
            }
        };
        let (_, reason) = self.patterns.iter().find(|(pattern, _)| is_meant(pattern))?;
        let what = match tag {
            Some(tag) => format!("{upstream}/{repository}:{tag}"),
            None => format!("{upstream}/{repository}"),
        };
        Some(Blocked { what: what.into(), reason: reason.clone() })
    }
}

impl KnownParts {
    /// What was known before stays known: it may have been evicted since.
    fn add(&mut self, learned: Vec<(Digest, Vec<Digest>)>) -> BlockedParts {
        let mut all = HashMap::clone(&self.parts);
        for (blocked, blobs) in learned {
            all.extend(blobs.into_iter().map(|blob| (blob, blocked.clone())));
            self.seen.insert(blocked);
        }
        self.parts = Arc::new(all);
        Arc::clone(&self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(digest: Option<&str>, pattern: Option<&str>) -> BlockRule {
        BlockRule { digest: digest.map(Into::into), pattern: pattern.map(Into::into), reason: "because".into() }
    }

    #[test]
    fn a_pattern_means_a_tag_or_a_whole_repository() {
        let blocks = |pattern| Blocks::new(&[rule(None, Some(pattern))]);
        for (pattern, repository, tag, expected) in [
            ("docker.io/evil/**", "evil/app", Some("v1"), true),
            ("docker.io/evil/**", "evil/app", None, true),
            ("docker.io/evil/app", "evil/app", Some("v1"), true),
            ("docker.io/evil/app", "evil/app2", Some("v1"), false),
            ("docker.io/evil/app:v1", "evil/app", Some("v1"), true),
            ("docker.io/evil/app:v1", "evil/app", Some("v2"), false),
            ("docker.io/evil/app:v1", "evil/app", None, false),
            ("**:latest", "any/thing", Some("latest"), true),
            ("ghcr.io/**", "evil/app", Some("v1"), false),
        ] {
            let repository = RepositoryName::parse(repository).unwrap();
            let blocked = blocks(pattern).name("docker.io", &repository, tag);
            assert_eq!(blocked.is_some(), expected, "{pattern} {repository} {tag:?}");
        }
    }

    #[test]
    fn a_manifest_is_blocked_by_whichever_algorithm_names_it() {
        let bytes = b"{}";
        let blocks = Blocks::new(&[rule(Some(Digest::sha256(bytes).as_str()), None)]);
        // printf '{}' | sha512sum
        let sha512 = "sha512:27c74670adb75075fad058d5ceaf7b20c4e7786c83bae8a32f626f9782af34c9a33c2046ef60fd2a7878d378e29fec851806bbd9a67878f3a9f1cda4830763fd";
        let sha512 = Digest::parse(sha512).unwrap();
        assert!(sha512.matches(bytes) == Some(true) && blocks.digest(&sha512).is_none());
        assert!(blocks.content(&sha512, Some(bytes)).is_some());
        assert!(blocks.content(&sha512, Some(b"[]")).is_none());
        assert!(blocks.content(&Digest::sha256(b"[]"), Some(b"[]")).is_none());
    }
}
