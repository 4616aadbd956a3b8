//! Redirects of blobs that the client follows by itself: to where the upstream sends it, or back to us for the target.
//!
//! An address of ours that leads to a target is not a key to it: it is sealed for one repository, one blob and one login,
//! and lives for minutes (`delivery.link_life`).

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::Redirects;
use crate::digest::Digest;
use crate::error::Error;
use crate::outcome::{Done, Why};
use crate::route::parameter;
use crate::seal;
use crate::upstream::{Identity, Link};
use crate::visit::{Answer, Visit};

/// The parameter that carries a sealed redirect.
const TARGET: &str = "_t";

/// Where a rewritten redirect leads.
#[derive(Serialize, Deserialize)]
struct Target {
    /// The mark of whom it is for, and for what.
    bound: String,
    /// As it was written.
    url: String,
    /// In seconds since 1970.
    expires: u64,
}

/// The mark of this login in this repository, and of this blob.
fn bound_to(visit: &Visit<'_>, digest: &Digest) -> String {
    let password = match visit.identity {
        Identity::Ours | Identity::Client(None) => "",
        Identity::Client(Some(login)) => login.basic.password.expose(),
    };
    let user = visit.user.unwrap_or_default();
    let texts = [visit.upstream.name(), visit.place.name.as_str(), digest.as_str(), user, password];
    visit.sealer.mark(&texts)
}

/// Sends the client where the bytes are, or back to us for them.
pub(super) fn redirect(visit: &Visit<'_>, digest: &Digest, link: &Link) -> Answer {
    let most = visit.platform.limits.max_target.unwrap_or(usize::MAX);
    match rewritten(visit, digest, link) {
        Some((target, why)) if target.len() <= most => {
            elsewhere(&format!("{}{target}", visit.outside.base()), why)
        }
        Some((target, _)) => {
            // The platform would refuse whoever comes with it. Perhaps the client gets there by itself.
            let (bytes, limit_bytes) = (target.len(), most);
            tracing::warn!(
                bytes,
                limit_bytes,
                "a rewritten redirect is longer than the platform takes; it is passed on"
            );
            elsewhere(link.as_written(), Why::RedirectsPass)
        }
        None => elsewhere(link.as_written(), Why::RedirectsPass),
    }
}

/// Path and query of an address of ours that leads there; `None`: the client goes by itself.
fn rewritten(visit: &Visit<'_>, digest: &Digest, link: &Link) -> Option<(String, Why)> {
    let url = link.url();
    let to_storage = visit.upstream.storage().is_none_or(|storage| storage.origin() == url.origin());
    if visit.upstream.redirects() != Redirects::Rewrite || !to_storage {
        return None;
    }
    // A storage that is itself below `/v2/` cannot be told from the registry by its path.
    // And what is not for everybody is not at an address that anybody may ask.
    if visit.storage_passes && visit.upstream.storage().is_some() && !url.path().starts_with("/v2/") {
        // Only the address changes; path and query stay as they are, to the byte, or the signature breaks.
        return Some((link.below(""), Why::StorageHere));
    }
    let life = visit.delivery.link_life.0.as_secs();
    let target = Target {
        bound: bound_to(visit, digest),
        url: link.to_text(),
        expires: visit.platform.clock.unix_seconds().saturating_add(life),
    };
    let sealed = visit.sealer.seal(seal::Purpose::Redirect, &target);
    let ns = visit.place.namespace.as_deref().map(|ns| format!("&ns={ns}")).unwrap_or_default();
    Some((format!("{}/blobs/{digest}?{TARGET}={sealed}{ns}", visit.place.client_path), Why::TargetHere))
}

/// The client is sent elsewhere for the bytes.
pub(super) fn elsewhere(location: &str, why: Why) -> Answer {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(location).ok().map(|value| (LOCATION, value)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer::new(response, Done::Redirected, why)
}

/// The target of a redirect that we rewrote, if the request carries one.
pub(super) fn sealed_target(visit: &Visit<'_>, digest: &Digest) -> Result<Option<Link>, Error> {
    let Some(sealed) = parameter(visit.head.uri.query(), TARGET) else { return Ok(None) };
    let target: Option<Target> = visit.sealer.open(seal::Purpose::Redirect, &sealed);
    let now = visit.platform.clock.unix_seconds();
    let target = target.filter(|target| target.bound == bound_to(visit, digest) && now < target.expires);
    let link = target.and_then(|target| Link::parse(&target.url).ok());
    link.map(Some).ok_or(Error::LinkOver)
}
