//! Tells the receivers of `[[events]]` what happens. The core says what has happened; each receiver has a queue here, and a
//! task that sends what is in it, one event after the other.
//!
//! - [`cloud_event`] `o`: an event as receivers get it; [`signature`] `o`: how they know that it is ours
//! - [`delivery`]: sending, and when it is tried again; [`verdict`] `o`: what a receiver's answer means

mod cloud_event;
mod delivery;
mod signature;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use registry_proxy_core::Config;
use registry_proxy_core::config::{ConfigError, EventsConfig, UpstreamConfig};
use registry_proxy_core::notification::{EventKind, Notification, Notify};
use registry_proxy_core::telemetry;
use tokio::sync::{mpsc, watch};

use self::cloud_event::CloudEvent;
use self::delivery::Sender;
use crate::transport::HyperTransport;

/// Events that wait for one receiver. Further ones are dropped, so that a receiver that is down costs no memory.
const MAX_QUEUED: usize = 256;

/// What happens goes from here to the receivers. It lasts as long as the process; a reload replaces the receivers.
#[derive(Default)]
pub(crate) struct Events {
    receivers: ArcSwap<Receivers>,
    unsent: Unsent,
}

/// The receivers of one configuration. Each task ends when these are gone and its queue is empty.
#[derive(Default)]
pub(crate) struct Receivers {
    all: Vec<Receiver>,
    /// `source` of all events.
    source: String,
}

struct Receiver {
    /// As it may be shown.
    name: String,
    on: Vec<EventKind>,
    queue: mpsc::Sender<Queued>,
    losses: Arc<Losses>,
}

impl Receivers {
    /// Starts a task for each receiver of the configuration, on the runtime that runs this.
    pub(crate) fn start(config: &Config) -> Result<Self, ConfigError> {
        if config.events.is_empty() {
            return Ok(Self::default());
        }
        let transport = Arc::new(HyperTransport::new(&as_upstreams(config))?);
        let start = |(index, receiver): (usize, &EventsConfig)| {
            let url = receiver.url.as_ref()?;
            let name = url.to_string();
            let (queue, queued) = mpsc::channel(MAX_QUEUED);
            let losses = Arc::new(Losses::default());
            let sender = Sender {
                uri: url.expose().as_str().parse().ok()?,
                key: signature::Key::new(receiver.key.as_ref()?)?,
                transport: Arc::clone(&transport) as Arc<_>,
                index,
            };
            let on = receiver.on.clone();
            tokio::spawn(send_all(sender, queued, name.clone(), Arc::clone(&losses)));
            Some(Receiver { name, on, queue, losses })
        };
        let source = config.public_url.as_ref().map_or_else(|| "/registry-proxy".to_owned(), ToString::to_string);
        Ok(Self { all: config.events.iter().enumerate().filter_map(start).collect(), source })
    }
}

/// The receivers, as the transport takes where it sends to: with the same deadline for connecting, the same rules of the way
/// out and the same checks of certificates as a registry that the configuration names.
fn as_upstreams(config: &Config) -> Config {
    let upstream = config.events.iter().enumerate().map(|(i, receiver)| UpstreamConfig {
        name: format!("events[{i}]"),
        urls: receiver.url.iter().map(|url| url.expose().clone()).collect(),
        insecure: receiver.insecure,
        ..UpstreamConfig::default()
    });
    Config { upstream: upstream.collect(), timeouts: config.timeouts.clone(), ..Config::default() }
}

/// An event in a queue.
struct Queued {
    event: Arc<CloudEvent>,
    _unsent: UnsentGuard,
}

/// Events that are neither sent nor dropped.
#[derive(Default)]
struct Unsent(watch::Sender<usize>);

struct UnsentGuard(watch::Sender<usize>);

impl Unsent {
    fn one(&self) -> UnsentGuard {
        self.0.send_modify(|count| *count += 1);
        UnsentGuard(self.0.clone())
    }
}

impl Drop for UnsentGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Events that a receiver did not get since it last took one.
#[derive(Default)]
struct Losses(AtomicU64);

impl Losses {
    /// One more is lost. The first is logged, and the number of all when the receiver takes events again.
    fn lost(&self, receiver: &str, event: &CloudEvent, why: &str) {
        telemetry::event(event.kind.as_str(), "dropped");
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                receiver,
                event = event.kind.as_str(),
                id = event.id,
                error = why,
                "an event was dropped; further ones are counted in {}",
                telemetry::EVENTS
            );
        }
    }

    fn taken(&self, receiver: &str, event: &CloudEvent) {
        telemetry::event(event.kind.as_str(), "sent");
        let dropped = self.0.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::info!(receiver, dropped, "the receiver takes events again");
        }
    }
}

/// Sends what comes in, in order, until nothing can come any more.
async fn send_all(sender: Sender, mut queued: mpsc::Receiver<Queued>, name: String, losses: Arc<Losses>) {
    while let Some(Queued { event, _unsent }) = queued.recv().await {
        match sender.deliver(&event).await {
            Ok(()) => losses.taken(&name, &event),
            Err(why) => losses.lost(&name, &event, &why),
        }
    }
}

impl Events {
    /// From now on these are told.
    pub(crate) fn tell(&self, receivers: Receivers) {
        self.receivers.store(Arc::new(receivers));
    }

    /// Waits until everything is sent or dropped, or for `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let mut unsent = self.unsent.0.subscribe();
        // What is left is lost with the process; the log has it.
        let _ = tokio::time::timeout(limit, unsent.wait_for(|count| *count == 0)).await;
    }
}

impl Notify for Events {
    fn wants(&self, kind: EventKind) -> bool {
        self.receivers.load().all.iter().any(|receiver| receiver.on.contains(&kind))
    }

    fn repeated(&self, kind: EventKind) {
        telemetry::event(kind.as_str(), "repeated");
    }

    fn notify(&self, notification: Notification) {
        let receivers = self.receivers.load();
        let event = Arc::new(CloudEvent::new(&notification, &receivers.source));
        tracing::info!(event = event.kind.as_str(), subject = event.subject, id = event.id, "an event is sent");
        for receiver in receivers.all.iter().filter(|receiver| receiver.on.contains(&event.kind)) {
            let queued = Queued { event: Arc::clone(&event), _unsent: self.unsent.one() };
            if receiver.queue.try_send(queued).is_err() {
                receiver.losses.lost(&receiver.name, &event, "too many events wait for this receiver");
            }
        }
    }
}

#[cfg(test)]
mod tests;
