//! IPv6: clients that come by it, and an upstream whose name has no other address.

use std::net::{IpAddr, Ipv6Addr};

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::digest::of_bytes;
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::http;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::{Access, Registry, Storage};
use registry_proxy_outer::{Context, Outcome};

use crate::stage::{DAVE, seed};

const LOCALHOST: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// skopeo 1.9 takes no address in brackets: what it would ask for, a client of ours does.
#[test]
fn clients_log_in_and_pull_by_ipv6() -> Outcome {
    let registry = Registry::seeded(seed()?)?;
    let proxy =
        Setup::new().listens_on(LOCALHOST).users(&[DAVE]).upstream("reg.test", registry.address(), &[]).start()?;
    equal("address", &proxy.address().ip(), &LOCALHOST)?;
    let client = http::Client::new()?;
    let sample = &seed()?.catalogue().sample;
    let refused = client.get(proxy.url("/v2/")).ask()?.expect_status(401)?;
    // What it names is where the client came from, brackets included.
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"{}\"", proxy.address(), proxy.address());
    equal("challenge", &refused.header("www-authenticate"), &realm.as_str())?;
    let scope = proxy.url("/token?scope=repository:reg.test/library/sample:pull");
    let answer = client.get(scope).basic(DAVE.0, DAVE.1).ask()?.expect_status(200)?;
    let token = answer.json()?["token"].as_str().context("no token")?.to_owned();
    let ask = |path: &str| {
        let url = proxy.url(&format!("/v2/reg.test/library/sample/{path}"));
        client.get(url).bearer(&token).header("accept", MANIFESTS).ask()?.expect_status(200)
    };
    let platform = sample.amd64()?;
    let index = ask("manifests/v1")?;
    equal("index", &of_bytes(&index.body), &sample.index)?;
    for (kind, digest) in
        [("manifests", &platform.manifest), ("blobs", &platform.config), ("blobs", &platform.layers[0])]
    {
        let answer = ask(&format!("{kind}/{digest}"))?;
        equal(kind, &of_bytes(&answer.body), digest)?;
    }
    Ok(())
}

#[test]
fn an_upstream_that_has_an_ipv6_address_only_is_reached() -> Outcome {
    let registry = Registry::start_on(LOCALHOST, &Storage::Seeded(seed()?), &Access::Open)?;
    let url = format!("http://only-v6.test:{}", registry.address().port());
    let proxy = Setup::new()
        .hosts("127.0.0.1 localhost\n::1 only-v6.test")
        .config(format!("[[upstream]]\nname = \"reg.test\"\nurls = [\"{url}\"]\ninsecure = true"))
        .start()?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    let copied = Skopeo::new()?.pull(&image, &[])?;
    equal("sample", &copied.digests()?, &seed()?.catalogue().sample.digests())
}
