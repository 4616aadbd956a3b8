//! skopeo pulls a large image through the Worker: cold, warm, and with the registry gone.

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::registry::{Registry, StorageFront};
use registry_proxy_outer::worker::{Setup, Worker};
use registry_proxy_outer::{Outcome, http};

use crate::stage::{Tall, turn, worker, write_image};

/// A cold pull asks miniflare's bucket for four large blobs at once, and what that does not take in time is not kept:
/// the next pull has another try.
const PULLS: u32 = 4;

fn is_kept(worker: &Worker, tall: &Tall) -> Outcome<bool> {
    let client = http::Client::new()?;
    for layer in &tall.layers {
        let answer =
            client.head(worker.url(&format!("/v2/library/tall/blobs/{layer}"))).ask()?.expect_status(200)?;
        if !answer.header("x-registry-proxy").starts_with("hit") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn an_image_with_large_layers_arrives_whole_and_is_kept() -> Outcome {
    let _turn = turn();
    let (tall, bucket, skopeo) = (Tall::prepare()?, tempfile::tempdir()?, Skopeo::new()?);
    let registry = tall.registry()?;
    let setup = || {
        let setup = Setup::new().upstream("reg.test", registry.address()).bucket(bucket.path());
        setup.variable("REGISTRY_PROXY_CACHE__TAG_TTL", "1h")
    };
    let worker = setup().start()?;
    let mut pulls = 0;
    loop {
        let copied = skopeo.pull(&format!("{}/library/tall:v1", worker.address()), &[])?;
        equal("tall", &copied.digests()?, &tall.digests)?;
        pulls += 1;
        if is_kept(&worker, &tall)? {
            break;
        }
        ensure(pulls < PULLS, format_args!("not kept after {pulls} pulls:\n{}", worker.log()))?;
    }
    drop(worker);
    // Another isolate, which remembers nothing, and no registry behind it.
    let worker = setup().start()?;
    drop(registry);
    for image in ["library/tall:v1".to_owned(), format!("library/tall@{}", tall.manifest)] {
        let copied = skopeo.pull(&format!("{}/{image}", worker.address()), &[])?;
        equal("tall", &copied.digests()?, &tall.digests)?;
    }
    Ok(())
}

#[test]
fn an_image_with_large_layers_arrives_whole_without_a_bucket() -> Outcome {
    let _turn = turn();
    let tall = Tall::prepare()?;
    let registry = tall.registry()?;
    let worker = Setup::new().upstream("reg.test", registry.address()).start()?;
    for image in ["library/tall:v1".to_owned(), format!("reg.test/library/tall@{}", tall.manifest)] {
        let copied = Skopeo::new()?.pull(&format!("{}/{image}", worker.address()), &[])?;
        equal("tall", &copied.digests()?, &tall.digests)?;
    }
    Ok(())
}

#[test]
fn a_push_passes_through() -> Outcome {
    let _turn = turn();
    let (layout, registry, bucket) = (tempfile::tempdir()?, Registry::fresh()?, tempfile::tempdir()?);
    let (manifest, config, layers) = write_image(layout.path(), &[100_000, 9_000_000])?;
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
    let digests = layers.into_iter().chain([manifest, config]).collect();
    for address in [registry.address(), worker.address()] {
        equal("pushed", &skopeo.pull(&image(address), &[])?.digests()?, &digests)?;
    }
    Ok(())
}

#[test]
fn redirects_to_a_storage_are_followed() -> Outcome {
    let _turn = turn();
    let (tall, bucket) = (Tall::prepare()?, tempfile::tempdir()?);
    let registry = tall.registry()?;
    let front = StorageFront::start(&registry)?;
    let worker = worker(front.address(), bucket.path())?;
    let layer = &tall.layers[0];
    let pulled = worker.pull(&format!("/v2/library/tall/blobs/{layer}"))?;
    ensure(pulled.is_whole, &pulled.head)?;
    equal("digest", &pulled.digest, layer)
}
