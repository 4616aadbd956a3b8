//! Small blobs that the proxy reads for itself, such as what a signature was made of. They are cached as all blobs are. Redirects are
//! followed, whatever the configuration leaves to clients.

use bytes::Bytes;
use http::Method;

use super::relay::cache_for;
use super::upstream::{ask_for, blob_unknown};
use super::{cached, hit};
use crate::body::{Body, SMALL_BYTES};
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::platform::within;
use crate::request::RequestContext;

/// All of a small blob, from the cache or from the upstream. Its digest is not verified: a relay does not do that.
pub(crate) async fn read_small(context: &RequestContext<'_>, digest: &Digest) -> Result<Bytes, Error> {
    let body = if let Some(cache) = cache_for(context).filter(|_| digest.is_computable()) {
        match hit::from_memory(context, cache, digest, None).await? {
            Some(answer) => answer.response.into_body(),
            None => Box::pin(cached::whole(context, cache, digest)).await?.response.into_body(),
        }
    } else {
        context.waiting.begin()?;
        let reply = context.upstream.read(&ask_for(context, digest, Method::GET)).await;
        reply.map_err(|negative| negative.into_error(blob_unknown))?.into_body()
    };
    collected(context, body).await
}

/// All of a small blob, if the cache has it and this client may have it.
pub(crate) async fn read_cached(context: &RequestContext<'_>, digest: &Digest) -> Option<Bytes> {
    let cache = cache_for(context)?;
    if !context.may_have(cache, digest).await {
        return None;
    }
    let found = cache.blobs.blob(digest, None).await?;
    collected(context, found.body).await.ok()
}

async fn collected(context: &RequestContext<'_>, body: Body) -> Result<Bytes, Error> {
    let limit = context.env.settings.timeouts.idle.0;
    match within(&*context.env.platform.clock, limit, body.collect(SMALL_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Error::Upstream(Failure::Broken)),
        Err(_) => Err(Error::Upstream(Failure::TimedOut)),
    }
}
