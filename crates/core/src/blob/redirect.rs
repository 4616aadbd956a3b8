//! Redirects of blobs that the client follows: to where the upstream sends it, or back to this proxy, which fetches the
//! target.
//!
//! The address of this proxy that leads to a target is sealed for one repository, one blob and one login, and expires after
//! minutes (`delivery.link_life`): nobody else can use it.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::Redirects;
use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::{Action, Reason};
use crate::request::{HandlerResponse, RequestContext};
use crate::route::parameter;
use crate::seal;
use crate::upstream::{Identity, Location};

/// The parameter that carries a sealed redirect.
const TARGET: &str = "_t";

/// The target of a rewritten redirect, as it is sealed.
#[derive(Serialize, Deserialize)]
struct SealedRedirect {
    /// The fingerprint of the login, repository and blob it is for.
    bound: String,
    /// The address as the upstream wrote it.
    url: String,
    /// In seconds since 1970.
    expires: u64,
}

/// The fingerprint of this login, repository and blob.
fn bound_to(context: &RequestContext<'_>, digest: &Digest) -> String {
    let password = match context.identity {
        Identity::Ours | Identity::Client(None) => "",
        Identity::Client(Some(login)) => login.basic.password.expose(),
    };
    let user = context.user.unwrap_or_default();
    let texts = [context.upstream.name(), context.target.name.as_str(), digest.as_str(), user, password];
    context.env.sealer.mark(&texts)
}

/// Sends the client to the bytes, or back to this proxy for them.
pub(super) fn redirect(context: &RequestContext<'_>, digest: &Digest, link: &Location) -> HandlerResponse {
    let most = context.env.platform.capabilities.max_target.unwrap_or(usize::MAX);
    match rewritten(context, digest, link) {
        Some((target, why)) if target.len() <= most => {
            redirect_to(&format!("{}{target}", context.client_view.base()), why)
        }
        Some((target, _)) => {
            // The platform would refuse a request with such a long target. Perhaps the client can reach the original.
            let (bytes, limit_bytes) = (target.len(), most);
            tracing::warn!(
                bytes,
                limit_bytes,
                "a rewritten redirect is too long for the platform; the original is passed on"
            );
            redirect_to(link.as_written(), Reason::RedirectsPass)
        }
        None => redirect_to(link.as_written(), Reason::RedirectsPass),
    }
}

/// Path and query at this proxy that lead to the target; `None`: the client goes there directly.
fn rewritten(context: &RequestContext<'_>, digest: &Digest, link: &Location) -> Option<(String, Reason)> {
    let url = link.url();
    let to_storage = context.upstream.storage().is_none_or(|storage| storage.origin() == url.origin());
    if context.upstream.redirects() != Redirects::Rewrite || !to_storage {
        return None;
    }
    // A storage whose own paths begin with `/v2/` cannot be told from the registry by its path. And a blob that is not
    // public must not be at an address that anybody may ask for.
    if context.env.settings.storage_passes
        && context.upstream.storage().is_some()
        && !url.path().starts_with("/v2/")
    {
        // Only the address changes; path and query stay as they are, to the byte, or the signature breaks.
        return Some((link.below(""), Reason::StorageHere));
    }
    let life = context.env.settings.delivery.link_life.0.as_secs();
    let target = SealedRedirect {
        bound: bound_to(context, digest),
        url: link.to_text(),
        expires: context.env.platform.clock.unix_seconds().saturating_add(life),
    };
    let sealed = context.env.sealer.seal(seal::SealPurpose::Redirect, &target);
    let ns = context.target.namespace.as_deref().map(|ns| format!("&ns={ns}")).unwrap_or_default();
    Some((format!("{}/blobs/{digest}?{TARGET}={sealed}{ns}", context.target.client_path), Reason::TargetHere))
}

/// Redirects the client to `location` for the bytes.
pub(super) fn redirect_to(location: &str, why: Reason) -> HandlerResponse {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(location).ok().map(|value| (LOCATION, value)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HandlerResponse::new(response, Action::Redirected, why)
}

/// The target of a redirect that we rewrote, if the request carries one.
pub(super) fn sealed_target(context: &RequestContext<'_>, digest: &Digest) -> Result<Option<Location>, Error> {
    let Some(sealed) = parameter(context.head.uri.query(), TARGET) else { return Ok(None) };
    let target: Option<SealedRedirect> = context.env.sealer.open(seal::SealPurpose::Redirect, &sealed);
    let now = context.env.platform.clock.unix_seconds();
    let target = target.filter(|target| target.bound == bound_to(context, digest) && now < target.expires);
    let link = target.and_then(|target| Location::parse(&target.url).ok());
    link.map(Some).ok_or(Error::LinkOver)
}
