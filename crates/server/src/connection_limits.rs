//! Slots for connections: how many there are in all, how many one address may have, and a few reserved for health checks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::client::Client;
use registry_proxy_core::config::LoggedClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rate_limited_warnings::WarningLimiter;

/// Slots beyond `limits.connections`: for health checks, and for connections that have not sent a request yet.
const RESERVED: usize = 64;
/// Time limit for a connection in a reserved slot, since others need it.
pub(crate) const HEALTH: Duration = Duration::from_secs(2);
/// Connections that wait for a slot for their request, or that got none and are about to close.
const QUEUE: usize = 256;

/// All slots of one listener.
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Open connections by client address.
    addresses: Mutex<HashMap<Client, usize>>,
    too_many: WarningLimiter,
    connections: usize,
}

impl ConnectionSlots {
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(connections)),
            reserved: Arc::new(Semaphore::new(RESERVED)),
            queue: Arc::new(Semaphore::new(QUEUE)),
            addresses: Mutex::default(),
            too_many: WarningLimiter::new(),
            connections,
        })
    }

    /// The next free slot: an ordinary one if there is any, else a reserved one.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let (permit, kind) = tokio::select! {
            biased;
            free = Arc::clone(&self.free).acquire_owned() => (free.ok()?, SlotKind::Ordinary),
            reserved = Arc::clone(&self.reserved).acquire_owned() => (reserved.ok()?, SlotKind::Health),
        };
        Some(ConnectionSlot {
            slots: Arc::clone(self),
            held: Mutex::new(SlotPermit { kind, _permit: permit }),
            turn: tokio::sync::Mutex::new(()),
            status: Arc::new(SlotStatus(AtomicBool::new(kind == SlotKind::Ordinary))),
            client: None,
        })
    }

    /// Counts a connection of this client. `false`: it has `most` already, which is logged with `shown` as its address.
    fn enter(&self, client: Client, most: usize, shown: Option<LoggedClient>) -> bool {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let open = addresses.entry(client).or_default();
        if *open < most {
            *open += 1;
            return true;
        }
        if self.too_many.is_due() {
            tracing::warn!(
                client = shown.map(display),
                "an address has limits.connections_per_address connections open; further ones are closed at once"
            );
        }
        false
    }

    fn leave(&self, client: Client) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = addresses.entry(client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// The kinds of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    /// One of `limits.connections`.
    Ordinary,
    /// One of [`RESERVED`].
    Health,
    /// One of [`QUEUE`].
    Queue,
}

struct SlotPermit {
    kind: SlotKind,
    _permit: OwnedSemaphorePermit,
}

/// Whether a connection has an ordinary slot. It may get one later, and then keeps it.
pub(crate) struct SlotStatus(AtomicBool);

impl SlotStatus {
    /// The status of a connection outside of these limits.
    pub(crate) fn ordinary() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(crate) fn is_ordinary(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection's slot, until it is dropped.
pub(crate) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    /// Never empty: an open connection always counts as one kind or another.
    held: Mutex<SlotPermit>,
    /// One request waits on behalf of all requests of the connection.
    turn: tokio::sync::Mutex<()>,
    status: Arc<SlotStatus>,
    client: Option<Client>,
}

/// No slot became free in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoFreeSlot;

impl ConnectionSlot {
    /// Counts the slot for this address; `None`: the address has `most` already.
    fn of(mut self, peer: IpAddr, most: usize, shown: Option<LoggedClient>) -> Option<Self> {
        let client = Client::from(peer);
        if !self.slots.enter(client, most, shown) {
            return None;
        }
        self.client = Some(client);
        Some(self)
    }

    /// Counts the slot for the peer's address, unless the peer is a trusted proxy, which carries connections of many clients.
    pub(crate) fn counted(self, peer: IpAddr, config: &Config) -> Option<Self> {
        if config.is_trusted(peer) {
            return Some(self);
        }
        self.of_client(peer, config)
    }

    /// Counts the slot for this client, even if its address is that of a trusted proxy.
    pub(crate) fn of_client(self, client: IpAddr, config: &Config) -> Option<Self> {
        let most = config.limits.per_address(self.slots.connections);
        self.of(client, most, config.log.client.shown(client))
    }

    /// Whether the slot is an ordinary one. Ask again each time, since it may become one.
    pub(crate) fn status(&self) -> Arc<SlotStatus> {
        Arc::clone(&self.status)
    }

    /// Waits for an ordinary slot, if this is not one. A reserved slot is first exchanged for a place in the queue, which the
    /// connection keeps if it gets no ordinary slot.
    pub(crate) async fn become_ordinary(&self, limit: Duration) -> Result<(), NoFreeSlot> {
        let waiting = async {
            let _turn = self.turn.lock().await;
            if self.status.is_ordinary() {
                return Ok(());
            }
            let free = Arc::clone(&self.slots.free).acquire_owned().await.map_err(|_| NoFreeSlot)?;
            *self.held() = SlotPermit { kind: SlotKind::Ordinary, _permit: free };
            self.status.0.store(true, Ordering::Relaxed);
            Ok(())
        };
        self.queue()?;
        tokio::time::timeout(limit, waiting).await.unwrap_or(Err(NoFreeSlot))
    }

    /// Exchanges a reserved slot for a place in the queue.
    fn queue(&self) -> Result<(), NoFreeSlot> {
        let mut held = self.held();
        match held.kind {
            SlotKind::Ordinary | SlotKind::Queue => {}
            SlotKind::Health => {
                let queued = Arc::clone(&self.slots.queue).try_acquire_owned().map_err(|_| NoFreeSlot)?;
                *held = SlotPermit { kind: SlotKind::Queue, _permit: queued };
            }
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, SlotPermit> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.slots.leave(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_has_so_many_places_and_others_have_theirs() {
        let slots = ConnectionSlots::new(10);
        let take = async |address| slots.next().await.unwrap().of(at(address), 2, None);
        let (first, second) = (take("10.0.0.1").await, take("10.0.0.1").await);
        assert!(first.is_some() && second.is_some());
        assert!(take("10.0.0.1").await.is_none(), "a third");
        assert!(take("::ffff:10.0.0.1").await.is_none(), "the same address, as IPv6 writes it");
        assert!(take("10.0.0.2").await.is_some());
        drop(first);
        assert!(take("10.0.0.1").await.is_some());
        assert_eq!(slots.free.available_permits(), 9, "who was refused has given its slot back");
    }

    #[tokio::test]
    async fn ipv6_counts_by_networks_of_64_bits() {
        let slots = ConnectionSlots::new(10);
        let take = async |address| slots.next().await.unwrap().of(at(address), 1, None);
        let one = take("2001:db8:0:1::1").await.unwrap();
        assert!(take("2001:db8:0:1:ffff::2").await.is_none());
        assert!(take("2001:db8:0:2::1").await.is_some());
        drop(one);
        assert!(slots.addresses.lock().unwrap().is_empty(), "nobody is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_places_are_taken_health_has_some_and_others_wait_for_one() {
        let slots = ConnectionSlots::new(1);
        let ordinary = slots.next().await.unwrap();
        assert!(ordinary.status.is_ordinary());
        let late = slots.next().await.unwrap();
        assert!(!late.status.is_ordinary());
        assert_eq!(late.become_ordinary(SECOND).await, Err(NoFreeSlot));
        let waiting = late.become_ordinary(SECOND);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(slots.reserved.available_permits(), RESERVED, "what waits takes none of those for health");
        drop(ordinary);
        assert_eq!(waiting.await, Ok(()));
        assert!(late.status.is_ordinary());
        assert_eq!(slots.free.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_in_vain_or_no_longer_waits_still_counts_while_it_is_open() {
        let slots = ConnectionSlots::new(1);
        let ordinary = slots.next().await.unwrap();
        let (late, left) = (slots.next().await.unwrap(), slots.next().await.unwrap());
        assert_eq!(late.become_ordinary(SECOND).await, Err(NoFreeSlot));
        assert!(left.become_ordinary(SECOND).now_or_never().is_none(), "and its client resets the stream");
        assert_eq!(slots.queue.available_permits(), QUEUE - 2);
        let (first, second) = tokio::join!(left.become_ordinary(SECOND), left.become_ordinary(SECOND));
        assert_eq!((first, second), (Err(NoFreeSlot), Err(NoFreeSlot)));
        assert_eq!(slots.queue.available_permits(), QUEUE - 2, "a connection takes one, however much it asks");
        drop(ordinary);
        let (first, second) = tokio::join!(left.become_ordinary(SECOND), left.become_ordinary(SECOND));
        assert_eq!((first, second), (Ok(()), Ok(())), "what one gets is for all requests of a connection");
        assert_eq!((slots.queue.available_permits(), slots.free.available_permits()), (QUEUE - 1, 0));
        drop((late, left));
        assert_eq!((slots.queue.available_permits(), slots.free.available_permits()), (QUEUE, 1));
    }

    #[tokio::test]
    async fn no_more_wait_than_the_queue_holds() {
        let slots = ConnectionSlots::new(0);
        let mut late = Vec::new();
        for _ in 0..QUEUE {
            let slot = slots.next().await.unwrap();
            assert_eq!(slot.become_ordinary(SECOND).now_or_never(), None);
            late.push(slot);
        }
        let slot = slots.next().await.unwrap();
        assert_eq!(slot.become_ordinary(SECOND).now_or_never(), Some(Err(NoFreeSlot)));
        assert_eq!(slots.reserved.available_permits(), RESERVED - 1, "it has the slot with which it came");
    }
}
