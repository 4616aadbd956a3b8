//! A tag that moves at the registry while skopeo pulls it through a proxy that holds it.

use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::image::layout::INDEX;
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Failure, Outcome};

use crate::stage::seed;

const DEADLINE: Duration = Duration::from_mins(1);
/// Any request asks the registry, and what it then sees is young for a moment.
const RULE: &str = "tags = [{ match = \"reg.test/**\", revalidate = \"always\", hold = \"10s\" }]";
const TAG: &str = "/v2/reg.test/team/app/manifests/v1";

fn proxy_on(folder: &Path, registry: &Registry) -> Outcome<Proxy> {
    Setup::new().cache(folder, &[RULE]).upstream("reg.test", registry.address(), &[]).start()
}

/// The digest and `X-Registry-Proxy` of the tag, as a HEAD says them.
fn head(proxy: &Proxy) -> Outcome<(String, String)> {
    let answer = http::Client::new()?.head(proxy.url(TAG)).header("accept", INDEX).ask()?;
    equal("status", &answer.status.as_u16(), &200)?;
    Ok((answer.header("docker-content-digest").to_owned(), answer.header("x-registry-proxy").to_owned()))
}

#[test]
fn skopeo_gets_the_old_image_until_the_new_one_has_stood() -> Outcome {
    let folder = tempfile::tempdir()?;
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let (old, new) = (&seed()?.catalogue().sample, &seed()?.catalogue().large);
    let there = format!("{}/team/app:v1", registry.address());
    skopeo.push(&seed()?.layout("sample"), &there, &[])?;
    let proxy = proxy_on(folder.path(), &registry)?;
    let here = format!("{}/reg.test/team/app:v1", proxy.address());
    let before = skopeo.pull(&here, &[])?;
    equal("before", &before.manifest()?, &old.index)?;
    equal("all of it before", &before.digests()?, &old.digests())?;

    skopeo.push(&seed()?.layout("large"), &there, &[])?;
    // The proxy sees the move with this request.
    let (digest, done) = head(&proxy)?;
    equal("during", &digest, &old.index)?;
    ensure(done.starts_with("held; reason=\"moved ") && done.ends_with(" ago, held for 10s\""), done)?;
    let young = format!("{}/reg.test/team/app@{}", proxy.address(), new.index);
    let refused = skopeo.pull_refused(&young, &[])?;
    ensure(refused.contains("cache release reg.test/team/app:v1"), refused)?;

    let stood = wait_until("the new image should be served once it has stood", DEADLINE, || {
        let (digest, _) = head(&proxy)?;
        Ok::<_, Failure>((digest != old.index).then_some(digest))
    })?;
    equal("after", &stood, &new.index)?;
    let after = skopeo.pull(&here, &[])?;
    equal("all of it after", &after.digests()?, &new.digests())
}
