//! What a write makes outdated in the cache. It is removed once the registry has carried out the write, or may have: also if
//! the client leaves before the answer, or the answer never comes.

use std::sync::Arc;

use http::StatusCode;

use crate::cache::{Cache, Key};
use crate::error::Failure;
use crate::name::Reference;
use crate::request::RequestContext;
use crate::upstream::{Negative, Reply};

/// What a write in progress makes outdated. Dropping this removes it from the cache.
pub(super) struct Outdated {
    /// `None`: there is no cache, or nothing more to remove.
    cache: Option<Arc<Cache>>,
    write: Write,
}

/// What is written.
enum Write {
    /// A blob: remembered absences of it are outdated.
    Blob,
    /// Tags, and digests in a repository, that are added or removed.
    Records(Vec<Key>),
}

/// What an answer says of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// The registry has carried it out, or may have.
    Out,
    /// The registry has certainly not carried it out.
    NotOut,
}

impl Outdated {
    /// Before a request of an upload.
    pub(super) fn by_upload(context: &RequestContext<'_>) -> Self {
        Self { cache: context.cache().cloned(), write: Write::Blob }
    }

    /// Before these references are pushed or deleted.
    pub(super) fn by_write(context: &RequestContext<'_>, references: impl IntoIterator<Item = Reference>) -> Self {
        let (upstream, repository) = (context.upstream.name(), &context.target.name);
        let keys = references.into_iter().map(|reference| match reference {
            Reference::Tag(tag) => Key::tag(upstream, repository, tag.as_str()),
            Reference::Digest(digest) => Key::link(upstream, repository, &digest),
        });
        Self { cache: context.cache().cloned(), write: Write::Records(keys.collect()) }
    }

    /// Removes from the cache what the answer shows to be outdated. The future that it returns ends once the store has removed
    /// it, too.
    pub(super) fn settle(
        mut self,
        context: &RequestContext<'_>,
        reply: &Reply,
    ) -> impl Future<Output = ()> + Send + use<> {
        let is_underway = match (&self.write, reply) {
            // An upload that continues has not created a blob yet.
            (Write::Blob, Ok(response)) => response.status() != StatusCode::CREATED,
            (Write::Blob | Write::Records(_), _) => false,
        };
        if is_underway || carried(reply, context.upstream.has_several_addresses()) == Carried::NotOut {
            self.cache = None;
        }
        let forgotten = self.forget();
        async move {
            // All removals are in progress: they are awaited one after the other.
            for one in forgotten {
                one.await;
            }
        }
    }

    fn forget(&mut self) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let Some(cache) = self.cache.take() else { return Vec::new() };
        cache.metadata.clear_absent();
        match &self.write {
            Write::Blob => Vec::new(),
            Write::Records(keys) => {
                cache.lists().clear();
                keys.iter().map(|key| cache.metadata.forget(key)).collect()
            }
        }
    }
}

impl Drop for Outdated {
    fn drop(&mut self) {
        drop(self.forget());
    }
}

/// Whether the registry may have carried out a write that it answers so. With several addresses this is the answer of the
/// last: an earlier address may have carried out the write and then failed to answer, so that the last one finds nothing
/// to delete.
fn carried(reply: &Reply, has_several_addresses: bool) -> Carried {
    match reply {
        Ok(_) => Carried::Out,
        Err(Negative::Failed(failure)) if was_sent(failure) => Carried::Out,
        Err(Negative::Missing(_) | Negative::Failed(_)) if has_several_addresses => Carried::Out,
        Err(
            Negative::Missing(_)
            | Negative::Failed(_)
            | Negative::Refused(_)
            | Negative::Limited { .. }
            | Negative::Unsatisfiable { .. }
            | Negative::Declined(..),
        ) => Carried::NotOut,
    }
}

/// Whether a request that failed so had been sent.
fn was_sent(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_)
        | Failure::Resting { .. }
        | Failure::Busy
        | Failure::RealmNotTrusted
        | Failure::NotLoggedIn { .. } => false,
        Failure::TimedOut
        | Failure::Status(_)
        | Failure::Broken
        | Failure::Coded
        | Failure::DigestMismatch
        | Failure::NoManifest
        | Failure::TooLarge
        | Failure::Redirect(_)
        | Failure::Nonsense(_)
        | Failure::ClientBody => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Response;

    use super::*;
    use crate::body::Body;
    use crate::error::UpstreamText;
    use crate::platform::Unconnected;

    /// With one address, and with several.
    #[test]
    fn only_a_definite_no_leaves_what_is_known_as_it_is() {
        use Carried::{NotOut, Out};
        let text = UpstreamText::default;
        let found = Ok(Response::new(Body::Empty));
        let limited = Err(Negative::Limited { retry_after: Duration::ZERO });
        for (reply, expected) in [
            (found, [Out, Out]),
            (Err(Negative::Missing(text())), [NotOut, Out]),
            (Err(Negative::Refused(text())), [NotOut, NotOut]),
            (limited, [NotOut, NotOut]),
            (Err(Negative::Unsatisfiable { total: None }), [NotOut, NotOut]),
            (Err(Negative::Declined(StatusCode::METHOD_NOT_ALLOWED, text())), [NotOut, NotOut]),
            (Err(Negative::Failed(Failure::TimedOut)), [Out, Out]),
            (Err(Negative::Failed(Failure::Broken)), [Out, Out]),
            (Err(Negative::Failed(Failure::Status(StatusCode::BAD_GATEWAY))), [Out, Out]),
            (Err(Negative::Failed(Failure::Unreachable(Unconnected::Refused))), [NotOut, Out]),
            (Err(Negative::Failed(Failure::Busy)), [NotOut, Out]),
        ] {
            let seen = [false, true].map(|has_several| carried(&reply, has_several));
            assert_eq!(seen, expected, "{:?}", reply.map(drop));
        }
    }
}
