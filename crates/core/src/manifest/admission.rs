//! Whether a manifest or a blob may leave by the policy of its repository (`[[policy]]`). Without a rule for the repository nothing is
//! done here.

use super::judge::{key_of, verdict};
use crate::cache::StoredManifest;
use crate::config::PolicyMode;
use crate::digest::Digest;
use crate::error::{Error, Unverified};
use crate::name::Reference;
use crate::outcome::Reason;
use crate::platform::within;
use crate::policy::{PolicyDecision, SignaturePolicy, SignatureVerdict, VerdictOf};
use crate::request::RequestContext;
use crate::shared_requests::Manifest;

/// Most manifests that name a blob and are asked for a signature for its sake.
const MAX_MANIFESTS: usize = 16;

/// The rule for the repository of a request. A client that may push asks by HEAD what it must send: it reads nothing by that.
fn rule_for<'a>(context: &RequestContext<'a>) -> Option<&'a SignaturePolicy> {
    let rule = context.env.settings.policy.rule_for(context.upstream.name(), &context.target.name)?;
    (!context.may_push()).then_some(rule)
}

/// Refuses a manifest that has not the signature that its policy wants.
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
    let verdict = Box::pin(verdict(context, rule, &manifest.digest, manifest.bytes.as_ref())).await;
    match rule.decide(verdict) {
        PolicyDecision::Serve | PolicyDecision::ServeAndWarn => Ok(()),
        PolicyDecision::Refuse => Err(unverified(context, rule, &manifest.digest, verdict)),
    }
}

/// The refusal of a manifest.
pub(crate) fn unverified(
    context: &RequestContext<'_>,
    rule: &SignaturePolicy,
    digest: &Digest,
    verdict: SignatureVerdict,
) -> Error {
    refusal(context, rule, digest, verdict.to_string(), verdict.reason())
}

fn refusal(
    context: &RequestContext<'_>,
    rule: &SignaturePolicy,
    digest: &Digest,
    found: String,
    reason: Reason,
) -> Error {
    Error::Unverified(Box::new(Unverified {
        what: format!("{}/{}@{digest}", context.upstream.name(), context.target.name).into(),
        pattern: rule.pattern.clone(),
        signer: rule.signer.clone(),
        found: found.into(),
        reason,
    }))
}

/// Refuses a blob that no manifest names which the policy of its repository lets through.
pub(crate) async fn admit_blob(context: &RequestContext<'_>, digest: &Digest) -> Result<(), Error> {
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
    let found = "no manifest of this repository that has it and passed here names this blob; pull the image again";
    Err(refusal(context, rule, digest, found.to_owned(), Reason::OfNoSignedImage))
}

/// Whether a cached manifest of this repository names a blob, and has the signature.
async fn is_named(context: &RequestContext<'_>, rule: &SignaturePolicy, blob: &Digest) -> bool {
    let Some(cache) = context.cache() else { return false };
    let names = |manifest: &StoredManifest| manifest.children().blobs.contains(blob);
    let manifests = cache.manifests_of(context.upstream.name(), &context.target.name, MAX_MANIFESTS, names).await;
    for manifest in manifests {
        let verdict = verdict(context, rule, &manifest.digest, Some(&manifest.bytes)).await;
        if verdict.is_accepted() {
            let (verdicts, now) = (&context.env.shared_requests.verdicts, context.env.platform.clock.now());
            verdicts.keep(key_of(context, rule, VerdictOf::Blob, blob), verdict, now);
            return true;
        }
    }
    false
}
