//! Whether a manifest or a blob may leave by the policy of its repository (`[[policy]]`), and a blob by what is blocked. Without a rule
//! nothing is done here.

use bytes::Bytes;

use super::ask_service::{AskedManifest, service_word};
use super::blocked::refuse_blocked_part;
use super::judge::{key_of, verdict};
use crate::cache::{Children, StoredManifest};
use crate::config::PolicyMode;
use crate::digest::Digest;
use crate::error::{Error, Unverified};
use crate::name::Reference;
use crate::outcome::Reason;
use crate::platform::{Moment, within};
use crate::policy::{ImagePolicy, PolicyDecision, ServiceVerdict, SignatureVerdict, VerdictOf, WANTED_CONSENT};
use crate::request::RequestContext;
use crate::shared_requests::Manifest;

/// Most manifests that name a blob and are judged for its sake.
const MAX_MANIFESTS: usize = 16;

/// The rule for the repository of a request. A client that may push asks by HEAD what it must send: it reads nothing by that.
fn rule_for<'a>(context: &RequestContext<'a>) -> Option<&'a ImagePolicy> {
    let rule = context.env.settings.policy.rule_for(context.upstream.name(), &context.target.name)?;
    (!context.may_push()).then_some(rule)
}

/// Refuses a manifest that is not as its policy wants.
pub(super) async fn admit(
    context: &RequestContext<'_>,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<(), Error> {
    let Some(rule) = rule_for(context) else { return Ok(()) };
    // A HEAD that finds out whether there is a signature.
    if manifest.bytes.is_none() && reference.is_attachment() {
        return Ok(());
    }
    let tag = match reference {
        Reference::Tag(tag) => Some(tag.as_str()),
        Reference::Digest(_) => None,
    };
    let asked = AskedManifest { digest: &manifest.digest, media_type: manifest.media_type, tag };
    Box::pin(pass(context, rule, &asked, manifest.bytes.as_ref())).await.map(|_| ())
}

/// By what a manifest passed.
struct Passed {
    signature: SignatureVerdict,
    /// Until when the service's word counts; `None`: none was asked.
    until: Option<Moment>,
}

/// Lets a manifest pass that has the signature and the consent that its policy wants. Where its mode is `warn`, everything passes.
async fn pass(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    asked: &AskedManifest<'_>,
    bytes: Option<&Bytes>,
) -> Result<Passed, Error> {
    let signature = verdict(context, rule, asked.digest, bytes).await;
    match rule.decide(signature) {
        PolicyDecision::Serve | PolicyDecision::ServeAndWarn => {}
        PolicyDecision::Refuse => return Err(unverified(context, rule, asked.digest, signature)),
    }
    let service = match (&rule.service, signature) {
        (None, _) | (Some(_), SignatureVerdict::Attachment) => return Ok(Passed { signature, until: None }),
        (Some(service), _) => service,
    };
    let word = service_word(context, rule, service, asked).await;
    match rule.decide_service(&word.verdict) {
        PolicyDecision::Serve | PolicyDecision::ServeAndWarn => {}
        PolicyDecision::Refuse => return Err(denied(context, rule, asked.digest, &word.verdict)),
    }
    let passed = Passed { signature, until: Some(word.until) };
    // With a cache, its manifests say which blobs pass (`is_named`). Without one nothing else does.
    if let (Some(bytes), None, PolicyMode::Enforce) = (bytes, context.cache(), rule.mode) {
        for blob in &Children::of(bytes).blobs {
            keep_blob(context, rule, blob, &passed);
        }
    }
    Ok(passed)
}

/// Remembers that a blob may leave, as long as what named it may.
fn keep_blob(context: &RequestContext<'_>, rule: &ImagePolicy, blob: &Digest, passed: &Passed) {
    let verdicts = &context.env.shared_requests.verdicts;
    let key = key_of(context, rule, VerdictOf::Blob, blob);
    match passed.until {
        Some(until) => verdicts.keep_until(key, passed.signature, Some(until)),
        None => verdicts.keep(key, passed.signature, context.env.platform.clock.now()),
    }
}

/// The refusal of a manifest without the signature.
pub(crate) fn unverified(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
    verdict: SignatureVerdict,
) -> Error {
    let signer = rule.signature.as_ref().map(|wanted| &*wanted.signer).unwrap_or_default();
    refusal(context, rule, digest, &format!("a signature by {signer}"), verdict.to_string(), verdict.reason())
}

/// The refusal of a manifest that the service does not consent to.
pub(crate) fn denied(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
    verdict: &ServiceVerdict,
) -> Error {
    refusal(context, rule, digest, WANTED_CONSENT, verdict.to_string(), verdict.reason())
}

fn refusal(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
    wanted: &str,
    found: String,
    reason: Reason,
) -> Error {
    Error::Unverified(Box::new(Unverified {
        what: format!("{}/{}@{digest}", context.upstream.name(), context.target.name).into(),
        pattern: rule.pattern.clone(),
        wanted: wanted.into(),
        found: found.into(),
        reason,
    }))
}

/// Refuses a blob that no manifest names which is not blocked and which the policy of its repository lets through.
pub(crate) async fn admit_blob(context: &RequestContext<'_>, digest: &Digest) -> Result<(), Error> {
    if !context.env.blocks.is_empty() {
        Box::pin(refuse_blocked_part(context, digest)).await?;
    }
    let Some(rule) = rule_for(context) else { return Ok(()) };
    match rule.mode {
        // Its manifest was told of.
        PolicyMode::Warn => return Ok(()),
        PolicyMode::Enforce => {}
    }
    let clock = &*context.env.platform.clock;
    let key = key_of(context, rule, VerdictOf::Blob, digest);
    if context.env.shared_requests.verdicts.get(&key, clock.now()).is_some_and(SignatureVerdict::is_accepted) {
        return Ok(());
    }
    let limit = context.env.settings.timeouts.first_byte.0;
    if within(clock, limit, Box::pin(is_named(context, rule, digest))).await == Ok(true) {
        return Ok(());
    }
    let found = "no manifest of this repository that passed here by that names this blob; pull the image again";
    Err(refusal(context, rule, digest, &rule.wanted(), found.to_owned(), Reason::OfNoSignedImage))
}

/// Whether a cached manifest of this repository names a blob, and passes.
async fn is_named(context: &RequestContext<'_>, rule: &ImagePolicy, blob: &Digest) -> bool {
    let Some(cache) = context.cache() else { return false };
    let names = |manifest: &StoredManifest| manifest.children().blobs.contains(blob);
    let manifests = cache.manifests_of(context.upstream.name(), &context.target.name, MAX_MANIFESTS, names).await;
    for manifest in manifests {
        let asked = AskedManifest { digest: &manifest.digest, media_type: manifest.media_type, tag: None };
        if let Ok(passed) = pass(context, rule, &asked, Some(&manifest.bytes)).await {
            keep_blob(context, rule, blob, &passed);
            return true;
        }
    }
    false
}
