//! SIGHUP, and certificate and key files that change: what they bring is read and built on another thread, and only put in
//! force here. Files may lie on a network that hangs, and whoever accepts connections and hears signals waits for none of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::service::Service;
use crate::watched_files::WatchedFiles;

/// How long files may take. What comes later is thrown away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether files are to be watched, where they are not.
const WATCH_PAUSE: Duration = Duration::from_mins(1);

/// Follows both, to the end of the process. `known`: the files as they were before they were read.
pub(crate) async fn follow(service: Arc<Service>, mut hangup: Signal, mut known: WatchedFiles) {
    let mut looking = None;
    loop {
        let interval = service.reloadable.current().config.tls.watch_interval.0;
        let looking = async {
            // Where it is off, a reload may turn it on.
            sleep(if interval.is_zero() { WATCH_PAUSE } else { interval }).await;
            if !interval.is_zero() {
                refresh(&service, &mut known, &mut looking).await;
            }
        };
        tokio::select! {
            () = looking => {}
            // Whoever gives a signal waits for no look that hangs: it is left to itself.
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
    match timeout(PATIENCE, &mut reloading).await {
        Ok(Ok(prepared)) => service.reloadable.put(prepared),
        Ok(Err(error)) => tracing::error!(%error, "the configuration was not read; the old one stays in force"),
        Err(_) => {
            reloading.abort();
            tracing::error!("configuration files were not read within ten seconds; the old ones stay in force");
        }
    }
}

/// Looks once. `looking`: a look that hangs, beside which there is no other.
async fn refresh(service: &Arc<Service>, known: &mut WatchedFiles, looking: &mut Option<JoinHandle<()>>) {
    if looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
        return;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let (before, reading) = (known.clone(), Arc::clone(service));
    *looking = Some(spawn_blocking(move || {
        // Nobody may wait for it any more.
        let _ = tell.send(reading.reloadable.refreshed(&before));
    }));
    match timeout(PATIENCE, told).await {
        Ok(Ok((now, prepared))) => {
            *known = now;
            service.reloadable.put(prepared);
        }
        Ok(Err(error)) => tracing::error!(%error, "certificate and key files were not read"),
        Err(_) => tracing::warn!(
            "certificate and key files were not read within ten seconds; the old stay in force until they can be"
        ),
    }
}
