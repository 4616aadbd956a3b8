//! Lists of tags and of referrers, remembered for seconds, and while their upstream cannot answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

use crate::body::{InFlight, TierHandle};
use crate::evidence::ClientScope;
use crate::platform::Moment;

/// A list: the client's scope, and the page.
pub(crate) type ListKey = (ClientScope, Box<str>);

/// What an upstream listed.
pub(crate) struct Listed {
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its answer, with the client's name for the repository.
    pub(crate) body: Bytes,
    /// That name.
    pub(crate) name: Box<str>,
    /// When.
    pub(crate) at: Moment,
    /// Counts the body for clients that still use it once memory dropped it. Declared after the body, to be dropped
    /// after it.
    _handle: TierHandle,
}

impl Listed {
    /// A copy, since memory has a bound of its own.
    pub(crate) fn copy_of(
        headers: &HeaderMap,
        body: &[u8],
        name: &str,
        at: Moment,
        account: &Arc<InFlight>,
    ) -> Arc<Self> {
        let (handle, body) = TierHandle::new(Bytes::copy_from_slice(body), account);
        Arc::new(Self { headers: headers.clone(), body, name: name.into(), at, _handle: handle })
    }
}

/// Lists, in memory only.
pub(crate) struct Lists(Memory<ListKey, Arc<Listed>, ListBytes>);

#[derive(Clone)]
struct ListBytes;

impl Weighter<ListKey, Arc<Listed>> for ListBytes {
    fn weight(&self, _: &ListKey, listed: &Arc<Listed>) -> u64 {
        listed.body.len() as u64 + 1000
    }
}

impl Lists {
    /// Of so many bytes together.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Memory::with_weighter(1000, bytes, ListBytes))
    }

    /// A list not older than `limit`.
    pub(crate) fn find(&self, asked: &ListKey, limit: Duration, now: Moment) -> Option<Arc<Listed>> {
        self.0.get(asked).filter(|listed| now.since(listed.at) < limit)
    }

    /// Remembers one.
    pub(crate) fn keep(&self, asked: ListKey, listed: Arc<Listed>) {
        self.0.insert(asked, listed);
    }

    /// Forgets one: its upstream has said no.
    pub(crate) fn forget(&self, asked: &ListKey) {
        self.0.remove(asked);
    }

    /// Forgets them all, after a push or to ask for them anew.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}
