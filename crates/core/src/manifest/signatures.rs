//! Looking for the signatures of a manifest, and verifying them. They are fetched and cached as any manifest and any blob of their
//! repository are.

use bytes::Bytes;

use super::find::find_any;
use crate::blob::{read_cached, read_small};
use crate::cache::{Cache, Key, StoredManifest};
use crate::digest::Digest;
use crate::error::{Absence, Error};
use crate::listing;
use crate::name::{Reference, Tag};
use crate::policy::{
    AttachedSignature, NoVerdict, SignatureVerdict, WantedSigner, bundles_in, signature_tag, subject_of,
};
use crate::request::{OwnRequest, RequestContext};
use crate::route::Endpoint;

/// Most manifests of bundles that are looked at.
const MAX_BUNDLES: usize = 16;

/// Who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskWhom {
    /// The cache only.
    Cache,
    /// The registry, too.
    Registry,
}

/// A manifest whose signatures are looked for, and who should have made one.
struct Search<'a, 'v> {
    context: &'a RequestContext<'v>,
    signer: &'a WantedSigner,
    manifest: &'a Digest,
    whom: AskWhom,
}

/// Whether a signer has signed a manifest. The tag of cosign's old format is looked for first, and a cached one is good however old
/// it is; referrers then. Where the registry does not say which those are, the cached ones count.
pub(super) async fn signature_of(
    context: &RequestContext<'_>,
    signer: &WantedSigner,
    manifest: &Digest,
    whom: AskWhom,
) -> SignatureVerdict {
    if !manifest.is_computable() {
        return SignatureVerdict::Unknown(NoVerdict::UnknownAlgorithm);
    }
    let search = Search { context, signer, manifest, whom };
    let mut verdict = search.cached_tag().await;
    if !verdict.is_accepted() && whom == AskWhom::Registry {
        verdict = search.by_tag().await;
        if !verdict.is_accepted() {
            verdict = verdict.or(search.by_referrers().await);
        }
    }
    match verdict {
        SignatureVerdict::Unknown(_) => verdict.or(search.cached_bundles().await),
        known => known,
    }
}

impl Search<'_, '_> {
    /// The verdict by the tag, as it is cached.
    async fn cached_tag(&self) -> SignatureVerdict {
        const ABSENT: SignatureVerdict = SignatureVerdict::Unknown(NoVerdict::NotCached);
        let Some((cache, tag)) = self.context.cache().zip(signature_tag(self.manifest)) else { return ABSENT };
        let key = Key::tag(self.context.upstream.name(), &self.context.target.name, tag.as_str());
        let Some(pointer) = cache.metadata.pointer(&key).await else { return ABSENT };
        match cache.metadata.manifest(&pointer.digest).await {
            Some(signatures) => self.in_cached(cache, &signatures).await,
            None => ABSENT,
        }
    }

    /// The verdict by the bundles that are cached.
    async fn cached_bundles(&self) -> SignatureVerdict {
        let mut verdict = SignatureVerdict::Unknown(NoVerdict::NotCached);
        let Some(cache) = self.context.cache() else { return verdict };
        let (upstream, repository) = (self.context.upstream.name(), &self.context.target.name);
        let is_about = |other: &StoredManifest| subject_of(&other.bytes).as_ref() == Some(self.manifest);
        for signatures in cache.manifests_of(upstream, repository, MAX_BUNDLES, is_about).await {
            let found = self.in_cached(cache, &signatures).await;
            if found.is_accepted() {
                return found;
            }
            verdict = verdict.or(found);
        }
        verdict
    }

    async fn in_cached(&self, cache: &Cache, signatures: &StoredManifest) -> SignatureVerdict {
        if self.context.may_have(cache, &signatures.digest).await {
            self.verify(&signatures.bytes).await
        } else {
            SignatureVerdict::Unknown(NoVerdict::NotCached)
        }
    }

    /// The verdict by the tag that cosign's old format has for signatures.
    async fn by_tag(&self) -> SignatureVerdict {
        let Some(tag) = signature_tag(self.manifest) else { return SignatureVerdict::Unsigned };
        match self.manifest_of(tag).await {
            Ok(signatures) => self.verify(&signatures).await,
            Err(verdict) => verdict,
        }
    }

    /// The verdict by the referrers of the manifest: the list of the registry, or of the tag for registries that have none (OCI
    /// distribution-spec 1.1, "Referrers Tag Schema").
    async fn by_referrers(&self) -> SignatureVerdict {
        let request = OwnRequest::beside(self.context, Endpoint::Referrers(self.manifest.clone())).new_to_us();
        let own = request.context(self.context.env, self.context.upstream);
        let limit = self.context.env.settings.limits.listing.0;
        let list = match Box::pin(listing::referrers(&own, self.manifest)).await {
            Ok(answer) => answer.response.into_body().collect(limit).await.ok(),
            Err(Error::Upstream(_) | Error::Limited { .. } | Error::Overloaded) => None,
            Err(_) => {
                let tag = Tag::parse(&self.manifest.as_str().replacen(':', "-", 1)).map(Reference::Tag);
                match tag {
                    Some(tag) => match self.manifest_of(tag).await {
                        Ok(list) => Some(list),
                        Err(verdict) => return verdict,
                    },
                    None => return SignatureVerdict::Unsigned,
                }
            }
        };
        let Some(list) = list else { return SignatureVerdict::Unknown(NoVerdict::Unavailable) };
        let mut verdict = SignatureVerdict::Unsigned;
        for bundle in bundles_in(&list).into_iter().take(MAX_BUNDLES) {
            let found = match self.manifest_of(Reference::Digest(bundle)).await {
                Ok(signatures) => self.verify(&signatures).await,
                Err(verdict) => verdict,
            };
            if found.is_accepted() {
                return found;
            }
            verdict = verdict.or(found);
        }
        verdict
    }

    /// A manifest of the same repository, or the verdict that follows from its absence.
    async fn manifest_of(&self, reference: Reference) -> Result<Bytes, SignatureVerdict> {
        let request = OwnRequest::beside(self.context, Endpoint::Manifest(reference.clone())).new_to_us();
        let own = request.context(self.context.env, self.context.upstream);
        match Box::pin(find_any(&own, &reference)).await {
            Ok((found, _)) => found.bytes.ok_or(SignatureVerdict::Unknown(NoVerdict::Unavailable)),
            Err(Error::ManifestUnknown(Absence::Offline)) => Err(SignatureVerdict::Unknown(NoVerdict::NotCached)),
            Err(Error::ManifestUnknown(_) | Error::NotFound(_)) => Err(SignatureVerdict::Unsigned),
            Err(_) => Err(SignatureVerdict::Unknown(NoVerdict::Unavailable)),
        }
    }

    /// Whether the signer made one of these signatures of the manifest.
    async fn verify(&self, signatures: &[u8]) -> SignatureVerdict {
        let all = AttachedSignature::all_in(signatures);
        let mut verdict = SignatureVerdict::Unsigned;
        for signature in &all {
            let request = OwnRequest::beside(self.context, Endpoint::Blob(signature.blob.clone()));
            let own = request.context(self.context.env, self.context.upstream);
            let blob = match self.whom {
                AskWhom::Cache => read_cached(&own, &signature.blob).await,
                AskWhom::Registry => Box::pin(read_small(&own, &signature.blob)).await.ok(),
            };
            verdict = verdict.or(match (blob, self.whom) {
                (Some(blob), _) => match signature.flaw(&blob, self.manifest, self.signer) {
                    None => return SignatureVerdict::Signed,
                    Some(flaw) => SignatureVerdict::Rejected { signatures: all.len(), flaw },
                },
                (None, AskWhom::Cache) => SignatureVerdict::Unknown(NoVerdict::NotCached),
                (None, AskWhom::Registry) => SignatureVerdict::Unknown(NoVerdict::Unavailable),
            });
        }
        verdict
    }
}
