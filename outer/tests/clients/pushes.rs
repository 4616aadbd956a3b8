//! Pushes: passed on where that is allowed, refused where it is not.

use registry_proxy_outer::client::{Docker, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::{Access, Registry, Storage, TokenServer};
use registry_proxy_outer::{Context, Outcome, digest};

use crate::stage::{ALICE, ALICE_PAIR, BOB, BOB_PAIR, DAVE, DAVE_PAIR, engine_turn, realms, seed};

#[test]
fn skopeo_pushes_a_large_image_through_an_open_proxy() -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new().upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/team/large:v1", proxy.address());
    skopeo.push(&seed.layout("large"), &target, &[])?;
    let copied = skopeo.pull(&format!("{}/team/large:v1", registry.address()), &[])?;
    equal("large", &copied.digests()?, &seed.catalogue().large.digests())
}

#[test]
fn skopeo_pushes_the_same_blobs_to_a_second_repository() -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new().upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let skopeo = Skopeo::new()?;
    for repository in ["team/one", "team/two"] {
        let target = format!("{}/reg.test/{repository}:v1", proxy.address());
        skopeo.push(&seed.layout("sample"), &target, &[])?;
        let copied = skopeo.pull(&format!("{}/{repository}:v1", registry.address()), &[])?;
        equal(repository, &copied.digests()?, &seed.catalogue().sample.digests())?;
    }
    Ok(())
}

#[test]
fn skopeo_pushes_as_a_user_of_the_proxy() -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new().users(&[DAVE]).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/team/app:v1", proxy.address());
    let source = seed.layout("sample");
    skopeo.try_push(&source, &target, &[])?.refusal()?;
    skopeo.try_push(&source, &target, &["--dest-creds", "dave:wrong"])?.refusal()?;
    skopeo.push(&source, &target, &["--dest-creds", DAVE_PAIR])?;
    let copied = skopeo.pull(&format!("{}/team/app:v1", registry.address()), &[])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

#[test]
fn skopeo_pushes_with_the_rights_of_its_account_at_the_upstream() -> Outcome {
    let seed = seed()?;
    let tokens = TokenServer::start(&[ALICE, BOB])?;
    let registry = Registry::start(&Storage::Fresh, &Access::Token(&tokens))?;
    let proxy = Setup::new()
        .upstream_accounts()
        .upstream("reg.test", registry.address(), &["push = true", &realms(&tokens)])
        .start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/private/new:v1", proxy.address());
    let source = seed.layout("sample");
    skopeo.try_push(&source, &target, &["--dest-creds", BOB_PAIR])?.refusal()?;
    skopeo.push(&source, &target, &["--dest-creds", ALICE_PAIR])?;
    let direct = format!("{}/private/new:v1", registry.address());
    let copied = skopeo.pull(&direct, &["--src-creds", ALICE_PAIR])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

#[test]
fn docker_pushes_what_it_pulled() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let (seeded, fresh) = (Registry::seeded(seed)?, Registry::fresh()?);
    let proxy = Setup::new()
        .users(&[DAVE])
        .upstream("reg.test", seeded.address(), &[])
        .upstream("store.test", fresh.address(), &["push = true"])
        .start()?;
    let docker = Docker::start(&[])?;
    let host = proxy.address().to_string();
    let (from, to) = (format!("{host}/reg.test/library/sample:v1"), format!("{host}/store.test/team/app:v1"));
    docker.login(&host, DAVE.0, DAVE.1)?.success()?;
    let platform = seed.catalogue().sample.amd64()?;
    docker.pull(&from)?.expect(platform)?;
    docker.run(&["tag", &from, &to])?.success()?;
    let said = docker.run(&["push", &to])?.success()?;

    let direct = format!("{}/team/app:v1", fresh.address());
    let skopeo = Skopeo::new()?;
    let manifest = skopeo.raw_manifest(&direct)?;
    let pushed = digest::of_bytes(manifest.as_bytes());
    ensure(said.contains(&pushed), format_args!("docker said {said}, not {pushed}"))?;
    let document: serde_json::Value = serde_json::from_str(&manifest)?;
    let config = document["config"]["digest"].as_str().context("no config")?;
    equal("config", &config, &platform.config.as_str())?;
    // Its bytes are what it says, for skopeo and for us.
    skopeo.pull(&direct, &[])?.digests()?;
    Ok(())
}

#[test]
fn pushes_are_refused_where_they_are_not_allowed() -> Outcome {
    let registry = Registry::fresh()?;
    let proxy = Setup::new().upstream("reg.test", registry.address(), &[]).start()?;
    let target = format!("{}/reg.test/team/app:v1", proxy.address());
    Skopeo::new()?.try_push(&seed()?.layout("sample"), &target, &[])?.refusal()?;
    let client = http::Client::new()?;
    let uploads = proxy.url("/v2/reg.test/team/app/blobs/uploads/");
    client.post(uploads).ask()?.expect_status(405)?;
    let manifest = proxy.url("/v2/reg.test/team/app/manifests/v1");
    client.put(manifest).body("{}").ask()?.expect_status(405)?;
    ensure(!registry.log().contains("PUT"), "something was put upstream")
}
