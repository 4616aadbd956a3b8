//! The product before every registry of the table, in every mode; and what runs the table, held to what it promises.

use std::io::Write as _;
use std::sync::Arc;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::zoo::{Ground, Report, Table, run};

use crate::clock::{TokioClock, TokioTasks};

fn ground(store_name: &'static str, store: impl Fn() -> Option<Arc<dyn Store>> + Send + Sync + 'static) -> Ground {
    let clock = Arc::new(TokioClock::start());
    Ground { clock, tasks: Arc::new(TokioTasks), at_once: 1, store_name, store: Box::new(store) }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())))
}

async fn run_on(table: &Table, store_name: &'static str) -> Report {
    match store_name {
        "none" => run(table, &ground(store_name, || None)).await,
        _ => run(table, &ground(store_name, || Some(memory()))).await,
    }
}

/// Tells how much was run, past what the test harness keeps to itself.
fn tell(report: &Report) {
    let _ = writeln!(std::io::stderr(), "\nzoo: {report}");
}

#[tokio::test(start_paused = true)]
async fn every_route_is_right_before_every_registry_with_an_empty_cache() {
    let report = run_on(&Table::checked_in(), "none").await;
    tell(&report);
    report.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn every_route_is_right_before_every_registry_with_a_cache_in_memory() {
    let report = run_on(&Table::checked_in(), "memory").await;
    tell(&report);
    report.assert_passed();
}

const HARBORS_CACHE: &str = "Harbor's proxy cache";

/// The table with one text for another, of one registry alone.
fn changed(registry: &str, from: &str, to: &str) -> Table {
    let text = Table::text();
    assert!(text.contains(from), "{from}");
    Table::read(&text.replace(from, to)).expect("a table").only(registry)
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_behaves_otherwise_than_it_is_written_fails_the_run() {
    for (registry, from, to) in [
        // It refuses the HEAD of what it has given, too.
        (HARBORS_CACHE, "when = \"until-given\"\nstatus = 404", "status = 404"),
        // It lists tags page by page.
        (
            "registry:2 as a cache",
            "[\"v3\",\"v1\",\"v2\"]}'",
            "[]}'\nheaders = { link = '</v2/team/app/tags/list?n=2&last=v1>; rel=\"next\"' }",
        ),
        // Its referrers are a page.
        (
            "Harbor",
            r#"body = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'"#,
            "body = '<html>'",
        ),
    ] {
        let mut failures = 0;
        for store in ["none", "memory"] {
            let right = run_on(&Table::checked_in().only(registry), store).await;
            assert_eq!(right.failures(), [""; 0], "{registry}, {store}");
            let broken = run_on(&changed(registry, from, to), store).await;
            assert_eq!(broken.cells(), right.cells());
            assert!(broken.failures().iter().all(|line| line.starts_with(registry)), "{:?}", broken.failures());
            failures += broken.failures().len();
        }
        assert!(failures > 0, "{registry}: {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cell_without_an_expectation_fails_the_run() {
    let (kept, none) = ("kept = \"200 image: HEAD manifest\"\n", "none = \"200 image: HEAD manifest\"\n");
    for (missing, store, other) in [(kept, "memory", "none"), (none, "none", "memory")] {
        let table = changed("GitLab", missing, "");
        let report = run_on(&table, store).await;
        assert_eq!(report.failures().len(), 6, "one for each mode: {:?}", report.failures());
        assert!(report.failures().iter().all(|line| line.ends_with("no expectation")), "{:?}", report.failures());
        assert_eq!(run_on(&table, other).await.failures(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_expectation_of_a_route_that_there_is_not_fails_the_run() {
    let table = changed("Harbor", "\"referrers\" = { none = \"200 index", "\"refferers\" = { none = \"200 index");
    let report = run_on(&table, "none").await;
    assert!(report.failures().iter().any(|line| line == "Harbor: there is no route refferers"));
}

#[test]
fn a_key_that_nobody_reads_is_an_error() {
    let text = Table::text().replace("login = \"basic\"", "login = \"basic\"\nfollows = true");
    assert!(Table::read(&text).is_err());
}
