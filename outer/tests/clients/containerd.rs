//! containerd: the three shapes of hosts.toml that people write, and a login.
//!
//! `server` names a port where nothing listens, so that nothing can arrive another way.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Containerd;
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::image::Image;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::Registry;

use crate::stage::{DAVE, DAVE_PAIR, engine_turn, proxy_to, seed};

fn hosts(url: &str, more: &str) -> String {
    format!("server = \"http://127.0.0.1:1\"\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{more}\n")
}

fn holds(containerd: &Containerd, image: &Image) -> Outcome {
    let mut expected = image.amd64()?.digests();
    expected.insert(image.index.clone());
    equal("content", &containerd.digests()?, &expected)
}

#[test]
fn containerd_finds_the_upstream_by_the_ns_parameter() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let (other, registry) = (Registry::fresh()?, Registry::seeded(seed)?);
    let proxy = Setup::new()
        .upstream("other.test", other.address(), &["default = true"])
        .upstream("reg.test", registry.address(), &[])
        .start()?;
    let containerd = Containerd::start()?;
    containerd.hosts("reg.test", &hosts(&proxy.url(""), ""))?;
    containerd.pull("reg.test/library/large:v1", &[])?.success()?;
    holds(&containerd, &seed.catalogue().large)
}

#[test]
fn containerd_finds_the_upstream_by_a_path_of_its_own_choice() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let containerd = Containerd::start()?;
    let text = hosts(&proxy.url("/v2/reg.test"), "override_path = true");
    containerd.hosts("reg.test", &text)?;
    containerd.pull("reg.test/library/sample:v1", &[])?.success()?;
    holds(&containerd, &seed.catalogue().sample)
}

#[test]
fn containerd_finds_the_upstream_by_a_path_before_v2() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let containerd = Containerd::start()?;
    containerd.hosts("reg.test", &hosts(&proxy.url("/reg.test"), ""))?;
    let image = format!("reg.test/library/sample@{}", seed.catalogue().sample.index);
    containerd.pull(&image, &[])?.success()?;
    holds(&containerd, &seed.catalogue().sample)
}

#[test]
fn containerd_logs_in() -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = Setup::new().users(&[DAVE]).upstream("reg.test", registry.address(), &[]).start()?;
    let containerd = Containerd::start()?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    containerd.pull(&image, &["--plain-http"])?.refusal()?;
    containerd.pull(&image, &["--plain-http", "--user", "dave:wrong"])?.refusal()?;
    containerd.pull(&image, &["--plain-http", "--user", DAVE_PAIR])?.success()?;
    holds(&containerd, &seed.catalogue().sample)
}
