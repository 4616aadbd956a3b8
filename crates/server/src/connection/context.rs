//! What both protocols know of a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::body::InFlight;
use registry_proxy_core::config::LoggedClient;

use super::idle_timeouts::IdleTimeouts;
use crate::connection_limits::{HEALTH, SlotStatus};

/// What a connection may take.
#[derive(Clone, Copy)]
pub(super) struct ConnectionSettings {
    pub(super) head_bytes: usize,
    /// From its beginning to its first byte.
    pub(super) first_byte: Duration,
    /// Idle, or without a whole head: not sooner than clients close theirs (P-123). See [`ConnectionContext::idle`].
    pub(super) idle: Duration,
    /// Until a request that found no place gets one.
    pub(super) slot_wait: Duration,
    /// Bytes that wait for the socket of an HTTP/2 connection.
    pub(super) for_socket: usize,
}

impl ConnectionSettings {
    pub(super) fn new(config: &Config) -> Self {
        let in_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head_bytes: in_usize(config.limits.request_head.0),
            first_byte: config.timeouts.client_first_byte.0.min(config.timeouts.client_idle.0),
            idle: config.timeouts.client_idle.0,
            slot_wait: config.timeouts.head.0,
            for_socket: in_usize(config.limits.in_flight_per_connection.0),
        }
    }
}

/// What either protocol is told of a connection.
pub(super) struct ConnectionContext {
    pub(super) settings: ConnectionSettings,
    pub(super) timeouts: Arc<IdleTimeouts>,
    pub(super) slot_status: Arc<SlotStatus>,
    /// Whose it is, as far as that may be written down.
    pub(super) shown: Option<LoggedClient>,
}

impl ConnectionContext {
    pub(super) fn new(
        config: &Config,
        in_flight: &Arc<InFlight>,
        slot_status: Arc<SlotStatus>,
        peer: Option<IpAddr>,
    ) -> Self {
        let timeouts = IdleTimeouts::new(config.timeouts.client_stall.0, in_flight, Arc::clone(&slot_status));
        let shown = peer.and_then(|address| config.log.client.shown(address));
        Self { settings: ConnectionSettings::new(config), timeouts, slot_status, shown }
    }

    /// How long it may be idle. As long as it has a place that others want, that is not long.
    pub(super) fn idle(&self) -> Duration {
        self.in_its_place(self.settings.idle)
    }

    pub(super) fn first_byte(&self) -> Duration {
        self.in_its_place(self.settings.first_byte)
    }

    fn in_its_place(&self, limit: Duration) -> Duration {
        if self.slot_status.is_ordinary() { limit } else { limit.min(HEALTH) }
    }
}
