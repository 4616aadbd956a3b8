//! podman: directly, and as a mirror behind an image's own name.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Podman;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;

use crate::stage::{DAVE, engine_turn, proxy_to, seed};

/// `reg.test` does not exist: what arrives has come through the mirror.
fn mirror(proxy: &Proxy) -> String {
    format!(
        "[[registry]]\nprefix = \"reg.test\"\nlocation = \"reg.test\"\n\
         [[registry.mirror]]\nlocation = \"{}/reg.test\"\ninsecure = true\n",
        proxy.address()
    )
}

#[test]
fn podman_unpacks_a_large_image_by_its_name_at_the_proxy() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let image = format!("{}/reg.test/library/large:v1", proxy.address());
    let unpacked = Podman::new("")?.pull(&image, &["--tls-verify=false"])?;
    unpacked.expect(seed.catalogue().large.amd64()?)
}

#[test]
fn podman_uses_the_proxy_as_a_mirror() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let podman = Podman::new(&mirror(&proxy))?;
    let sample = &seed.catalogue().sample;
    podman.pull("reg.test/library/sample:v1", &[])?.expect(sample.amd64()?)?;
    podman.pull(&format!("reg.test/team/app@{}", sample.index), &[])?.expect(sample.amd64()?)
}

#[test]
fn podman_logs_in_to_a_mirror() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = Setup::new().users(&[DAVE]).upstream("reg.test", registry.address(), &[]).start()?;
    let podman = Podman::new(&mirror(&proxy))?;
    podman.try_pull("reg.test/library/sample:v1", &[])?.refusal()?;
    let host = proxy.address().to_string();
    podman.login(&host, DAVE.0, "wrong")?.refusal()?;
    podman.login(&host, DAVE.0, DAVE.1)?.success()?;
    let unpacked = podman.pull("reg.test/library/sample:v1", &[])?;
    unpacked.expect(seed.catalogue().sample.amd64()?)
}
