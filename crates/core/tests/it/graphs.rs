//! Manifests that name each other so often that whoever followed each name would never come to an end: each is looked at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_proxy_core::admin::{Command, Event, Purge};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::explain::PartReport;
use registry_proxy_core::testing::{Answer, Fault, Step, stored_nowhere};

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, Setup, TroubledStore, troubled};

const V1: &str = "/v2/a/b/manifests/v1";
/// Looks at the store after which somebody must have gone astray.
const ASTRAY: usize = 2000;

/// How a graph is hostile.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Each index names the next one a hundred times.
    Repeated,
    /// Each of ten indexes names each of the ten below it.
    Woven,
}

/// Puts five layers of indexes above one image without its layer, and pulls all manifests. A proxy that keeps next to
/// nothing in memory, so that each look at a manifest is one at the store.
async fn pulled(shape: Shape) -> (Fixture, Arc<TroubledStore>) {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let looks = AtomicUsize::new(0);
    let store = troubled(&memory, move |step, _| {
        if matches!(step, Step::Read | Step::Stat) {
            assert!(looks.fetch_add(1, Ordering::Relaxed) < ASTRAY, "it does not come to an end");
        }
        None
    });
    let text = "[cache]\nmemory=1\ntag_ttl='60s'";
    let lab = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
    let absent = lab.registry.put_blob("a/b", "a layer that nobody pulls");
    let image = format!(r#"{{"layers":[{{"digest":"{absent}"}}]}}"#);
    let mut below = vec![lab.registry.put_manifest("a/b", "image", OCI_MANIFEST, image)];
    let mut all = below.clone();
    let width = match shape {
        Shape::Repeated => 1,
        Shape::Woven => 10,
    };
    for depth in 0..5 {
        let names: Vec<String> = below.iter().map(|digest| format!(r#"{{"digest":"{digest}"}}"#)).collect();
        let names = names.join(",");
        let names = vec![names; 100 / below.len()].join(",");
        below = (0..if depth == 4 { 1 } else { width })
            .map(|number| {
                let text = format!(r#"{{"manifests":[{names}],"annotations":{{"a":"{number}"}}}}"#);
                lab.registry.put_manifest("a/b", "v1", OCI_INDEX, text)
            })
            .collect();
        all.extend(below.clone());
    }
    lab.get(V1).await;
    for digest in all {
        assert_eq!(lab.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
    }
    lab.wait(1).await;
    (lab, store)
}

fn size(part: &PartReport) -> usize {
    1 + part.manifests.iter().chain(&part.blobs).map(size).sum::<usize>()
}

#[tokio::test(start_paused = true)]
async fn a_cache_with_a_hostile_graph_is_listed_and_purged_and_each_manifest_is_read_once() {
    for (shape, manifests) in [(Shape::Repeated, 6), (Shape::Woven, 42)] {
        let (lab, store) = pulled(shape).await;
        let admin = lab.proxy.cache_admin().expect("a cache");
        for command in [
            Command::List(None),
            Command::Purge { what: Purge::Pattern("reg.example/a/b:v1".to_owned()), dry_run: true },
            Command::Purge { what: Purge::All, dry_run: true },
            Command::Purge { what: Purge::All, dry_run: false },
        ] {
            let before = store.hook.count(Step::Read, "v1/manifests/");
            let told = std::sync::Mutex::new(Vec::new());
            admin.run(&command, &|event| told.lock().unwrap().push(event)).await.unwrap();
            let told = told.into_inner().unwrap();
            let images = told.iter().filter(|event| matches!(event, Event::Image(_)));
            assert_eq!(images.count(), 1, "{shape:?} {command:?}: {told:?}");
            assert_eq!(store.hook.count(Step::Read, "v1/manifests/") - before, manifests, "{shape:?} {command:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_graph_is_explained_and_not_served_stale_and_nobody_waits_for_that() {
    for shape in [Shape::Repeated, Shape::Woven] {
        let (lab, store) = pulled(shape).await;
        let text = crate::fixture::upstream("") + "[cache]\nmemory=1\ntag_ttl='60s'";
        let config =
            Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere }).unwrap();
        let explanation = lab.proxy.explain(&config, "a/b:v1").await;
        let shown = size(explanation.manifest.as_ref().expect("a manifest"));
        assert!(shown <= 1000, "{shape:?}: {shown} parts");

        lab.wait(61).await;
        lab.net.fault("*", "/manifests/", 99, Fault::Say(Answer::new(429)));
        let before = store.hook.count(Step::Read, "v1/");
        assert_eq!(lab.get(V1).await.status, 429, "its layer is not here");
        let looks = store.hook.count(Step::Read, "v1/") - before;
        assert!(looks < 200, "{shape:?}: {looks} looks at the store for one answer");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_is_gone_before_anybody_is_told() {
    let (lab, store) = pulled(Shape::Repeated).await;
    let admin = lab.proxy.cache_admin().expect("a cache");
    let removed = std::sync::Mutex::new(None);
    let command = Command::Purge { what: Purge::All, dry_run: false };
    admin
        .run(&command, &|event| {
            if let Event::Image(_) = event {
                *removed.lock().unwrap() = Some(store.hook.count(Step::Remove, "v1/manifests/"));
            }
        })
        .await
        .unwrap();
    assert_eq!(*removed.lock().unwrap(), Some(6));
}
