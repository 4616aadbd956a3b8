//! What all tests start from.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_proxy_outer::Outcome;
use registry_proxy_outer::image::Tiers;
use registry_proxy_outer::worker::{Setup, Worker};

/// The runtime takes a processor for itself, and what it takes is measured: one at a time.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Worker before one upstream, with a bucket in this folder.
pub(crate) fn worker(upstream: SocketAddr, bucket: &Path) -> Outcome<Worker> {
    Setup::new().upstream("reg.test", upstream).bucket(bucket).start()
}

/// The image that all platforms are tried with, made once.
pub(crate) fn tiers() -> Outcome<Tiers> {
    Tiers::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))
}
