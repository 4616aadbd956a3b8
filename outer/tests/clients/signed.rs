//! A policy in front of a registry with images that are signed as cosign signs them, and skopeo in front of the policy. skopeo does not
//! sign here: Debian builds it without.

use std::path::Path;

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::image::layout::INDEX;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::signer_key::SignerKey;

use crate::stage::seed;

fn proxy_on(folder: &Path, registry: &Registry, key: &SignerKey, mode: &str, cache: &[&str]) -> Outcome<Proxy> {
    let policy = format!(
        "[[policy]]\nmatch = \"reg.test/team/**\"\nrequire = {{ key_file = \"{}\" }}\nmode = \"{mode}\"",
        key.public().display()
    );
    Setup::new().cache(folder, cache).config(policy).upstream("reg.test", registry.address(), &[]).start()
}

/// Status and `X-Registry-Proxy` of a tag, as a HEAD says them.
fn head(proxy: &Proxy, tag: &str) -> Outcome<(u16, String)> {
    let url = proxy.url(&format!("/v2/reg.test/team/app/manifests/{tag}"));
    let answer = http::Client::new()?.head(url).header("accept", INDEX).ask()?;
    Ok((answer.status.as_u16(), answer.header("x-registry-proxy").to_owned()))
}

#[test]
fn what_the_key_has_signed_is_pulled_and_nothing_else() -> Outcome {
    let (key, other_key) = (SignerKey::new()?, SignerKey::new()?);
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let images = seed()?.catalogue();
    let there = |tag: &str| format!("{}/team/app:{tag}", registry.address());
    for (layout, tag) in [("sample", "signed"), ("large", "stranger"), ("secret", "unsigned")] {
        skopeo.push(&seed()?.layout(layout), &there(tag), &[])?;
    }
    // The index only, as `cosign sign` does: it answers for its images.
    key.sign(registry.address(), "team/app", &images.sample.index)?;
    other_key.sign(registry.address(), "team/app", &images.large.index)?;

    let folder = tempfile::tempdir()?;
    let proxy = proxy_on(folder.path(), &registry, &key, "enforce", &[])?;
    let here = |proxy: &Proxy, reference: &str| format!("{}/reg.test/team/app{reference}", proxy.address());
    let pulled = skopeo.pull(&here(&proxy, ":signed"), &[])?;
    equal("all of the signed image", &pulled.digests()?, &images.sample.digests())?;
    let child = format!("@{}", images.sample.amd64()?.manifest);
    skopeo.pull(&here(&proxy, &child), &[])?;
    // Signatures are pulled through the proxy, too.
    let tag = format!(":{}.sig", images.sample.index.replace(':', "-"));
    ensure(
        skopeo.raw_manifest(&here(&proxy, &tag))?.contains("dev.cosignproject.cosign/signature"),
        "no signature",
    )?;

    for (reference, found) in [
        (":unsigned".to_owned(), "it has no signature"),
        (format!("@{}", images.secret.index), "it has no signature"),
        (format!("@{}", images.secret.amd64()?.manifest), "it has no signature"),
        (":stranger".to_owned(), "its signature is by another key, or was changed"),
        (format!("@{}", images.large.index), "its signature is by another key, or was changed"),
    ] {
        let refused = skopeo.pull_refused(&here(&proxy, &reference), &[])?;
        ensure(refused.contains("wants a signature by the key cosign.pub"), &refused)?;
        ensure(refused.contains(found), format!("{reference}: {refused}"))?;
    }
    equal("signed", &head(&proxy, "signed")?.0, &200)?;
    equal("unsigned", &head(&proxy, "unsigned")?, &(403, "refused; why=\"not signed\"".to_owned()))?;
    equal("stranger", &head(&proxy, "stranger")?, &(403, "refused; why=\"no valid signature\"".to_owned()))?;
    drop(proxy);

    // Without the registry, by what is cached.
    let offline = proxy_on(folder.path(), &registry, &key, "enforce", &["offline = true"])?;
    let pulled = skopeo.pull(&here(&offline, ":signed"), &[])?;
    equal("all of it offline", &pulled.digests()?, &images.sample.digests())?;
    equal("unsigned offline", &head(&offline, "unsigned")?.0, &403)?;
    drop(offline);

    let warning = proxy_on(folder.path(), &registry, &key, "warn", &[])?;
    let pulled = skopeo.pull(&here(&warning, ":unsigned"), &[])?;
    equal("where the mode is warn", &pulled.digests()?, &images.secret.digests())?;
    let log = warning.service.log();
    ensure(log.contains("policy is not met; served, as its mode is warn"), log)
}

#[test]
fn a_key_that_is_none_is_refused_with_a_sentence() -> Outcome {
    let key = SignerKey::new()?;
    for (file, expected) in [("cosign.key", "expected a public key in PEM"), ("missing.pub", "cannot read")] {
        let path = key.folder().join(file);
        let policy = format!("[[policy]]\nmatch = \"**\"\nrequire = {{ key_file = \"{}\" }}", path.display());
        let refused = Setup::new().config(policy).run()?.refusal()?;
        ensure(refused.contains("policy[0].require.key_file") && refused.contains(expected), refused)?;
    }
    Ok(())
}
