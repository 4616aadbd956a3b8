//! Listens for clients, and handles signals.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config_source::ConfigSource;
use crate::connection_limits::{ConnectionSlot, ConnectionSlots};
use crate::service::{Listener, Service};
use crate::watched_files::WatchedFiles;
use crate::workers::Workers;
use crate::{
    admin_socket, connection, file_descriptors, first_steps, own_platform, reload_triggers, traces, warm_queue,
};

/// Pause after a failed accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections at once to `page.listen`.
const PAGE_CONNECTIONS: usize = 64;

/// Minimum time for content just served to reach the store before the process ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// How long the events of the last moments may take before the process ends.
const EVENTS_LIMIT: Duration = Duration::from_secs(2);

/// Serves until a signal stops it.
pub(crate) async fn serve(source: ConfigSource, config: Config) -> Result<(), Box<dyn Error>> {
    let listen = config.listen.clone();
    let metrics_listen = config.metrics.listen.clone();
    let page_listen = config.page.listen.clone();
    let drain = config.timeouts.drain.0;
    let connections = file_descriptors::connections(config.limits.connections, file_descriptors::raise());
    if connections < config.limits.connections {
        tracing::warn!(
            connections,
            "the limit of open files (RLIMIT_NOFILE) allows fewer connections than limits.connections"
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let scheme = if config.tls.cert_file.is_some() { "https" } else { "http" };
    let names: Vec<String> = config.upstream.iter().map(|upstream| upstream.name.clone()).collect();
    let listener = bind("listen", &listen).await?;
    let first_steps = first_steps::text(&config, listener.local_addr()?);
    // Files that change from here on count as changed.
    let known = WatchedFiles::look(&config);
    let service = Arc::new(Service::new(source, config)?);
    if let Some(address) = &metrics_listen {
        let listener = bind("metrics.listen", address).await?;
        tracing::info!("metrics on http://{}/metrics", listener.local_addr()?);
        tokio::spawn(serve_metrics(listener, Arc::clone(&service)));
    }
    let page = match &page_listen {
        None => None,
        Some(address) => {
            let listener = bind("page.listen", address).await?;
            tracing::info!("administration page on {scheme}://{}/-/", listener.local_addr()?);
            Some((listener, ConnectionSlots::new(PAGE_CONNECTIONS)))
        }
    };
    let _admin = admin_socket::open(&service).await;
    tokio::spawn(warm_queue::follow(Arc::clone(&service), own_platform::own_platform()));
    tracing::info!(upstreams = names.join(" "), "listening on {scheme}://{}", listener.local_addr()?);
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(first_steps.as_bytes());
    }

    // Each connection holds a receiver until it ends.
    let drains = watch::Sender::new(false);
    let slots = ConnectionSlots::new(connections);
    let workers = Workers::start()?;
    let changes = tokio::spawn(reload_triggers::follow(Arc::clone(&service), hangup, known));
    loop {
        tokio::select! {
            // Wait for a slot before accepting: further connections wait in the kernel's queue.
            accepted = accept(&listener, &slots) => {
                if let Some((stream, slot)) = accepted.and_then(|(stream, slot)| admit(&service, stream, slot)) {
                    dispatch(&workers, stream, slot, Listener::Main, &service, &drains);
                }
            }
            accepted = accept_page(page.as_ref()) => {
                if let Some((stream, slot)) = accepted {
                    dispatch(&workers, stream, slot, Listener::Page, &service, &drains);
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    changes.abort();
    service.drain();
    tracing::info!(connections = drains.receiver_count(), "stopping; transfers in progress may finish");
    drains.send_replace(true);
    let begun = tokio::time::Instant::now();
    tokio::select! {
        () = drains.closed() => tracing::info!("stopped"),
        () = tokio::time::sleep(drain) => tracing::warn!("timeouts.drain is over; the remaining transfers end here"),
        _ = terminate.recv() => tracing::warn!("second signal; the remaining transfers end here"),
        _ = interrupt.recv() => tracing::warn!("second signal; the remaining transfers end here"),
    }
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    let is_kept = tokio::select! {
        is_kept = current.proxy.close(rest_of(drain, begun.elapsed())) => is_kept,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    service.reloadable.flush_events(EVENTS_LIMIT).await;
    traces::close().await;
    if !is_kept {
        tracing::warn!("content still on its way into the cache was not stored");
    }
    Ok(())
}

/// How long uploads into a bucket may continue after the last client: the rest of `timeouts.drain`, but at least `FLUSH_LIMIT`.
fn rest_of(drain: Duration, gone: Duration) -> Duration {
    drain.saturating_sub(gone).max(FLUSH_LIMIT)
}

async fn bind(key: &str, address: &str) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address).await.map_err(|error| format!("{key}: cannot listen on {address}: {error}").into())
}

async fn accept(listener: &TcpListener, slots: &Arc<ConnectionSlots>) -> Option<(TcpStream, ConnectionSlot)> {
    let slot = slots.next().await?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::error!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// A connection to the page's own address; waits for ever if there is none.
async fn accept_page(page: Option<&(TcpListener, Arc<ConnectionSlots>)>) -> Option<(TcpStream, ConnectionSlot)> {
    match page {
        Some((listener, slots)) => accept(listener, slots).await,
        None => std::future::pending().await,
    }
}

fn dispatch(
    workers: &Workers,
    stream: TcpStream,
    slot: ConnectionSlot,
    listener: Listener,
    service: &Arc<Service>,
    drains: &watch::Sender<bool>,
) {
    let (service, drain) = (Arc::clone(service), drains.subscribe());
    let given = workers.dispatch(stream, move |stream| connection::serve(stream, slot, listener, service, drain));
    if let Err(error) = given {
        tracing::error!(%error, "cannot serve a connection");
    }
}

/// Closes a connection whose client address has too many already. Trusted proxies have no such limit.
fn admit(service: &Service, stream: TcpStream, slot: ConnectionSlot) -> Option<(TcpStream, ConnectionSlot)> {
    let peer = stream.peer_addr().ok()?.ip().to_canonical();
    let slot = slot.counted(peer, &service.reloadable.current().config)?;
    Some((stream, slot))
}

/// Serves `/metrics` on its own address.
async fn serve_metrics(listener: TcpListener, service: Arc<Service>) {
    let slots = ConnectionSlots::new(16);
    let drains = watch::Sender::new(false);
    loop {
        if let Some((stream, slot)) = accept(&listener, &slots).await {
            tokio::spawn(connection::serve_metrics(stream, slot, Arc::clone(&service), drains.subscribe()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_have_what_is_left_of_the_drain() {
        let seconds = Duration::from_secs;
        for (drain, gone, expected) in [(30, 0, 30), (30, 10, 20), (30, 28, 5), (30, 31, 5), (0, 0, 5)] {
            assert_eq!(rest_of(seconds(drain), seconds(gone)), seconds(expected), "{gone} of {drain}");
        }
    }
}
