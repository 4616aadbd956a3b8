//! A tag that moves at the registry while functions hold it: each instance knows it from the bucket alone.

use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::function::Function;
use registry_proxy_outer::gateway::rules::{LAMBDA, Rules, SCF};
use registry_proxy_outer::image::layout::MANIFEST;
use registry_proxy_outer::objects::Objects;
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::MovingTag;
use registry_proxy_outer::{Failure, Outcome, http};

const DEADLINE: Duration = Duration::from_mins(2);
/// Long enough for a pull on a busy machine.
const RULE: &str = "[{ match = \"reg.test/**\", revalidate = \"always\", hold = \"30s\" }]";

/// Digest of the tag's manifest, which a platform may not let through as a header, and `X-Registry-Proxy`.
fn get(function: &Function) -> Outcome<(String, String)> {
    let url = function.url("/v2/reg.test/team/app/manifests/v1");
    let answer = http::Client::new()?.get(url).header("accept", MANIFEST).ask()?.expect_status(200)?;
    let done = answer.header("x-registry-proxy").to_owned();
    Ok((registry_proxy_outer::digest::of_bytes(&answer.body), done))
}

fn is_held(rules: &Rules) -> Outcome {
    let (moving, objects, folder) = (MovingTag::start("team/app", "v1")?, Objects::start()?, tempfile::tempdir()?);
    let function = Function::start(rules, || {
        let setup = Setup::new().variable("CACHE_DIRECTORY", folder.path().display().to_string());
        let setup = setup.store(&objects.url()).variable("REGISTRY_PROXY_CACHE__TAGS", RULE);
        setup.upstream("reg.test", moving.registry.address(), &["default = true"])
    })?;
    let (old, new) = (&moving.old, &moving.new);
    let pull = || Skopeo::new()?.pull(&format!("{}/reg.test/team/app:v1", function.address()), &[]);
    equal("before", &pull()?.digests()?, &old.digests())?;

    moving.move_on()?;
    let (digest, done) = get(&function)?;
    equal("during", &digest, &old.manifest)?;
    ensure(done.starts_with("held; reason=\"moved ") && done.ends_with(" ago, held for 30s\""), done)?;
    equal("all of it during", &pull()?.digests()?, &old.digests())?;

    let after = wait_until("the new image should be served once it has stood", DEADLINE, || {
        let (digest, _) = get(&function)?;
        Ok::<_, Failure>((digest != old.manifest).then_some(digest))
    })?;
    equal("after", &after, &new.manifest)?;
    equal("all of it after", &pull()?.digests()?, &new.digests())?;
    function.ledger().expect_no_breach()
}

#[test]
fn a_tag_that_moved_is_held_by_all_instances_of_aws_lambda() -> Outcome {
    is_held(&LAMBDA)
}

#[test]
fn a_tag_that_moved_is_held_on_tencent_scf() -> Outcome {
    is_held(&SCF)
}
