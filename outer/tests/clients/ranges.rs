//! Where a layer breaks off, docker and containerd ask for the rest of it: `Range: bytes=N-`. skopeo 1.9 and podman 4.3
//! ask for nothing more, and fail; they are not here.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{Containerd, Docker};
use registry_proxy_outer::cutter::Cutter;
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::image::Image;
use registry_proxy_outer::proxy::{Proxy, Setup, Store};
use registry_proxy_outer::registry::Registry;

use crate::stage::{engine_turn, seed, with_every_store};

with_every_store! {
    docker_goes_on_where_a_layer_broke_off,
    ctr_goes_on_where_a_layer_broke_off,
}

/// Less than the two layers that have content.
const CUT_AFTER: usize = 100_000;

/// A registry, and a proxy that holds nothing yet.
fn scene(store: Store) -> Outcome<(Registry, Proxy)> {
    let registry = Registry::seeded(seed()?)?;
    let proxy =
        Setup::new().keeping(store).upstream("reg.test", registry.address(), &["default = true"]).start()?;
    Ok((registry, proxy))
}

/// Pulls by a way that cuts each layer once.
fn goes_on(proxy: &Proxy, pull: impl FnOnce(&str, &Image) -> Outcome) -> Outcome {
    let cutter = Cutter::start(proxy.address(), CUT_AFTER)?;
    pull(&format!("{}/reg.test/library/sample:v1", cutter.address()), &seed()?.catalogue().sample)?;
    equal("layers that were cut", &cutter.cuts(), &2)?;
    equal("ranges", &cutter.ranges(), &vec![format!("bytes={CUT_AFTER}-"); 2])
}

fn docker_goes_on_where_a_layer_broke_off(store: Store) -> Outcome {
    let _turn = engine_turn();
    let (_registry, proxy) = scene(store)?;
    goes_on(&proxy, |name, image| Docker::start(&[])?.pull(name)?.expect(image.amd64()?))
}

fn ctr_goes_on_where_a_layer_broke_off(store: Store) -> Outcome {
    let _turn = engine_turn();
    let (_registry, proxy) = scene(store)?;
    // The second time what is asked for may be here.
    for _ in 0..2 {
        goes_on(&proxy, |name, image| {
            let containerd = Containerd::start()?;
            containerd.pull(name, &["--plain-http"])?.success()?;
            let mut expected = image.amd64()?.digests();
            expected.insert(image.index.clone());
            equal("content", &containerd.digests()?, &expected)
        })?;
    }
    Ok(())
}
