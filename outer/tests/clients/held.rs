//! A tag that moves at the registry while skopeo and docker pull it through a proxy that holds it, and through two that share
//! a bucket.

use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::client::{Docker, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::image::layout::{INDEX, MANIFEST};
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::{MovingTag, Registry};
use registry_proxy_outer::{Context as _, Failure, Outcome};
use serde_json::Value;

use crate::bucket::Bucket;
use crate::stage::{engine_turn, seed};

const DEADLINE: Duration = Duration::from_mins(1);
const IMAGE: &str = "reg.test/team/app:v1";

/// Any request asks the registry, and what it then sees is young for so long.
fn rule(hold: &str) -> String {
    format!("tags = [{{ match = \"reg.test/**\", revalidate = \"always\", hold = \"{hold}\" }}]")
}

fn proxy_on(folder: &Path, registry: &Registry, hold: &str) -> Outcome<Proxy> {
    Setup::new().cache(folder, &[&rule(hold)]).upstream("reg.test", registry.address(), &[]).start()
}

/// The digest and `X-Registry-Proxy` of an image's tag, as a HEAD says them.
fn head(proxy: &Proxy, image: &str) -> Outcome<(String, String)> {
    let (name, tag) = image.rsplit_once(':').context("a tag")?;
    let url = proxy.url(&format!("/v2/{name}/manifests/{tag}"));
    let accept = format!("{INDEX}, {MANIFEST}");
    let answer = http::Client::new()?.head(url).header("accept", accept).ask()?;
    equal("status", &answer.status.as_u16(), &200)?;
    Ok((answer.header("docker-content-digest").to_owned(), answer.header("x-registry-proxy").to_owned()))
}

/// Fails unless `explain` says this of the tag: its state, what clients get, and what the registry has if that is something
/// else. What was decided a moment ago may be on its way into the store.
fn expect_explained(proxy: &Proxy, state: &str, served: &str, upstream: Option<&str>) -> Outcome {
    wait_until(&format!("explain should say that the tag is {state}"), DEADLINE, || {
        let said: Value = serde_json::from_str(&proxy.command(&["explain", "--json", IMAGE])?.success()?)?;
        let hold = &said["tag"]["hold"];
        let is_said = hold["state"] == state && hold["served"] == served && hold["upstream"].as_str() == upstream;
        Ok(is_said.then_some(()))
    })
}

/// Waits until clients get something else than this, and says what.
fn wait_for_another(proxy: &Proxy, old: &str) -> Outcome<String> {
    wait_until("the new image should be served once it has stood", DEADLINE, || {
        let (digest, _) = head(proxy, IMAGE)?;
        Ok::<_, Failure>((digest != old).then_some(digest))
    })
}

#[test]
fn skopeo_gets_the_old_image_until_the_new_one_has_stood() -> Outcome {
    let folder = tempfile::tempdir()?;
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let (old, new) = (&seed()?.catalogue().sample, &seed()?.catalogue().large);
    let there = format!("{}/team/app:v1", registry.address());
    skopeo.push(&seed()?.layout("sample"), &there, &[])?;
    let proxy = proxy_on(folder.path(), &registry, "10s")?;
    let here = format!("{}/reg.test/team/app:v1", proxy.address());
    let before = skopeo.pull(&here, &[])?;
    equal("before", &before.manifest()?, &old.index)?;
    equal("all of it before", &before.digests()?, &old.digests())?;
    expect_explained(&proxy, "current", &old.index, None)?;

    skopeo.push(&seed()?.layout("large"), &there, &[])?;
    // The proxy sees the move with this request.
    let (digest, done) = head(&proxy, IMAGE)?;
    equal("during", &digest, &old.index)?;
    ensure(done.starts_with("held; reason=\"moved ") && done.ends_with(" ago, held for 10s\""), done)?;
    let young = format!("{}/reg.test/team/app@{}", proxy.address(), new.index);
    let refused = skopeo.pull_refused(&young, &[])?;
    ensure(refused.contains("cache release reg.test/team/app:v1"), refused)?;

    equal("after", &wait_for_another(&proxy, &old.index)?, &new.index)?;
    let after = skopeo.pull(&here, &[])?;
    equal("all of it after", &after.digests()?, &new.digests())?;
    expect_explained(&proxy, "current", &new.index, None)
}

#[test]
fn docker_gets_the_old_image_until_the_new_one_has_stood() -> Outcome {
    let _turn = engine_turn();
    let folder = tempfile::tempdir()?;
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let (old, new) = (&seed()?.catalogue().sample, &seed()?.catalogue().large);
    let there = format!("{}/team/app:v1", registry.address());
    skopeo.push(&seed()?.layout("sample"), &there, &[])?;
    // Long enough for a pull by an engine on a busy machine.
    let proxy = proxy_on(folder.path(), &registry, "30s")?;
    let docker = Docker::start(&[])?;
    let repository = format!("{}/reg.test/team/app", proxy.address());
    let (here, digest_of) = (format!("{repository}:v1"), |index: &str| vec![format!("{repository}@{index}")]);
    docker.pull(&here)?.expect(old.amd64()?)?;
    equal("before", &docker.repository_digests(&here)?, &digest_of(&old.index))?;
    expect_explained(&proxy, "current", &old.index, None)?;
    docker.run(&["image", "rm", &here])?.success()?;

    skopeo.push(&seed()?.layout("large"), &there, &[])?;
    docker.pull(&here)?.expect(old.amd64()?)?;
    equal("during", &docker.repository_digests(&here)?, &digest_of(&old.index))?;
    expect_explained(&proxy, "held", &old.index, Some(&new.index))?;
    let refused = docker.run(&["pull", &format!("{repository}@{}", new.index)])?.refusal()?;
    ensure(refused.contains("cache release reg.test/team/app:v1"), refused)?;

    equal("after", &wait_for_another(&proxy, &old.index)?, &new.index)?;
    docker.pull(&here)?.expect(new.amd64()?)?;
    equal("after", &docker.repository_digests(&here)?, &digest_of(&new.index))?;
    expect_explained(&proxy, "current", &new.index, None)
}

/// Since when a tag is held, in seconds, as `cache held` lists it.
fn held_seconds(proxy: &Proxy, image: &str) -> Outcome<Option<u64>> {
    let listed = proxy.command(&["cache", "--json", "held", image])?.success()?;
    let first: Value = serde_json::from_str(listed.lines().next().context("no line")?)?;
    Ok(first["held"]["moved_seconds_ago"].as_u64())
}

/// Two processes on a bucket: one sees a tag move, both hold it from then on, also once both have started anew, and what one
/// lets through the other does as well.
fn replicas_agree(bucket: &Bucket) -> Outcome {
    // The bucket may have what an earlier run of this test has left.
    let tag = format!("v{}", std::process::id());
    let (moving, image) = (MovingTag::start("team/app", &tag)?, format!("reg.test/team/app:{tag}"));
    let start = |process| {
        let setup = Setup::new().config("admin_socket = \"@FOLDER@/admin.sock\"\n[cache]").config(rule("1h"));
        bucket.kept_by(setup.upstream("reg.test", moving.registry.address(), &[]), process).start()
    };
    let (one, other) = (start(0)?, start(1)?);
    let (old, new) = (&moving.old.manifest, &moving.new.manifest);
    for proxy in [&one, &other] {
        equal("before", &head(proxy, &image)?.0, old)?;
    }
    moving.move_on()?;
    equal("the first to see it", &head(&one, &image)?.0, old)?;
    let before = wait_until("it should be held for some seconds", DEADLINE, || {
        Ok(held_seconds(&one, &image)?.filter(|seconds| *seconds >= 3))
    })?;
    // The other has not seen it so far, and reads in the bucket since when.
    equal("the other", &head(&other, &image)?.0, old)?;
    drop((one, other));

    let (one, other) = (start(0)?, start(1)?);
    for proxy in [&one, &other] {
        let (digest, done) = head(proxy, &image)?;
        equal("after both were restarted", &digest, old)?;
        ensure(done.starts_with("held; "), done)?;
        let seconds = held_seconds(proxy, &image)?;
        ensure(
            seconds.is_some_and(|seconds| seconds >= before),
            format_args!("held for {seconds:?} s, and {before} before"),
        )?;
    }
    one.command(&["cache", "release", &image])?.success()?;
    for proxy in [&one, &other] {
        equal("after the release through one of them", &head(proxy, &image)?.0, new)?;
    }
    drop((one, other));
    for process in 0..2 {
        equal("after a restart", &head(&start(process)?, &image)?.0, new)?;
    }
    Ok(())
}

#[test]
fn two_processes_on_one_bucket_agree_on_a_held_tag() -> Outcome {
    replicas_agree(&Bucket::start()?)
}

#[test]
fn two_processes_on_a_bucket_of_others_agree_on_a_held_tag() -> Outcome {
    for bucket in Bucket::of_others()? {
        eprintln!("{}", bucket.name());
        replicas_agree(&bucket)?;
    }
    Ok(())
}
