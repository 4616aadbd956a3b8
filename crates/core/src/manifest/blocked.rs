//! What blocked manifests name. The cache keeps none of them, so it is learned where one passes by, or asked for when a client
//! wants a blob that no manifest names which may be served.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::upstream::{error_of, fetch};
use crate::cache::StoredManifest;
use crate::digest::Digest;
use crate::error::{Blocked, Error, Failure};
use crate::evidence::ClientScope;
use crate::name::Reference;
use crate::platform::within;
use crate::request::RequestContext;
use crate::shared_requests::Manifest;
use crate::upstream::Negative;

/// How long a registry is asked for blocked manifests, all together.
const ASK_TIME: Duration = Duration::from_secs(5);

/// Blocked manifests that one request asks for at once.
const AT_ONCE: usize = 8;

/// A manifest is refused: its blobs are known from now on.
pub(super) fn learn(context: &RequestContext<'_>, manifest: &Manifest, blocked: &Blocked) {
    if let (Ok(digest), Some(bytes)) = (Digest::parse(&blocked.what), &manifest.bytes) {
        learn_from(context, &digest, &manifest.digest, bytes);
    }
}

/// Asks the registry for the blocked manifests of which nobody has seen what they name, as far as they are in this repository.
/// Whoever gets an error does not know it yet; the next request goes on with those that are left.
pub(crate) async fn learn_blocked(context: &RequestContext<'_>, scope: &ClientScope) -> Result<(), Error> {
    let clock = &*context.env.platform.clock;
    let unseen = context.env.blocks.unseen_in(scope, clock.now());
    if unseen.is_empty() {
        return Ok(());
    }
    context.waiting.begin()?;
    let accept = context.env.manifest_types.accepted.accept_with(&context.head.headers);
    let ask = |digest: Digest| {
        let accept = &accept;
        async move {
            let reference = Reference::Digest(digest.clone());
            match Box::pin(fetch(context, &reference, accept)).await {
                Ok(Manifest { bytes: Some(bytes), digest: found, .. }) => {
                    learn_from(context, &digest, &found, &bytes);
                    Ok(())
                }
                // Some registries refuse to say that there is none (P-22). Who may not have the manifest gets no blob of it either.
                Ok(Manifest { bytes: None, .. })
                | Err(Negative::Missing(_) | Negative::Refused(_) | Negative::Declined(..)) => {
                    context.env.blocks.learn_absence(scope, &digest, clock.now());
                    Ok(())
                }
                Err(no @ (Negative::Limited { .. } | Negative::Unsatisfiable { .. } | Negative::Failed(_))) => {
                    Err(error_of(no, &reference))
                }
            }
        }
    };
    let asking = async {
        let mut answers = stream::iter(unseen).map(ask).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    };
    within(clock, ASK_TIME, Box::pin(asking)).await.unwrap_or(Err(Error::Upstream(Failure::TimedOut)))
}

fn learn_from(context: &RequestContext<'_>, blocked: &Digest, digest: &Digest, bytes: &Bytes) {
    if let Some(manifest) = StoredManifest::new(digest.clone(), bytes.clone()) {
        context.env.blocks.learn_manifest(blocked, manifest.children().blobs.into_iter().collect());
    }
}
