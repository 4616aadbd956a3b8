//! Much more than there is room for, and what goes of it, watched from outside.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_proxy_core::digest::Digest;
use serde_json::Value;

use crate::cache_cli::{cache, lines};
use crate::disks::until;
use crate::fixture::{Client, Product, Setup, Shelf, fetch_all, kept, links, noise, one_upstream, soon, tags};

/// Images in the cache, each with a layer of its own.
const IMAGES: u64 = 400;
/// Bytes of a layer.
const LAYER: usize = 20_000;
/// One of so many is used again.
const USED_AGAIN: usize = 8;
/// What there is room for from then on: a third of it.
const MAX_BYTES: u64 = 2_700_000;

/// What `registry-proxy cache …` tells of the running server, line by line.
async fn told(product: &Product, action: &str) -> Vec<Value> {
    lines(&cache(&product.setup, &[action, "--json"]).await)
}

/// Waits for the next second: when something was used is known to a second.
async fn next_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let begun = second();
    until("the next second", || second() > begun).await;
}

/// How the last answer for a path came about.
async fn done(product: &Product, path: &str) -> String {
    let (head, _) = Client::connect(product.address).await.get(path).await;
    assert_eq!(head.status, 200, "{path}: {}", head.text);
    head.get("x-registry-proxy").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_eviction_comes_to_its_end_and_what_was_used_last_stays_whole() {
    let (setup, shelf) = (Setup::new(), Shelf::default());
    let images: Vec<[String; 2]> =
        (0..IMAGES).map(|number| shelf.image(&format!("i{number}"), &noise(number, LAYER))).collect();
    let upstream = shelf.serve(Duration::ZERO).await;
    let folder = setup.path().join("cache");
    let config = |more: &str| {
        let keys = format!("[cache]\nstore = 'file://{}'\nmin_free = 0\ntag_ttl = '1h'", folder.display());
        one_upstream(&format!("{keys}\n{more}"), upstream.address, "")
    };
    let product = setup.start(&config("")).await;
    fetch_all(product.address, &images.concat()).await;
    until("all tags to be kept", || tags(&folder, &shelf).len() == images.len()).await;
    // A fill comes to its end behind the answer that it brought.
    let all = soon("all blobs to be kept", async {
        loop {
            let stat = told(&product, "stat").await.remove(0)["stat"].clone();
            if (stat["blobs"].as_u64(), stat["manifests"].as_u64()) == (Some(IMAGES), Some(IMAGES)) {
                return stat;
            }
        }
    })
    .await;

    let shown = product.metric("registry_proxy_cache_bytes", "").await;
    let taken = all["bytes"].as_u64().unwrap() + all["record_bytes"].as_u64().unwrap();
    assert!(shown >= taken, "{shown} bytes are shown while {taken} are there: nobody has looked since they came");

    next_second().await;
    let used_again: Vec<[String; 2]> = images.iter().step_by(USED_AGAIN).cloned().collect();
    fetch_all(product.address, &used_again.concat()).await;
    let asked = upstream.seen().len();

    product.setup.file("proxy.toml", &config(&format!("max_size = {MAX_BYTES}")));
    product.reload().await;
    let size = |stat: &Value| stat["bytes"].as_u64().unwrap() + stat["record_bytes"].as_u64().unwrap();
    let mut sizes = vec![size(&all)];
    soon("room to be made", async {
        for path in used_again.iter().flatten().cycle() {
            // Whoever uses them meanwhile notices nothing.
            assert_eq!(done(&product, path).await, "hit", "{path}");
            sizes.push(size(&told(&product, "stat").await[0]["stat"]));
            if sizes.last().is_some_and(|size| *size <= MAX_BYTES) {
                return;
            }
        }
    })
    .await;
    assert!(sizes.is_sorted_by(|earlier, later| earlier >= later), "{sizes:?}");
    product.wait_for_line("content was evicted from the cache").await;
    eprintln!("bytes in the cache: {sizes:?}");

    let evicted = product.metric("registry_proxy_cache_evicted_total", "kind=\"blob\"").await;
    assert!(evicted > IMAGES / 2, "{evicted} blobs went");
    let freed = product.metric("registry_proxy_cache_evicted_bytes_total", "").await;
    let left = product.metric("registry_proxy_cache_bytes", "").await;
    assert!(left <= MAX_BYTES && left + freed == sizes[0], "{left} bytes left, {freed} of {} freed", sizes[0]);

    let listed = told(&product, "list").await;
    let complete = listed.iter().map(|line| &line["image"]).filter(|image| image["is_complete"] == true);
    let complete: BTreeSet<&str> = complete.filter_map(|image| image["name"].as_str()).collect();
    for [manifest, layer] in &used_again {
        let tag = manifest.rsplit('/').next().unwrap();
        assert!(complete.contains(&*format!("up.test/acme/app:{tag}")), "{tag} is torn");
        assert_eq!((done(&product, manifest).await, done(&product, layer).await), ("hit".into(), "hit".into()));
    }
    assert_eq!(upstream.seen().len(), asked, "nobody needed to be asked");

    // What went has left nothing that leads to it, and comes again.
    let here: HashSet<Digest> = kept(&folder).into_iter().collect();
    assert!(tags(&folder, &shelf).iter().all(|(_, target)| here.contains(target)), "tags");
    assert!(links(&folder, &shelf).iter().all(|digest| here.contains(digest)), "links");
    fetch_all(product.address, &images.concat()).await;
}
