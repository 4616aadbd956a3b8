//! Docker: as a mirror of Docker Hub, and by names at the proxy with a login.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Docker;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::{Access, Registry, Storage, TokenServer};

use crate::stage::{ALICE, BOB, DAVE, engine_turn, realms, seed};

#[test]
fn docker_uses_the_proxy_as_its_mirror() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = Setup::new().upstream("docker.io", registry.address(), &["default = true"]).start()?;
    let docker = Docker::start(&[proxy.url("")])?;
    let catalogue = seed.catalogue();
    docker.pull("sample:v1")?.expect(catalogue.sample.amd64()?)?;
    docker.pull("team/app:v1")?.expect(catalogue.sample.amd64()?)?;
    docker.pull("large:v1")?.expect(catalogue.large.amd64()?)?;
    let by_digest = format!("public/app@{}", catalogue.sample.index);
    docker.pull(&by_digest)?.expect(catalogue.sample.amd64()?)
}

#[test]
fn docker_logs_in_as_a_user_of_the_proxy() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = Setup::new().users(&[DAVE]).upstream("reg.test", registry.address(), &[]).start()?;
    let docker = Docker::start(&[])?;
    let host = proxy.address().to_string();
    let image = format!("{host}/reg.test/library/sample:v1");
    docker.run(&["pull", &image])?.refusal()?;
    docker.login(&host, DAVE.0, "wrong")?.refusal()?;
    docker.login(&host, DAVE.0, DAVE.1)?.success()?;
    docker.pull(&image)?.expect(seed.catalogue().sample.amd64()?)
}

#[test]
fn docker_logs_in_with_its_account_at_the_upstream() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let tokens = TokenServer::start(&[ALICE, BOB])?;
    let registry = Registry::start(&Storage::Seeded(seed), &Access::Token(&tokens))?;
    let proxy = Setup::new()
        .upstream_accounts()
        .upstream("reg.test", registry.address(), &["default = true", &realms(&tokens)])
        .start()?;
    let docker = Docker::start(&[])?;
    let host = proxy.address().to_string();
    let image = format!("{host}/reg.test/private/app:v1");
    docker.login(&host, ALICE.user, "wrong")?.refusal()?;
    docker.login(&host, BOB.user, BOB.password)?.success()?;
    docker.run(&["pull", &image])?.refusal()?;
    docker.login(&host, ALICE.user, ALICE.password)?.success()?;
    docker.pull(&image)?.expect(seed.catalogue().secret.amd64()?)
}
