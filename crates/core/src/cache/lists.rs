//! Lists of tags and of referrers, remembered for seconds, and while their upstream cannot answer.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;

use crate::evidence::Claim;
use crate::platform::Moment;

/// Which list: whose, where, and which page of it.
pub(crate) type Asked = (Claim, Box<str>);

/// What an upstream listed.
#[derive(Clone)]
pub(crate) struct Listed {
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its words.
    pub(crate) body: Bytes,
    /// When.
    pub(crate) at: Moment,
}

/// Lists, in memory only.
pub(crate) struct Lists(Memory<Asked, Listed, ListBytes>);

#[derive(Clone)]
struct ListBytes;

impl Weighter<Asked, Listed> for ListBytes {
    fn weight(&self, _: &Asked, listed: &Listed) -> u64 {
        listed.body.len() as u64 + 1000
    }
}

impl Lists {
    /// Of so many bytes together.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Memory::with_weighter(1000, bytes, ListBytes))
    }

    /// A list not older than `limit`.
    pub(crate) fn find(&self, asked: &Asked, limit: Duration, now: Moment) -> Option<Listed> {
        self.0.get(asked).filter(|listed| now.since(listed.at) < limit)
    }

    /// Remembers one.
    pub(crate) fn keep(&self, asked: Asked, listed: Listed) {
        self.0.insert(asked, listed);
    }

    /// Forgets one: its upstream has said no.
    pub(crate) fn forget(&self, asked: &Asked) {
        self.0.remove(asked);
    }

    /// Forgets them all: something was pushed, or is to be asked for anew.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}
