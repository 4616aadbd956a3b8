//! The fixtures hold by themselves: without the product, clients get what was made.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{Containerd, Docker, Podman, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::REQUIRED_TOOLS;
use registry_proxy_outer::registry::{Access, Registry, Storage, StorageFront, TokenServer};
use registry_proxy_outer::{digest, http};

use crate::stage::{ALICE, BOB, engine_turn, seed};

#[test]
fn every_tool_is_installed() -> Outcome {
    for tool in REQUIRED_TOOLS {
        tool.path()?;
    }
    Ok(())
}

#[test]
fn a_direct_pull_gives_what_was_made() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let skopeo = Skopeo::new()?;
    let copied = skopeo.pull(&format!("{}/library/large:v1", registry.address()), &[])?;
    equal("large", &copied.digests()?, &seed.catalogue().large.digests())
}

#[test]
fn podman_unpacks_from_a_registry_directly() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let podman = Podman::new("")?;
    let image = format!("{}/library/sample:v1", registry.address());
    podman.pull(&image, &["--tls-verify=false"])?.expect(seed.catalogue().sample.amd64()?)
}

#[test]
fn containerd_unpacks_from_a_registry_directly() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let containerd = Containerd::start()?;
    let image = format!("{}/library/sample:v1", registry.address());
    containerd.pull(&image, &["--plain-http"])?.success()?;
    let mut expected = seed.catalogue().sample.amd64()?.digests();
    expected.insert(seed.catalogue().sample.index.clone());
    equal("content", &containerd.digests()?, &expected)
}

#[test]
fn docker_unpacks_from_a_registry_directly() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let docker = Docker::start(&[])?;
    docker.pull(&format!("{}/library/sample:v1", registry.address()))?.expect(seed.catalogue().sample.amd64()?)
}

#[test]
fn the_storage_host_wants_its_query_and_no_credentials() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let front = StorageFront::start(&registry)?;
    let layer = &seed.catalogue().sample.amd64()?.layers[0];
    let client = http::Client::new()?;
    let blob = format!("http://{}/v2/library/sample/blobs/{layer}", front.address());
    client.head(&blob).ask()?.expect_status(200)?;
    let answer = client.get(&blob).ask()?.expect_status(307)?;
    let signed = answer.location();
    equal("location", &signed, &front.signed_location("library/sample", layer).as_str())?;
    let whole = client.get(signed).ask()?.expect_status(200)?;
    let part = client.get(signed).header("range", "bytes=5-9").ask()?;
    equal("part", &&part.expect_status(206)?.body[..], &&whole.body[5..10])?;
    client.head(signed).ask()?.expect_status(403)?;
    client.get(signed).bearer("x").ask()?.expect_status(400)?;
    client.get(signed.replace("%2F", "/")).ask()?.expect_status(403)?;
    let copied = Skopeo::new()?.pull(&format!("{}/library/sample:v1", front.address()), &[])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

#[test]
fn the_token_server_gives_each_account_its_rights() -> Outcome {
    let seed = seed()?;
    let tokens = TokenServer::start(&[ALICE, BOB])?;
    let registry = Registry::start(&Storage::Seeded(seed), &Access::Token(&tokens))?;
    let skopeo = Skopeo::new()?;
    let image = |name: &str| format!("{}/{name}", registry.address());
    let copied = skopeo.pull(&image("public/app:v1"), &[])?;
    equal("public", &copied.digests()?, &seed.catalogue().sample.digests())?;
    skopeo.pull_refused(&image("private/app:v1"), &[])?;
    skopeo.pull_refused(&image("private/app:v1"), &["--src-creds", "bob:builder"])?;
    let copied = skopeo.pull(&image("private/app:v1"), &["--src-creds", "alice:wonder:land"])?;
    equal("private", &copied.digests()?, &seed.catalogue().secret.digests())?;
    skopeo.pull_refused(&image("public/app:v1"), &["--src-creds", "alice:wrong"])?;
    ensure(tokens.asked().contains(&"alice".to_owned()), format_args!("asked by {:?}", tokens.asked()))
}

#[test]
fn a_registry_with_passwords_wants_them() -> Outcome {
    let seed = seed()?;
    let access = Access::Basic(&[("carol", "secret")]);
    let registry = Registry::start(&Storage::Seeded(seed), &access)?;
    let skopeo = Skopeo::new()?;
    let image = format!("{}/library/sample:v1", registry.address());
    skopeo.pull_refused(&image, &[])?;
    skopeo.pull(&image, &["--src-creds", "carol:secret"])?;
    Ok(())
}

#[test]
fn the_artifact_and_the_tag_that_lists_it_can_be_pulled() -> Outcome {
    let seed = seed()?;
    let artifact = &seed.catalogue().artifact;
    let registry = Registry::seeded(seed)?;
    let skopeo = Skopeo::new()?;
    let image = |tag: &str| format!("{}/library/sample:{tag}", registry.address());
    let copied = skopeo.pull(&image("artifact"), &[])?;
    equal("artifact", &copied.digests()?, &artifact.digests())?;
    let index = skopeo.raw_manifest(&image(&artifact.fallback_tag))?;
    equal("fallback", &digest::of_bytes(index.as_bytes()), &artifact.fallback_index)
}
