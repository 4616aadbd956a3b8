//! Images in one file: what the proxy writes and other tools read, and what they write and the proxy imports.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::client::{Containerd, Docker, Podman, Skopeo};
use registry_proxy_outer::digest::{self, Digests};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::wait_until;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Context, Outcome};
use tar::Archive;

use crate::stage::{engine_turn, seed};

const DEADLINE: Duration = Duration::from_mins(1);
const SAMPLE: &str = "reg.test/library/sample:v1";

fn proxy_on(folder: &Path, registry: SocketAddr, lines: &[&str]) -> Outcome<Proxy> {
    Setup::new().cache(folder, lines).upstream("reg.test", registry, &[]).start()
}

fn text(path: &Path) -> Outcome<&str> {
    path.to_str().context("a path without letters")
}

/// Exports images once all of them are kept.
fn export(proxy: &Proxy, images: &[&str], more: &[&str], bundle: &Path) -> Outcome {
    let words = [&["cache", "export", "--output", text(bundle)?][..], images, more].concat();
    wait_until("the images should be kept and exported", DEADLINE, || {
        Ok(proxy.command(&words)?.success().is_ok().then_some(()))
    })
}

/// The blobs of an archive, each of which must have the digest in its name.
fn blobs_of(bundle: &Path) -> Outcome<Digests> {
    let mut digests = Digests::new();
    for entry in Archive::new(File::open(bundle)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) else { continue };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let found = digest::of_bytes(&bytes);
        equal(&name, &digest::hex(&found), &hex)?;
        digests.insert(found);
    }
    Ok(digests)
}

/// What a proxy that asks no registry gives a client, after it has imported this.
fn imported(bundle: &Path, image: &str, more: &[&str]) -> Outcome<Digests> {
    let folder = tempfile::tempdir()?;
    let proxy = proxy_on(folder.path(), Registry::fresh()?.address(), &["offline = true"])?;
    proxy.command(&[&["cache", "import", text(bundle)?][..], more].concat())?.success()?;
    Skopeo::new()?.pull(&format!("{}/{image}", proxy.address()), &[])?.digests()
}

#[test]
fn a_bundle_is_taken_by_other_tools_and_by_an_offline_proxy() -> Outcome {
    let _turn = engine_turn();
    let sample = &seed()?.catalogue().sample;
    let (folder, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = Registry::seeded(seed()?)?;
    let proxy = proxy_on(&folder.path().join("cache"), registry.address(), &[])?;
    let skopeo = Skopeo::new()?;
    skopeo.pull(&format!("{}/{SAMPLE}", proxy.address()), &[])?;
    let bundle = folder.path().join("bundle.tar");
    export(&proxy, &[SAMPLE], &[], &bundle)?;
    equal("the bundle", &blobs_of(&bundle)?, &sample.digests())?;

    for source in [format!("oci-archive:{}", text(&bundle)?), format!("oci-archive:{}:{SAMPLE}", text(&bundle)?)] {
        equal(&source, &skopeo.copy_out(&source)?.digests()?, &sample.digests())?;
    }
    Podman::new("")?.load(&bundle, SAMPLE)?.expect(sample.amd64()?)?;
    let containerd = Containerd::start()?;
    let told = containerd.import(&bundle)?.success()?;
    ensure(told.contains(SAMPLE), told)?;
    let held = containerd.digests()?;
    let mut expected = sample.amd64()?.digests();
    expected.insert(sample.index.clone());
    ensure(expected.is_subset(&held), format_args!("{held:?}"))?;

    // One platform is enough for an engine.
    let one = folder.path().join("amd64.tar");
    export(&proxy, &[SAMPLE], &["--platform", "linux/amd64"], &one)?;
    equal("one platform", &blobs_of(&one)?, &expected)?;
    Podman::new("")?.load(&one, SAMPLE)?.expect(sample.amd64()?)?;
    Containerd::start()?.import(&one)?.success()?;

    equal("an offline proxy", &imported(&bundle, SAMPLE, &[])?, &sample.digests())?;
    let address = registry.address();
    drop(registry);
    let offline = proxy_on(there.path(), address, &["offline = true"])?;
    offline.command(&["cache", "import", text(&one)?])?.success()?;
    Docker::start(&[])?.pull(&format!("{}/{SAMPLE}", offline.address()))?.expect(sample.amd64()?)
}

#[test]
fn a_later_bundle_carries_only_what_is_new() -> Outcome {
    let catalogue = seed()?.catalogue();
    let folder = tempfile::tempdir()?;
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let proxy = proxy_on(&folder.path().join("cache"), registry.address(), &[])?;
    for name in ["sample", "secret"] {
        skopeo.push(&seed()?.layout(name), &format!("{}/team/app:{name}", registry.address()), &[])?;
        skopeo.pull(&format!("{}/reg.test/team/app:{name}", proxy.address()), &[])?;
    }
    let [old, new] = ["old.tar", "new.tar"].map(|name| folder.path().join(name));
    export(&proxy, &["reg.test/team/app:sample"], &[], &old)?;
    let both = ["reg.test/team/app:sample", "reg.test/team/app:secret"];
    export(&proxy, &both, &["--since", text(&old)?], &new)?;
    let (sample, secret) = (catalogue.sample.digests(), catalogue.secret.digests());
    equal("what is new", &blobs_of(&new)?, &secret.difference(&sample).cloned().collect())?;

    let there = tempfile::tempdir()?;
    let offline = proxy_on(there.path(), registry.address(), &["offline = true"])?;
    let refused = offline.command(&["cache", "import", text(&new)?])?.refusal()?;
    ensure(refused.contains("import the older one first"), refused)?;
    for bundle in [&old, &new] {
        offline.command(&["cache", "import", text(bundle)?])?.success()?;
    }
    for (name, expected) in [("sample", sample), ("secret", secret)] {
        let pulled = skopeo.pull(&format!("{}/reg.test/team/app:{name}", offline.address()), &[])?;
        equal(name, &pulled.digests()?, &expected)?;
    }
    Ok(())
}

#[test]
fn what_other_tools_write_is_imported() -> Outcome {
    let _turn = engine_turn();
    let sample = &seed()?.catalogue().sample;
    let folder = tempfile::tempdir()?;
    let registry = Registry::seeded(seed()?)?;
    let (skopeo, podman, containerd) = (Skopeo::new()?, Podman::new("")?, Containerd::start()?);
    let image = format!("{}/library/sample:v1", registry.address());
    let path = |name: &str| folder.path().join(name);

    skopeo.copy_to(&image, &format!("oci-archive:{}:{SAMPLE}", text(&path("skopeo.tar"))?))?;
    equal("skopeo's archive", &imported(&path("skopeo.tar"), SAMPLE, &[])?, &sample.digests())?;
    skopeo.copy_to(&image, &format!("oci:{}:v1", text(&path("layout"))?))?;
    let named = imported(&path("layout"), SAMPLE, &["--as", SAMPLE])?;
    equal("skopeo's directory", &named, &sample.digests())?;

    podman.pull(&image, &["--tls-verify=false"])?;
    podman.save(&image, "oci-archive", &path("podman.tar"))?;
    let podmans = imported(&path("podman.tar"), SAMPLE, &["--as", SAMPLE])?;
    equal("podman's archive", &podmans, &blobs_of(&path("podman.tar"))?)?;

    containerd.pull(&image, &["--plain-http"])?.success()?;
    containerd.tag(&image, SAMPLE)?;
    containerd.export(SAMPLE, &path("containerd.tar"))?;
    let folder = tempfile::tempdir()?;
    let proxy = proxy_on(folder.path(), Registry::fresh()?.address(), &["offline = true"])?;
    proxy.command(&["cache", "import", text(&path("containerd.tar"))?])?.success()?;
    let pulled = Podman::new("")?.pull(&format!("{}/{SAMPLE}", proxy.address()), &["--tls-verify=false"])?;
    pulled.expect(sample.amd64()?)?;

    // Docker before version 25, and podman where nobody asks for another format.
    podman.save(&image, "docker-archive", &path("old.tar"))?;
    let refused = proxy.command(&["cache", "import", text(&path("old.tar"))?])?.refusal()?;
    ensure(refused.contains("this is the older format of `docker save`"), refused)
}
