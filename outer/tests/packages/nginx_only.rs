//! deploy/nginx/nginx-only.conf: nginx alone before a registry, as the page about it says, without the product.

use std::path::Path;

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::front::{Alone, Running};
use registry_proxy_outer::proxy::free_port;
use registry_proxy_outer::registry::{Access, Account, Registry, Seed, Storage, StorageFront, TokenServer};

const ALICE: Account =
    Account { user: "alice", password: "wonder-land", repositories: &["private/"], may_push: false };

/// A registry with a token server and a storage elsewhere, and nginx before it.
struct Scene {
    seed: Seed,
    tokens: TokenServer,
    _registries: [Registry; 2],
    storage: StorageFront,
    nginx: Running,
}

impl Scene {
    /// nginx may fetch from `allowed`, or from the storage.
    fn start(allowed: Option<&str>) -> Outcome<Self> {
        let seed = Seed::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        let tokens = TokenServer::start(&[ALICE])?;
        let registry = Registry::start(&Storage::Seeded(&seed), &Access::Token(&tokens))?;
        let objects = Registry::seeded(&seed)?;
        let storage = StorageFront::with_logins(&registry, &objects)?;
        let there = format!("http://{}", storage.storage_address());
        let alone = Alone {
            registry: format!("http://{}", storage.address()),
            realm: tokens.realm(),
            storage: allowed.unwrap_or(&there),
        };
        let nginx = alone.start(free_port()?)?;
        Ok(Self { seed, tokens, _registries: [registry, objects], storage, nginx })
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}:v1", self.nginx.address())
    }
}

#[test]
fn images_come_through_nginx_alone_from_a_storage_elsewhere() -> Outcome {
    let scene = Scene::start(None)?;
    let skopeo = Skopeo::new()?;
    let catalogue = scene.seed.catalogue();
    equal("sample", &skopeo.pull(&scene.image("library/sample"), &[])?.digests()?, &catalogue.sample.digests())?;
    ensure(scene.storage.served() > 0, "no blob came from the storage")?;
    equal("refused by the storage", &scene.storage.refused(), &0)?;
    // A login passes, and what it is for.
    let refused = skopeo.pull_refused(&scene.image("private/app"), &[])?;
    ensure(refused.contains("unauthorized") || refused.contains("denied"), refused)?;
    skopeo.login(scene.nginx.address(), ALICE.user, ALICE.password)?.success()?;
    equal("secret", &skopeo.pull(&scene.image("private/app"), &[])?.digests()?, &catalogue.secret.digests())?;
    equal("refused by the storage", &scene.storage.refused(), &0)?;
    ensure(scene.tokens.asked().iter().any(|who| who == ALICE.user), "the token server was not asked by alice")
}

#[test]
fn nginx_alone_follows_no_redirect_off_its_list() -> Outcome {
    let scene = Scene::start(Some("https://storage.example.com"))?;
    let refused = Skopeo::new()?.pull_refused(&scene.image("library/sample"), &[])?;
    ensure(refused.contains("502"), refused)?;
    equal("asked of the storage", &(scene.storage.served() + scene.storage.refused()), &0)
}

#[test]
fn nginx_alone_takes_no_pushes() -> Outcome {
    let scene = Scene::start(None)?;
    let pushed = Skopeo::new()?.try_push(&scene.seed.layout("sample"), &scene.image("library/new"), &[])?;
    ensure(pushed.refusal()?.contains("403"), "it does not say 403")
}
