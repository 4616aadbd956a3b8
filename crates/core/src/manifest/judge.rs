//! Whether a manifest has the signature that its policy wants: found out once for all who ask, within a deadline, and remembered.
//!
//! What is asked for, by tag or by digest, needs a signature of its own, unless an index of the same repository that has one names
//! it, itself or through other indexes. So asks cosign's policy controller (sigstore/cosign#786: "every leaf image or one of its
//! containing indices satisfies the check"): whoever signs an index signs the digests in it.

use bytes::Bytes;

use super::find::find_any;
use super::signatures::{AskWhom, signature_of};
use crate::cache::{Children, StoredManifest};
use crate::digest::Digest;
use crate::name::Reference;
use crate::platform::within;
use crate::policy::{
    ImagePolicy, NoVerdict, PolicyDecision, SignatureVerdict, VerdictKey, VerdictOf, WantedSignature,
    WantedSigner, is_attachment,
};
use crate::request::{OwnRequest, RequestContext};
use crate::route::Endpoint;
use crate::telemetry;

/// Most indexes of a repository that are asked for a signature for the sake of a manifest that they name.
const MAX_INDEXES: usize = 8;

/// The key of a verdict, for this client.
pub(super) fn key_of(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    of: VerdictOf,
    digest: &Digest,
) -> VerdictKey {
    VerdictKey::new(&context.claim(), rule, of, digest)
}

/// Whether a manifest has the signature that the rule wants. `bytes`: the manifest's, where they are here.
pub(super) async fn verdict(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
    bytes: Option<&Bytes>,
) -> SignatureVerdict {
    let (verdicts, clock) = (&context.env.shared_requests.verdicts, &*context.env.platform.clock);
    let key = key_of(context, rule, VerdictOf::Manifest, digest);
    let known = verdicts.get(&key, clock.now());
    if let Some(known) = known {
        // Without a cache nothing else says what a manifest names.
        if let (Some(bytes), None) = (bytes, context.cache()) {
            accept_parts(context, rule, known, bytes);
        }
        return known;
    }
    let work = || async {
        let limit = context.env.settings.timeouts.first_byte.0;
        let judged = within(clock, limit, Box::pin(judge(context, rule, digest, bytes, AskWhom::Registry))).await;
        let verdict = judged.unwrap_or(SignatureVerdict::Unknown(NoVerdict::TooLate));
        verdicts.keep(key, verdict, clock.now());
        tell(context, rule, digest, verdict);
        verdict
    };
    verdicts.flights.join(&key, work).await
}

/// The same as far as memory and the cache know.
pub(crate) async fn known_verdict(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
) -> SignatureVerdict {
    let key = key_of(context, rule, VerdictOf::Manifest, digest);
    match context.env.shared_requests.verdicts.get(&key, context.env.platform.clock.now()) {
        Some(known) => known,
        None => judge(context, rule, digest, None, AskWhom::Cache).await,
    }
}

async fn judge(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: &Digest,
    bytes: Option<&Bytes>,
    whom: AskWhom,
) -> SignatureVerdict {
    let bytes = match bytes {
        Some(bytes) => Some(bytes.clone()),
        None => bytes_of(context, digest, whom).await,
    };
    let verdict = match (&bytes, rule.signature.as_ref().map(|wanted| wanted.by.as_ref())) {
        (Some(bytes), _) if is_attachment(bytes) => SignatureVerdict::Attachment,
        (_, None) => SignatureVerdict::NotWanted,
        (_, Some(None)) => SignatureVerdict::Unknown(NoVerdict::NoVerifier),
        (_, Some(Some(signer))) => {
            let own = signature_of(context, signer, digest, whom).await;
            if own.is_accepted() || !is_part_of_signed(context, rule, signer, digest, whom).await {
                own
            } else {
                SignatureVerdict::PartOfSigned
            }
        }
    };
    if let Some(bytes) = bytes {
        accept_parts(context, rule, verdict, &bytes);
    }
    verdict
}

/// The bytes of a manifest of which only the head was asked for.
async fn bytes_of(context: &RequestContext<'_>, digest: &Digest, whom: AskWhom) -> Option<Bytes> {
    match whom {
        AskWhom::Cache => {
            let manifest = context.cache()?.metadata.manifest(digest).await?;
            Some(manifest.bytes.clone())
        }
        AskWhom::Registry => {
            let reference = Reference::Digest(digest.clone());
            let request = OwnRequest::beside(context, Endpoint::Manifest(reference.clone()));
            let own = request.context(context.env, context.upstream);
            let (manifest, _) = Box::pin(find_any(&own, &reference)).await.ok()?;
            manifest.bytes
        }
    }
}

/// Remembers what an accepted manifest names, so that it is served, too. Where a service has its say, blobs wait for that.
fn accept_parts(context: &RequestContext<'_>, rule: &ImagePolicy, verdict: SignatureVerdict, bytes: &[u8]) {
    if !verdict.is_accepted() {
        return;
    }
    let (verdicts, now) = (&context.env.shared_requests.verdicts, context.env.platform.clock.now());
    let children = Children::of(bytes);
    if rule.service.is_none() || verdict == SignatureVerdict::Attachment {
        for blob in &children.blobs {
            verdicts.keep(key_of(context, rule, VerdictOf::Blob, blob), verdict, now);
        }
    }
    if verdict.answers_for_parts() {
        for manifest in &children.manifests {
            let key = key_of(context, rule, VerdictOf::Manifest, manifest);
            verdicts.keep(key, SignatureVerdict::PartOfSigned, now);
        }
    }
}

/// Whether an index that is signed names the manifest, itself or through other indexes, as far as the cache knows.
async fn is_part_of_signed(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    signer: &WantedSigner,
    digest: &Digest,
    whom: AskWhom,
) -> bool {
    let Some(cache) = context.cache() else { return false };
    let (verdicts, clock) = (&context.env.shared_requests.verdicts, &*context.env.platform.clock);
    let (upstream, repository) = (context.upstream.name(), &context.target.name);
    let (mut looked, mut next) = (vec![digest.clone()], 0);
    while let Some(part) = looked.get(next).cloned() {
        next += 1;
        let names = |index: &StoredManifest| index.children().manifests.contains(&part);
        for index in cache.manifests_of(upstream, repository, MAX_INDEXES, names).await {
            if looked.len() > MAX_INDEXES || looked.contains(&index.digest) {
                continue;
            }
            let key_of_index = key_of(context, rule, VerdictOf::Manifest, &index.digest);
            let verdict = match verdicts.get(&key_of_index, clock.now()) {
                Some(known) => known,
                None => signature_of(context, signer, &index.digest, whom).await,
            };
            if verdict.answers_for_parts() {
                verdicts.keep(key_of_index, verdict, clock.now());
                return true;
            }
            looked.push(index.digest.clone());
        }
    }
    false
}

/// Counts a verdict, and says it once.
fn tell(context: &RequestContext<'_>, rule: &ImagePolicy, digest: &Digest, verdict: SignatureVerdict) {
    let ImagePolicy { pattern, signature: Some(WantedSignature { signer, .. }), .. } = rule else { return };
    telemetry::policy_verdict(context.upstream.label(), verdict.as_label());
    let image = format!("{}/{}@{digest}", context.upstream.name(), context.target.name);
    match rule.decide(verdict) {
        PolicyDecision::Serve => tracing::info!(%image, policy = %pattern, found = %verdict, "policy is met"),
        PolicyDecision::ServeAndWarn => {
            tracing::warn!(%image, policy = %pattern, wanted = %signer, found = %verdict, "policy is not met; served, as its mode is warn");
        }
        PolicyDecision::Refuse => {
            tracing::warn!(%image, policy = %pattern, wanted = %signer, found = %verdict, "policy is not met; refused");
        }
    }
}
