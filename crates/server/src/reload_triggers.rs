//! Starts reloads: on SIGHUP, and when certificate or key files change. Files are read on another thread and the result is
//! applied here, because files may be on a network that hangs and this thread accepts connections and handles signals.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::audit::{self, Actor};
use crate::service::Service;
use crate::watched_files::WatchedFiles;

/// How long reading files may take. A later result is discarded.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to check whether a reload has turned watching on.
const WATCH_PAUSE: Duration = Duration::from_mins(1);

/// Waits for both until the process ends. `known`: the files' state before they were first read.
pub(crate) async fn follow(service: Arc<Service>, mut hangup: Signal, mut known: WatchedFiles) {
    let mut looking = None;
    loop {
        let interval = service.reloadable.current().config.tls.watch_interval.0;
        let looking = async {
            // Watching may be off now and turned on by a reload.
            sleep(if interval.is_zero() { WATCH_PAUSE } else { interval }).await;
            if !interval.is_zero() {
                refresh(&service, &mut known, &mut looking).await;
            }
        };
        tokio::select! {
            () = looking => {}
            // A signal does not wait for a check that hangs; that check is left to finish on its own.
            told = hangup.recv() => {
                if told.is_none() {
                    return;
                }
                reload(&service).await;
            }
        }
    }
}

async fn reload(service: &Arc<Service>) {
    let reloading = Arc::clone(service);
    let mut reloading = spawn_blocking(move || reloading.reloadable.reloaded());
    match timeout(READ_TIMEOUT, &mut reloading).await {
        Ok(Ok(prepared)) => service.reloadable.apply(prepared),
        Ok(Err(error)) => {
            audit::record(Actor::Signal, "reload", Err(error.to_string()));
            tracing::error!(%error, "the configuration could not be read; the old one stays in force");
        }
        Err(_) => {
            reloading.abort();
            audit::record(Actor::Signal, "reload", Err("files were not read in time".to_owned()));
            tracing::error!("configuration files were not read within ten seconds; the old ones stay in force");
        }
    }
}

/// Checks the files once. `looking`: an earlier check that still hangs; no second one is started beside it.
async fn refresh(service: &Arc<Service>, known: &mut WatchedFiles, looking: &mut Option<JoinHandle<()>>) {
    if looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
        return;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let (before, reading) = (known.clone(), Arc::clone(service));
    *looking = Some(spawn_blocking(move || {
        // The receiver may have timed out.
        let _ = tell.send(reading.reloadable.refreshed(&before));
    }));
    match timeout(READ_TIMEOUT, told).await {
        Ok(Ok((now, prepared))) => {
            *known = now;
            service.reloadable.apply(prepared);
        }
        Ok(Err(error)) => tracing::error!(%error, "certificate and key files could not be read"),
        Err(_) => tracing::warn!(
            "certificate and key files were not read within ten seconds; until they are, the old ones stay in force"
        ),
    }
}
