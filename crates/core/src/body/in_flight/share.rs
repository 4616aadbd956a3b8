//! Bytes of whole answers that one client has not taken yet: at most a quarter of the account.

use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{InFlight, Owned, room_for};
use crate::client::Client;

/// Bytes of a client's share, until this is dropped.
pub(crate) struct Share {
    account: Arc<InFlight>,
    wanted: ShareRequest,
}

/// A request for bytes of a client's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShareRequest {
    client: Client,
    bytes: u64,
}

impl InFlight {
    /// Counts bytes for a client's share as long as any of them is in use, using an `earlier` share that it has waited for if
    /// that is large enough. A client whose address is unknown has no share and never waits.
    ///
    /// # Errors
    ///
    /// The share is used up: the bytes are dropped, and the client may wait for as many.
    pub(crate) fn share_out(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        bytes: Bytes,
        earlier: Option<Share>,
    ) -> Result<Bytes, ShareRequest> {
        let Some(client) = client.map(Client::from) else { return Ok(bytes) };
        let wanted = ShareRequest { client, bytes: bytes.len() as u64 };
        let share = earlier.filter(|share| share.wanted.bytes >= wanted.bytes);
        let share = share.or_else(|| self.try_share(wanted)).ok_or(wanted)?;
        Ok(Bytes::from_owner(Owned { bytes, _hold: share }))
    }

    /// Waits until the client has taken enough of its earlier answers. The caller has a deadline.
    pub(crate) async fn share(self: &Arc<Self>, wanted: ShareRequest) -> Share {
        loop {
            let freed = self.freed.listen();
            if let Some(share) = self.try_share(wanted) {
                return share;
            }
            freed.await;
        }
    }

    /// An answer larger than the whole share is let in alone.
    fn try_share(self: &Arc<Self>, wanted: ShareRequest) -> Option<Share> {
        let most = room_for(wanted.bytes, self.share_bytes());
        let mut parties = self.parties();
        match parties.clients.entry(wanted.client) {
            Entry::Vacant(entry) => {
                entry.insert(wanted.bytes);
            }
            Entry::Occupied(mut entry) => {
                let all = entry.get().saturating_add(wanted.bytes);
                if self.waits && all > most {
                    return None;
                }
                entry.insert(all);
            }
        }
        Some(Share { account: Arc::clone(self), wanted })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let ShareRequest { client, bytes } = self.wanted;
        if let Entry::Occupied(mut entry) = self.account.parties().clients.entry(client) {
            *entry.get_mut() = entry.get().saturating_sub(bytes);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        self.account.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::SMALL_BYTES;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn wants(number: u8, bytes: u64) -> ShareRequest {
        ShareRequest { client: IpAddr::from([192, 0, 2, number]).into(), bytes }
    }

    #[test]
    fn a_client_that_takes_nothing_has_a_quarter_and_the_others_theirs() {
        let account = InFlight::new(16 * MIB, true);
        let shares: Vec<_> = (0..4).map(|_| account.try_share(wants(1, MIB)).expect("a quarter")).collect();
        assert!(account.try_share(wants(1, MIB)).is_none());
        assert!(account.try_share(wants(1, SMALL_BYTES)).is_some(), "a small one waits for no large one");
        assert!(account.try_share(wants(2, 5 * MIB)).is_some(), "what is larger than the share goes alone");
        let mut next = Box::pin(account.share(wants(1, MIB)));
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!account.is_scarce(), "nobody else makes way for it");
        drop(shares);
        assert!(next.now_or_never().is_some(), "it has taken some");
        assert!(account.parties().clients.is_empty());
    }

    #[test]
    fn bytes_are_of_the_share_until_the_last_of_them_is_dropped() {
        let account = InFlight::new(16 * MIB, true);
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let large = Bytes::from(vec![0; 3 << 20]);
        let first = account.share_out(client, large.clone(), None).expect("there is some");
        let wanted = account.share_out(client, large.clone(), None).expect_err("more than its share");
        assert_eq!(wanted, wants(1, 3 * MIB));
        assert!(account.share_out(None, large.clone(), None).is_ok(), "nobody knows whose it is");
        let part = first.slice(2..5);
        drop(first);
        assert_eq!(account.parties().clients.get(&wanted.client), Some(&(3 * MIB)));
        drop(part);
        let share = account.share(wanted).now_or_never();
        let again = account.share_out(client, large, share).expect("what it has waited for");
        assert_eq!(account.parties().clients.get(&wanted.client), Some(&(3 * MIB)));
        drop(again);
        assert!(account.parties().clients.is_empty());
    }

    #[test]
    fn where_no_request_may_wait_for_another_nobody_does_for_a_share() {
        let account = InFlight::new(MIB, false);
        let shares: Vec<_> = (0..9).map(|_| account.try_share(wants(1, MIB))).collect();
        assert!(shares.iter().all(Option::is_some));
    }
}
