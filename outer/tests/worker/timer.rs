//! A cron trigger fetches the images of `[[warm]]` into the bucket.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::registry::MovingTag;
use registry_proxy_outer::worker::Setup;

use crate::stage::turn;

#[test]
fn a_cron_trigger_fetches_images_before_anybody_asks() -> Outcome {
    let _turn = turn();
    let (moving, bucket) = (MovingTag::start("team/app", "v1")?, tempfile::tempdir()?);
    let (address, image) = (moving.registry.address(), moving.old.clone());
    let setup = || Setup::new().upstream("reg.test", address).bucket(bucket.path());
    let rule = "[{ images = [\"reg.test/team/app:v1\"], every = \"6h\", platforms = [\"linux/amd64\"] }]";
    let worker = setup().variable("REGISTRY_PROXY_WARM", rule).start()?;
    let ended = worker.timer()?;
    ensure(ended.contains("\"outcome\":\"ok\""), format_args!("{ended}\n{}", worker.log()))?;
    ensure(worker.log().contains("a timer's call was carried out"), worker.log())?;
    drop((worker, moving));

    // Another isolate, without the registry.
    let worker = setup().variable("REGISTRY_PROXY_CACHE__OFFLINE", "true").start()?;
    let pulled = Skopeo::new()?.pull(&format!("{}/reg.test/team/app:v1", worker.address()), &[])?;
    equal("offline", &pulled.digests()?, &image.digests())
}
