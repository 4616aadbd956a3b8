//! Pushes: passed on where that is allowed, refused where it is not.

use registry_proxy_outer::client::{Containerd, Docker, Podman, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::image::Platform;
use registry_proxy_outer::proxy::{Proxy, Setup, Store};
use registry_proxy_outer::registry::{Access, Registry, Storage, TokenServer};
use registry_proxy_outer::{Context, Outcome, digest};

use crate::stage::{
    ALICE, ALICE_PAIR, BOB, BOB_PAIR, DAVE, DAVE_PAIR, engine_turn, realms, seed, with_every_store,
};

with_every_store! {
    skopeo_pushes_a_large_image_through_an_open_proxy,
    skopeo_pushes_the_same_blobs_to_a_second_repository,
    skopeo_pushes_as_a_user_of_the_proxy,
    skopeo_pushes_with_the_rights_of_its_account_at_the_upstream,
    docker_pushes_what_it_pulled,
    podman_pushes_what_it_pulled,
    ctr_pushes_what_it_pulled,
    a_tag_that_is_pushed_again_leads_to_the_new_image_at_once,
    pushes_are_refused_where_they_are_not_allowed,
}

/// Images to pull, and a registry that takes pushes, behind one proxy.
struct Scene {
    proxy: Proxy,
    fresh: Registry,
    _seeded: Registry,
}

impl Scene {
    fn start(setup: Setup) -> Outcome<Self> {
        let (seeded, fresh) = (Registry::seeded(seed()?)?, Registry::fresh()?);
        let proxy = setup
            .upstream("reg.test", seeded.address(), &[])
            .upstream("store.test", fresh.address(), &["push = true"])
            .start()?;
        Ok(Self { proxy, fresh, _seeded: seeded })
    }

    /// Where it is pulled from, and where it is pushed to.
    fn names(&self) -> (String, String) {
        let host = self.proxy.address();
        (format!("{host}/reg.test/library/sample:v1"), format!("{host}/store.test/team/app:v1"))
    }

    /// What was pushed is at the registry, and what it has comes back through the proxy, the first time and the second.
    /// Tells the manifest's digest.
    fn holds(&self, platform: &Platform) -> Outcome<String> {
        let skopeo = Skopeo::new()?;
        let direct = format!("{}/team/app:v1", self.fresh.address());
        let manifest = skopeo.raw_manifest(&direct)?;
        let document: serde_json::Value = serde_json::from_str(&manifest)?;
        let config = document["config"]["digest"].as_str().context("no config")?;
        equal("config", &config, &platform.config.as_str())?;
        let there = skopeo.pull(&direct, &[])?.digests()?;
        let (_, image) = self.names();
        for time in ["the first time", "the second time"] {
            let here = skopeo.pull(&image, &["--src-creds", DAVE_PAIR])?.digests()?;
            equal(time, &here, &there)?;
        }
        Ok(digest::of_bytes(manifest.as_bytes()))
    }
}

fn skopeo_pushes_a_large_image_through_an_open_proxy(store: Store) -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/team/large:v1", proxy.address());
    skopeo.push(&seed.layout("large"), &target, &[])?;
    for image in [format!("{}/team/large:v1", registry.address()), target] {
        equal(&image, &skopeo.pull(&image, &[])?.digests()?, &seed.catalogue().large.digests())?;
    }
    Ok(())
}

fn skopeo_pushes_the_same_blobs_to_a_second_repository(store: Store) -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let skopeo = Skopeo::new()?;
    for repository in ["team/one", "team/two"] {
        let target = format!("{}/reg.test/{repository}:v1", proxy.address());
        skopeo.push(&seed.layout("sample"), &target, &[])?;
        let copied = skopeo.pull(&format!("{}/{repository}:v1", registry.address()), &[])?;
        equal(repository, &copied.digests()?, &seed.catalogue().sample.digests())?;
    }
    Ok(())
}

fn skopeo_pushes_as_a_user_of_the_proxy(store: Store) -> Outcome {
    let seed = seed()?;
    let registry = Registry::fresh()?;
    let proxy = Setup::new()
        .keeping(store)
        .users(&[DAVE])
        .upstream("reg.test", registry.address(), &["push = true"])
        .start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/team/app:v1", proxy.address());
    let source = seed.layout("sample");
    skopeo.try_push(&source, &target, &[])?.refusal()?;
    skopeo.try_push(&source, &target, &["--dest-creds", "dave:wrong"])?.refusal()?;
    skopeo.push(&source, &target, &["--dest-creds", DAVE_PAIR])?;
    let copied = skopeo.pull(&format!("{}/team/app:v1", registry.address()), &[])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

fn skopeo_pushes_with_the_rights_of_its_account_at_the_upstream(store: Store) -> Outcome {
    let seed = seed()?;
    let tokens = TokenServer::start(&[ALICE, BOB])?;
    let registry = Registry::start(&Storage::Fresh, &Access::Token(&tokens))?;
    let proxy = Setup::new()
        .keeping(store)
        .upstream_accounts()
        .upstream("reg.test", registry.address(), &["push = true", &realms(&tokens)])
        .start()?;
    let skopeo = Skopeo::new()?;
    let target = format!("{}/reg.test/private/new:v1", proxy.address());
    let source = seed.layout("sample");
    skopeo.try_push(&source, &target, &["--dest-creds", BOB_PAIR])?.refusal()?;
    skopeo.push(&source, &target, &["--dest-creds", ALICE_PAIR])?;
    let direct = format!("{}/private/new:v1", registry.address());
    let copied = skopeo.pull(&direct, &["--src-creds", ALICE_PAIR])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

fn docker_pushes_what_it_pulled(store: Store) -> Outcome {
    let _turn = engine_turn();
    let scene = Scene::start(Setup::new().keeping(store).users(&[DAVE]))?;
    let (from, to) = scene.names();
    let docker = Docker::start(&[])?;
    docker.login(&scene.proxy.address().to_string(), DAVE.0, DAVE.1)?.success()?;
    let platform = seed()?.catalogue().sample.amd64()?;
    docker.pull(&from)?.expect(platform)?;
    docker.run(&["tag", &from, &to])?.success()?;
    let said = docker.run(&["push", &to])?.success()?;
    let pushed = scene.holds(platform)?;
    ensure(said.contains(&pushed), format_args!("docker said {said}, not {pushed}"))
}

fn podman_pushes_what_it_pulled(store: Store) -> Outcome {
    let scene = Scene::start(Setup::new().keeping(store).users(&[DAVE]))?;
    let (from, to) = scene.names();
    let podman = Podman::new("")?;
    podman.login(&scene.proxy.address().to_string(), DAVE.0, DAVE.1)?.success()?;
    let platform = seed()?.catalogue().sample.amd64()?;
    podman.pull(&from, &["--tls-verify=false"])?.expect(platform)?;
    podman.push(&from, &to)?;
    scene.holds(platform)?;
    Ok(())
}

fn ctr_pushes_what_it_pulled(store: Store) -> Outcome {
    let _turn = engine_turn();
    let scene = Scene::start(Setup::new().keeping(store).users(&[DAVE]))?;
    let (from, to) = scene.names();
    let containerd = Containerd::start()?;
    containerd.pull(&from, &["--plain-http", "--user", DAVE_PAIR])?.success()?;
    containerd.push(&from, &to, &["--user", DAVE_PAIR])?;
    let platform = seed()?.catalogue().sample.amd64()?;
    let pushed = scene.holds(platform)?;
    equal("manifest", &pushed, &platform.manifest)
}

fn a_tag_that_is_pushed_again_leads_to_the_new_image_at_once(store: Store) -> Outcome {
    let registry = Registry::fresh()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    let (skopeo, catalogue) = (Skopeo::new()?, seed()?.catalogue());
    let image = format!("{}/reg.test/team/app:v1", proxy.address());
    for (name, made) in
        [("sample", &catalogue.sample), ("secret", &catalogue.secret), ("sample", &catalogue.sample)]
    {
        skopeo.push(&seed()?.layout(name), &image, &[])?;
        equal(name, &skopeo.pull(&image, &[])?.digests()?, &made.digests())?;
    }
    Ok(())
}

fn pushes_are_refused_where_they_are_not_allowed(store: Store) -> Outcome {
    let registry = Registry::fresh()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &[]).start()?;
    let target = format!("{}/reg.test/team/app:v1", proxy.address());
    Skopeo::new()?.try_push(&seed()?.layout("sample"), &target, &[])?.refusal()?;
    let client = http::Client::new()?;
    let uploads = proxy.url("/v2/reg.test/team/app/blobs/uploads/");
    client.post(uploads).ask()?.expect_status(405)?;
    let manifest = proxy.url("/v2/reg.test/team/app/manifests/v1");
    client.put(manifest).body("{}").ask()?.expect_status(405)?;
    ensure(!registry.log().contains("PUT"), "something was put upstream")
}
