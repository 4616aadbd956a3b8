//! skopeo: every platform, byte for byte, by every way of naming an upstream that it has.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::digest;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::proxy::{Setup, free_port};
use registry_proxy_outer::registry::Registry;

use crate::stage::{proxy_to, seed};

#[test]
fn a_large_image_of_two_platforms_arrives_whole_through_a_path_prefix() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let image = format!("{}/reg.test/library/large:v1", proxy.address());
    let copied = Skopeo::new()?.pull(&image, &[])?;
    equal("index", &copied.manifest()?, &seed.catalogue().large.index)?;
    equal("large", &copied.digests()?, &seed.catalogue().large.digests())
}

#[test]
fn an_image_arrives_whole_by_its_digest() -> Outcome {
    let seed = seed()?;
    let sample = &seed.catalogue().sample;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    for repository in ["reg.test/library/sample", "library/sample"] {
        let image = format!("{}/{repository}@{}", proxy.address(), sample.index);
        let copied = Skopeo::new()?.pull(&image, &[])?;
        equal("sample", &copied.digests()?, &sample.digests())?;
    }
    Ok(())
}

#[test]
fn a_name_without_a_registry_means_the_default_upstream() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    for repository in ["library/sample", "team/app"] {
        let image = format!("{}/{repository}:v1", proxy.address());
        let copied = Skopeo::new()?.pull(&image, &[])?;
        equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())?;
    }
    Ok(())
}

#[test]
fn a_virtual_host_means_its_upstream() -> Outcome {
    let seed = seed()?;
    let (empty, seeded) = (Registry::fresh()?, Registry::seeded(seed)?);
    let port = free_port()?;
    let proxy = Setup::new()
        .port(port)
        .upstream("empty.test", empty.address(), &["default = true"])
        .upstream("seeded.test", seeded.address(), &[&format!("hosts = [\"localhost:{port}\"]")])
        .start()?;
    let skopeo = Skopeo::new()?;
    let copied = skopeo.pull(&format!("localhost:{port}/library/sample:v1"), &[])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())?;
    skopeo.pull_refused(&format!("{}/library/sample:v1", proxy.address()), &[])?;
    Ok(())
}

#[test]
fn the_tags_are_those_of_the_registry() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let skopeo = Skopeo::new()?;
    let mut direct = skopeo.tags(&format!("{}/library/sample", registry.address()))?;
    let mut proxied = skopeo.tags(&format!("{}/reg.test/library/sample", proxy.address()))?;
    direct.sort();
    proxied.sort();
    ensure(direct.len() == 3, format_args!("the registry has {direct:?}"))?;
    equal("tags", &proxied, &direct)
}

#[test]
fn an_artifact_and_the_tag_that_lists_it_arrive_unchanged() -> Outcome {
    let seed = seed()?;
    let artifact = &seed.catalogue().artifact;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    let skopeo = Skopeo::new()?;
    let repository = format!("{}/reg.test/library/sample", proxy.address());
    let index = skopeo.raw_manifest(&format!("{repository}:{}", artifact.fallback_tag))?;
    equal("the list", &digest::of_bytes(index.as_bytes()), &artifact.fallback_index)?;
    let copied = skopeo.pull(&format!("{repository}@{}", artifact.manifest), &[])?;
    equal("the artifact", &copied.digests()?, &artifact.digests())
}

#[test]
fn repositories_outside_the_rules_are_refused() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let rules = "repositories = { allow = [\"library/*\", \"team/**\"], deny = [\"library/large\"] }";
    let proxy = Setup::new().upstream("reg.test", registry.address(), &[rules]).start()?;
    let skopeo = Skopeo::new()?;
    let image = |name: &str| format!("{}/reg.test/{name}:v1", proxy.address());
    skopeo.pull(&image("library/sample"), &[])?;
    skopeo.pull(&image("team/app"), &[])?;
    skopeo.pull_refused(&image("library/large"), &[])?;
    skopeo.pull_refused(&image("public/app"), &[])?;
    Ok(())
}
