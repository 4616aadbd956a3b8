//! The product before every registry of the core's table, with its cache in files.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::zoo::{Ground, Table, run};

use super::*;
use crate::runtime::{SystemClock, TokioTasks};

#[tokio::test]
async fn every_route_is_right_before_every_registry_with_a_cache_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let number = AtomicUsize::new(0);
    let store = move || {
        let place = root.join(number.fetch_add(1, Ordering::Relaxed).to_string());
        Some(Arc::new(FileStore::open(&place, 0).unwrap()) as Arc<dyn Store>)
    };
    let ground = Ground {
        clock: Arc::new(SystemClock),
        tasks: Arc::new(TokioTasks),
        at_once: 16,
        store_name: "file",
        store: Box::new(store),
    };
    let report = run(&Table::checked_in(), &ground).await;
    // Past what the test harness keeps to itself.
    let _ = writeln!(std::io::stderr(), "\nzoo: {report}");
    report.assert_passed();
}
