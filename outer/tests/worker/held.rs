//! A tag that moves at the registry while a Worker holds it, with what it knows in a bucket.

use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::layout::MANIFEST;
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::registry::MovingTag;
use registry_proxy_outer::worker::{Setup, Worker};
use registry_proxy_outer::{Failure, Outcome, http};

use crate::stage::turn;

const DEADLINE: Duration = Duration::from_mins(2);
/// Long enough for a pull and a restart on a busy machine.
const RULE: &str = "[{ match = \"reg.test/**\", revalidate = \"always\", hold = \"30s\" }]";

/// Status, digest and `X-Registry-Proxy` of a manifest.
fn get(worker: &Worker, reference: &str) -> Outcome<(u16, String, String)> {
    let url = worker.url(&format!("/v2/reg.test/team/app/manifests/{reference}"));
    let answer = http::Client::new()?.get(url).header("accept", MANIFEST).ask()?;
    let header = |name| answer.header(name).to_owned();
    Ok((answer.status.as_u16(), header("docker-content-digest"), header("x-registry-proxy")))
}

#[test]
fn a_tag_that_moved_is_held_by_this_worker_and_by_the_next() -> Outcome {
    let _turn = turn();
    let (moving, bucket) = (MovingTag::start("team/app", "v1")?, tempfile::tempdir()?);
    let start = || {
        let setup = Setup::new().upstream("reg.test", moving.registry.address()).bucket(bucket.path());
        setup.variable("REGISTRY_PROXY_CACHE__TAGS", RULE).start()
    };
    let (old, new) = (&moving.old, &moving.new);
    let worker = start()?;
    let pull = |worker: &Worker| Skopeo::new()?.pull(&format!("{}/reg.test/team/app:v1", worker.address()), &[]);
    equal("before", &pull(&worker)?.digests()?, &old.digests())?;

    moving.move_on()?;
    let (status, digest, done) = get(&worker, "v1")?;
    equal("during", &(status, &digest), &(200, &old.manifest))?;
    ensure(done.starts_with("held; reason=\"moved ") && done.ends_with(" ago, held for 30s\""), done)?;
    equal("all of it during", &pull(&worker)?.digests()?, &old.digests())?;
    equal("by digest", &get(&worker, &new.manifest)?.0, &403)?;
    drop(worker);

    // Another isolate, which remembers nothing.
    let worker = start()?;
    let (_, digest, done) = get(&worker, "v1")?;
    equal("after a restart", &digest, &old.manifest)?;
    ensure(done.starts_with("held; "), done)?;
    let after = wait_until("the new image should be served once it has stood", DEADLINE, || {
        let (_, digest, _) = get(&worker, "v1")?;
        Ok::<_, Failure>((digest != old.manifest).then_some(digest))
    })?;
    equal("after", &after, &new.manifest)?;
    equal("all of it after", &pull(&worker)?.digests()?, &new.digests())
}

#[test]
fn a_worker_without_a_bucket_serves_nothing_by_a_rule_that_holds_tags() -> Outcome {
    let _turn = turn();
    let moving = MovingTag::start("team/app", "v1")?;
    let setup = Setup::new().upstream("reg.test", moving.registry.address());
    let worker = setup.variable("REGISTRY_PROXY_CACHE__TAGS", RULE).start()?;
    equal("status", &get(&worker, "v1")?.0, &503)?;
    ensure(worker.log().contains("cache.tags[0].hold: a hold needs a bucket"), worker.log())
}
