//! What both protocols know of a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::body::InFlight;
use registry_proxy_core::config::LoggedClient;

use super::idle_timeouts::IdleTimeouts;
use crate::connection_limits::{HEALTH, SlotStatus};

/// Limits of a connection, from the configuration.
#[derive(Clone, Copy)]
pub(super) struct ConnectionSettings {
    pub(super) head_bytes: usize,
    /// Time until the first byte.
    pub(super) first_byte: Duration,
    /// Time without a request, or with an incomplete request head. Clients should close first (P-123). See
    /// [`ConnectionContext::idle`].
    pub(super) idle: Duration,
    /// How long a request waits for an ordinary slot.
    pub(super) slot_wait: Duration,
    /// Bytes that may be queued for the socket of an HTTP/2 connection.
    pub(super) socket_bytes: usize,
}

impl ConnectionSettings {
    pub(super) fn new(config: &Config) -> Self {
        let in_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head_bytes: in_usize(config.limits.request_head.0),
            first_byte: config.timeouts.client_first_byte.0.min(config.timeouts.client_idle.0),
            idle: config.timeouts.client_idle.0,
            slot_wait: config.timeouts.head.0,
            socket_bytes: in_usize(config.limits.in_flight_per_connection.0),
        }
    }
}

/// What both protocols need to know of a connection.
pub(super) struct ConnectionContext {
    pub(super) settings: ConnectionSettings,
    pub(super) timeouts: Arc<IdleTimeouts>,
    pub(super) slot_status: Arc<SlotStatus>,
    /// The client's address, as far as it may be logged.
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

    /// How long the connection may be idle: briefly while it has a reserved slot.
    pub(super) fn idle(&self) -> Duration {
        self.within_slot(self.settings.idle)
    }

    pub(super) fn first_byte(&self) -> Duration {
        self.within_slot(self.settings.first_byte)
    }

    fn within_slot(&self, limit: Duration) -> Duration {
        if self.slot_status.is_ordinary() { limit } else { limit.min(HEALTH) }
    }
}
