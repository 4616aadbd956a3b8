//! What is deleted through the proxy is gone for whoever asks next, however often it was pulled before.

use registry_proxy_outer::client::{By, Puller, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::layout::INDEX;
use registry_proxy_outer::proxy::{Proxy, Setup, Store};
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Context, Failure, Outcome, http};

use crate::stage::{engine_turn, seed, with_every_store};

with_every_store! {
    what_skopeo_deletes_no_client_gets_again,
    what_is_deleted_and_pushed_again_is_there_again,
}

/// A registry that takes pushes, and a proxy before it.
fn scene(store: Store) -> Outcome<(Registry, Proxy)> {
    let registry = Registry::fresh()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    Ok((registry, proxy))
}

/// The statuses of what leads to the image: by tag and by digest, each with HEAD and with GET.
fn statuses(proxy: &Proxy) -> Outcome<[u16; 4]> {
    let client = http::Client::new()?;
    let ask = |reference: &str| {
        let url = proxy.url(&format!("/v2/reg.test/team/app/manifests/{reference}"));
        let head = client.head(&url).header("accept", INDEX).ask()?;
        let get = client.get(&url).header("accept", INDEX).ask()?;
        Ok::<_, Failure>([head.status.as_u16(), get.status.as_u16()])
    };
    let ([a, b], [c, d]) = (ask("v1")?, ask(&seed()?.catalogue().sample.index)?);
    Ok([a, b, c, d])
}

fn what_skopeo_deletes_no_client_gets_again(store: Store) -> Outcome {
    let _turn = engine_turn();
    let (_registry, proxy) = scene(store)?;
    let (skopeo, sample) = (Skopeo::new()?, &seed()?.catalogue().sample);
    let image = format!("{}/reg.test/team/app:v1", proxy.address());
    skopeo.push(&seed()?.layout("sample"), &image, &[])?;
    for puller in Puller::ALL {
        let (platform, by) = (sample.amd64()?, By::Digest);
        puller.pull(proxy.address(), "reg.test/team/app", platform, by).context(puller)?;
    }
    equal("before", &statuses(&proxy)?, &[200; 4])?;
    skopeo.delete(&image)?;
    equal("after", &statuses(&proxy)?, &[404; 4])?;
    let said = skopeo.pull_refused(&image, &[])?;
    ensure(said.contains("manifest unknown"), said)?;
    // The manifest of one platform is deleted no less than the index.
    let name = format!("{}/reg.test/team/app@{}", proxy.address(), sample.amd64()?.manifest);
    skopeo.delete(&name)?;
    skopeo.pull_refused(&name, &[])?;
    equal("at last", &statuses(&proxy)?, &[404; 4])
}

fn what_is_deleted_and_pushed_again_is_there_again(store: Store) -> Outcome {
    let (_registry, proxy) = scene(store)?;
    let skopeo = Skopeo::new()?;
    let image = format!("{}/reg.test/team/app:v1", proxy.address());
    for _ in 0..3 {
        skopeo.push(&seed()?.layout("sample"), &image, &[])?;
        let copied = skopeo.pull(&image, &[])?.digests()?;
        equal("pushed", &copied, &seed()?.catalogue().sample.digests())?;
        skopeo.delete(&image)?;
        equal("deleted", &statuses(&proxy)?, &[404; 4])?;
    }
    Ok(())
}
