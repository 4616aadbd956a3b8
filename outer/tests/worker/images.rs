//! Real clients pull a large image through the Worker: cold, warm, slowly, and with the registry gone.

use std::time::{Duration, Instant};

use registry_proxy_outer::client::{By, Puller, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::Tiers;
use registry_proxy_outer::image::tiers::{IMAGE, REPOSITORY, write_layout};
use registry_proxy_outer::registry::{Registry, StorageFront};
use registry_proxy_outer::worker::{Setup, Worker};
use registry_proxy_outer::{Outcome, http};

use crate::stage::{tiers, turn, worker};

/// A cold pull asks miniflare's bucket for four large blobs at once, and what that does not take in time is not kept:
/// the next pull has another try.
const PULLS: u32 = 4;
/// What the slow registry takes for all layers: with the largest alone it is busy for longer than [`SLOW`].
const ALL_SECONDS: u64 = 80;
const SLOW: Duration = Duration::from_mins(1);

fn is_kept(worker: &Worker, tiers: &Tiers) -> Outcome<bool> {
    let client = http::Client::new()?;
    for (layer, _) in tiers.layers() {
        let url = worker.url(&format!("/v2/{REPOSITORY}/blobs/{layer}"));
        let answer = client.head(url).ask()?.expect_status(200)?;
        if !answer.header("x-registry-proxy").starts_with("hit") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Pulls, and says what that took.
fn pull(worker: &Worker, tiers: &Tiers, (client, state, by): (Puller, &str, By)) -> Outcome<Duration> {
    let (begun, before) = (Instant::now(), worker.figures()?);
    client.pull(worker.address(), REPOSITORY, &tiers.platform, by)?;
    let (took, after) = (begun.elapsed(), worker.figures()?);
    let processor = after.processor.saturating_sub(before.processor);
    eprintln!("worker {client:<7} {state:<5} {by:<7} {:>6.1} s, processor {processor:?}", took.as_secs_f64());
    Ok(took)
}

#[test]
fn every_client_pulls_cold_and_warm_and_with_the_registry_gone() -> Outcome {
    let _turn = turn();
    let tiers = tiers()?;
    for (client, [first, second]) in [
        (Puller::Skopeo, [By::Tag, By::Digest]),
        (Puller::Podman, [By::Tag, By::Digest]),
        (Puller::Ctr, [By::Digest, By::Tag]),
    ] {
        let (bucket, registry) = (tempfile::tempdir()?, tiers.registry()?);
        let setup = || {
            let setup = Setup::new().upstream("reg.test", registry.address()).bucket(bucket.path());
            setup.variable("REGISTRY_PROXY_CACHE__TAG_TTL", "1h")
        };
        let worker = setup().start()?;
        pull(&worker, &tiers, (client, "cold", first))?;
        let mut pulls = 1;
        while !is_kept(&worker, &tiers)? {
            ensure(pulls < PULLS, format_args!("not kept after {pulls} pulls:\n{}", worker.log()))?;
            pull(&worker, &tiers, (client, "again", first))?;
            pulls += 1;
        }
        // By whatever name it was asked for so far, the tag is asked for before the registry goes.
        pull(&worker, &tiers, (client, "warm", By::Tag))?;
        drop(worker);
        // Another isolate, which remembers nothing, and no registry behind it.
        let setup = setup();
        drop(registry);
        pull(&setup.start()?, &tiers, (client, "alone", second))?;
    }
    Ok(())
}

#[test]
fn a_layer_that_takes_over_a_minute_arrives() -> Outcome {
    let _turn = turn();
    let (tiers, bucket) = (tiers()?, tempfile::tempdir()?);
    let registry = tiers.registry()?;
    let all: u64 = tiers.layers().map(|(_, size)| size).sum();
    let front = StorageFront::slow(&registry, all / ALL_SECONDS)?;
    let worker = worker(front.address(), bucket.path())?;
    let took = pull(&worker, &tiers, (Puller::Skopeo, "slow", By::Tag))?;
    ensure(took > SLOW, format_args!("the slow registry gave everything within {took:?}"))
}

#[test]
fn an_image_with_large_layers_arrives_whole_without_a_bucket() -> Outcome {
    let _turn = turn();
    let tiers = tiers()?;
    let registry = tiers.registry()?;
    let worker = Setup::new().upstream("reg.test", registry.address()).start()?;
    for image in [IMAGE.to_owned(), format!("reg.test/{REPOSITORY}@{}", tiers.platform.manifest)] {
        let copied = Skopeo::new()?.pull(&format!("{}/{image}", worker.address()), &[])?;
        equal("digests", &copied.digests()?, &tiers.platform.digests())?;
    }
    Ok(())
}

#[test]
fn a_push_passes_through() -> Outcome {
    let _turn = turn();
    let (layout, registry, bucket) = (tempfile::tempdir()?, Registry::fresh()?, tempfile::tempdir()?);
    let platform = write_layout(layout.path(), [100_000, 9_000_000])?;
    let upstream = format!(
        "[{{name='reg.test',urls=['http://{}'],insecure=true,default=true,push=true}}]",
        registry.address()
    );
    let worker = Setup::new()
        .variable("REGISTRY_PROXY_UPSTREAM", upstream)
        .variable("REGISTRY_PROXY_SIGNING_KEY_FILE", "SIGNING_KEY")
        .variable("SIGNING_KEY", "only the tests sign with this, 0123456789abcdef")
        .bucket(bucket.path())
        .start()?;
    let skopeo = Skopeo::new()?;
    let image = |address| format!("{address}/library/pushed:v1");
    skopeo.push(&format!("oci:{}:image", layout.path().display()), &image(worker.address()), &[])?;
    for address in [registry.address(), worker.address()] {
        equal("pushed", &skopeo.pull(&image(address), &[])?.digests()?, &platform.digests())?;
    }
    Ok(())
}

#[test]
fn redirects_to_a_storage_are_followed() -> Outcome {
    let _turn = turn();
    let (tiers, bucket) = (tiers()?, tempfile::tempdir()?);
    let registry = tiers.registry()?;
    let front = StorageFront::start(&registry)?;
    let worker = worker(front.address(), bucket.path())?;
    let layer = &tiers.platform.layers[0];
    let pulled = worker.pull(&format!("/v2/{REPOSITORY}/blobs/{layer}"))?;
    ensure(pulled.is_whole, &pulled.head)?;
    equal("digest", &pulled.digest, layer)
}
