//! What is kept: the registry is stopped, the proxy started anew on the same folder, and clients pull as before.

use std::path::Path;
use std::time::{Duration, Instant};

use registry_proxy_outer::client::{Containerd, Docker, Podman, Skopeo};
use registry_proxy_outer::digest::{Digests, hex};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::Image;
use registry_proxy_outer::image::layout::INDEX;
use registry_proxy_outer::process::{Signal, wait_until};
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Outcome, digest, http};

use crate::accounts::Scene;
use crate::stage::{ALICE, ALICE_PAIR, BOB, engine_turn, seed};

const DEADLINE: Duration = Duration::from_mins(1);

/// An upstream over plain HTTP, and a folder.
fn proxy_on(folder: &Path, registry: &Registry, lines: &[&str]) -> Outcome<Proxy> {
    Setup::new().cache(folder, lines).upstream("reg.test", registry.address(), &["default = true"]).start()
}

/// Waits until all of these lie in the folder, whole.
fn wait_until_kept(folder: &Path, digests: &Digests) -> Outcome {
    wait_until("what was pulled should be kept", DEADLINE, || {
        let is_kept = |digest: &String| {
            let hex = hex(digest);
            let place = |kind: &str| folder.join(format!("v1/{kind}/sha256/{}/{hex}", &hex[..2]));
            place("blobs").is_file() || place("manifests").is_file()
        };
        Ok(digests.iter().all(is_kept).then_some(()))
    })
}

/// Pulls twice: while there is a registry, and from another process when there is none.
fn outlives_the_registry(digests: &Digests, pull: impl Fn(&Proxy) -> Outcome) -> Outcome {
    let folder = tempfile::tempdir()?;
    let registry = Registry::seeded(seed()?)?;
    let mut proxy = proxy_on(folder.path(), &registry, &[])?;
    pull(&proxy)?;
    wait_until_kept(folder.path(), digests)?;
    proxy.service.signal(Signal::Terminate)?;
    equal("exit status", &proxy.service.wait(DEADLINE)?.code(), &Some(0))?;
    drop(proxy);
    // A tag that is due is confirmed by nobody now.
    let address = registry.address();
    drop(registry);
    for ttl in ["tag_ttl = \"1h\"", "tag_ttl = \"0s\""] {
        let proxy = Setup::new()
            .cache(folder.path(), &[ttl])
            .upstream("reg.test", address, &["default = true"])
            .start()?;
        pull(&proxy)?;
    }
    Ok(())
}

/// What an engine takes of an image.
fn one_platform(image: &Image) -> Outcome<Digests> {
    let mut digests = image.amd64()?.digests();
    digests.insert(image.index.clone());
    Ok(digests)
}

/// An image by its tag and by its digest, at the proxy.
fn names(proxy: &Proxy, repository: &str, image: &Image) -> [String; 2] {
    let name = format!("{}/reg.test/{repository}", proxy.address());
    [format!("{name}:v1"), format!("{name}@{}", image.index)]
}

#[test]
fn skopeo_pulls_from_the_cache() -> Outcome {
    let large = &seed()?.catalogue().large;
    let registry = Registry::seeded(seed()?)?;
    let direct = Skopeo::new()?.pull(&format!("{}/library/large:v1", registry.address()), &[])?.digests()?;
    equal("a direct pull", &direct, &large.digests())?;
    outlives_the_registry(&direct, |proxy| {
        for name in names(proxy, "library/large", large) {
            equal(&name, &Skopeo::new()?.pull(&name, &[])?.digests()?, &direct)?;
        }
        Ok(())
    })
}

#[test]
fn podman_pulls_from_the_cache() -> Outcome {
    let sample = &seed()?.catalogue().sample;
    outlives_the_registry(&one_platform(sample)?, |proxy| {
        for name in names(proxy, "library/sample", sample) {
            Podman::new("")?.pull(&name, &["--tls-verify=false"])?.expect(sample.amd64()?)?;
        }
        Ok(())
    })
}

#[test]
fn containerd_pulls_from_the_cache() -> Outcome {
    let _turn = engine_turn();
    let sample = &seed()?.catalogue().sample;
    let expected = one_platform(sample)?;
    outlives_the_registry(&expected, |proxy| {
        for name in names(proxy, "library/sample", sample) {
            let containerd = Containerd::start()?;
            containerd.pull(&name, &["--plain-http"])?.success()?;
            equal(&name, &containerd.digests()?, &expected)?;
        }
        Ok(())
    })
}

#[test]
fn docker_pulls_from_the_cache() -> Outcome {
    let _turn = engine_turn();
    let sample = &seed()?.catalogue().sample;
    outlives_the_registry(&one_platform(sample)?, |proxy| {
        for name in names(proxy, "library/sample", sample) {
            Docker::start(&[])?.pull(&name)?.expect(sample.amd64()?)?;
        }
        Ok(())
    })
}

/// Puts the manifest that one tag leads to under another, at the registry itself.
fn tag(client: &http::Client, registry: &Registry, from: &str, to: &str) -> Outcome {
    let url = |tag: &str| format!("http://{}/v2/library/app/manifests/{tag}", registry.address());
    let found = client.get(url(from)).header("accept", INDEX).ask()?.expect_status(200)?;
    client.put(url(to)).header("content-type", INDEX).body(found.body).ask()?.expect_status(201)?;
    Ok(())
}

#[test]
fn a_changed_tag_is_seen_after_its_time_and_not_before() -> Outcome {
    /// Half of it is far more than the questions below take, and a second is what times are counted in.
    const TTL: Duration = Duration::from_secs(4);
    const COUNTED_IN: Duration = Duration::from_secs(1);
    let seed = seed()?;
    let (old, new) = (&seed.catalogue().sample, &seed.catalogue().secret);
    let (folder, registry, client) = (tempfile::tempdir()?, Registry::fresh()?, http::Client::new()?);
    for name in ["sample", "secret"] {
        let image = format!("{}/library/app:{name}", registry.address());
        Skopeo::new()?.push(&seed.layout(name), &image, &[])?;
    }
    tag(&client, &registry, "sample", "v1")?;
    let proxy = proxy_on(folder.path(), &registry, &["tag_ttl = \"4s\""])?;
    let url = proxy.url("/v2/reg.test/library/app/manifests/v1");
    let led_to = || -> Outcome<String> {
        Ok(digest::of_bytes(&client.get(&url).header("accept", INDEX).ask()?.expect_status(200)?.body))
    };
    let asked = Instant::now();
    equal("at first", &led_to()?, &old.index)?;
    let answered = Instant::now();
    tag(&client, &registry, "secret", "v1")?;
    equal("behind the change", &led_to()?, &old.index)?;
    ensure(asked.elapsed() < TTL / 2, "this machine is too slow to tell")?;
    wait_until("the change should be seen", TTL + DEADLINE, || Ok((led_to()? == new.index).then_some(())))?;
    ensure(
        answered.elapsed() + COUNTED_IN > TTL,
        format_args!("seen after {:?}, before its time", answered.elapsed()),
    )?;
    ensure(
        asked.elapsed() < TTL + COUNTED_IN * 2,
        format_args!("seen after {:?}, long behind its time", asked.elapsed()),
    )?;
    let image = format!("{}/reg.test/library/app:v1", proxy.address());
    equal("the new image", &Skopeo::new()?.pull(&image, &[])?.digests()?, &new.digests())
}

#[test]
fn what_is_cached_is_for_those_whom_the_registry_gives_access() -> Outcome {
    let folder = tempfile::tempdir()?;
    let scene = Scene::new(Setup::new().upstream_accounts().cache(folder.path(), &[]), &[])?;
    let secret = &seed()?.catalogue().secret;
    let copied = Skopeo::new()?.pull(&scene.image("private/app"), &["--src-creds", ALICE_PAIR])?;
    equal("private", &copied.digests()?, &secret.digests())?;
    wait_until_kept(folder.path(), &secret.digests())?;
    let alice = Some((ALICE.user, ALICE.password));
    let strangers = [None, Some((BOB.user, BOB.password)), Some((ALICE.user, "wrong"))];
    let platform = secret.amd64()?;
    let mut paths = vec![
        "manifests/v1".to_owned(),
        format!("manifests/{}", secret.index),
        format!("manifests/{}", platform.manifest),
        format!("blobs/{}", platform.config),
    ];
    paths.extend(platform.layers.iter().map(|layer| format!("blobs/{layer}")));
    for path in paths {
        // First she, so that what is remembered of her is there for the others to find.
        equal(&path, &scene.status("private/app", &path, alice)?, &200)?;
        for stranger in strangers {
            // The tag of another repository leads to what everybody may read; digests do not.
            let others = ["public/app", "library/sample"].into_iter().filter(|_| !path.ends_with("/v1"));
            for repository in ["private/app"].into_iter().chain(others) {
                // Every image has the same empty layer.
                if repository != "private/app" && is_public(&path)? {
                    continue;
                }
                let status = scene.status(repository, &path, stranger)?;
                ensure(
                    matches!(status, 401 | 403 | 404),
                    format_args!("{stranger:?} gets {status} for {repository}/{path}"),
                )?;
            }
        }
        // And what the others were refused is hers still.
        equal(&path, &scene.status("private/app", &path, alice)?, &200)?;
    }
    Ok(())
}

fn is_public(path: &str) -> Outcome<bool> {
    let public = seed()?.catalogue().sample.digests();
    Ok(path.rsplit('/').next().is_some_and(|digest| public.contains(digest)))
}
