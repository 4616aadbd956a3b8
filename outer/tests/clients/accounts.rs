//! Who may read what: registries that want a login, behind a proxy that has one, or passes one on.

use registry_proxy_outer::client::{Podman, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::{Access, Registry, Storage, TokenServer};
use registry_proxy_outer::{Context, Outcome};

use crate::stage::{ALICE, ALICE_PAIR, BOB, BOB_PAIR, DAVE, DAVE_PAIR, realms, seed};

/// A token registry and a proxy in front.
pub(crate) struct Scene {
    tokens: TokenServer,
    _registry: Registry,
    proxy: Proxy,
}

impl Scene {
    pub(crate) fn new(setup: Setup, lines: &[&str]) -> Outcome<Self> {
        let tokens = TokenServer::start(&[ALICE, BOB])?;
        let registry = Registry::start(&Storage::Seeded(seed()?), &Access::Token(&tokens))?;
        let realms = realms(&tokens);
        let lines = [&["default = true", realms.as_str()], lines].concat();
        let proxy = setup.upstream("reg.test", registry.address(), &lines).start()?;
        Ok(Self { tokens, _registry: registry, proxy })
    }

    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/reg.test/{name}:v1", self.proxy.address())
    }

    /// A token of the proxy's for pulling from `repository`, or none if it gives none.
    fn token(&self, repository: &str, user: Option<(&str, &str)>) -> Outcome<Option<String>> {
        let client = http::Client::new()?;
        let challenge = client.get(self.proxy.url("/v2/")).ask()?;
        let service = parameter(challenge.header("www-authenticate"), "service");
        let scope = format!("repository:reg.test/{repository}:pull");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("service", &service)
            .append_pair("scope", &scope)
            .finish();
        let mut question = client.get(self.proxy.url(&format!("/token?{query}")));
        if let Some((user, password)) = user {
            question = question.basic(user, password);
        }
        let answer = question.ask()?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        Ok(answer.json()?["token"].as_str().map(str::to_owned))
    }

    /// The status of a request for `repository`, with the token that `user` gets for it.
    pub(crate) fn status(&self, repository: &str, rest: &str, user: Option<(&str, &str)>) -> Outcome<u16> {
        let client = http::Client::new()?;
        let url = self.proxy.url(&format!("/v2/reg.test/{repository}/{rest}"));
        let mut question = client.get(url).header("accept", "*/*");
        if let Some(token) = self.token(repository, user)? {
            question = question.bearer(&token);
        }
        Ok(question.ask()?.status.as_u16())
    }
}

fn parameter(challenge: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let rest = challenge.split_once(&start).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

#[test]
fn a_public_repository_needs_no_account() -> Outcome {
    let scene = Scene::new(Setup::new(), &[])?;
    let copied = Skopeo::new()?.pull(&scene.image("public/app"), &[])?;
    equal("public", &copied.digests()?, &seed()?.catalogue().sample.digests())?;
    Skopeo::new()?.pull_refused(&scene.image("private/app"), &[])?;
    ensure(scene.tokens.asked().iter().all(|who| who == "-"), format_args!("asked as {:?}", scene.tokens.asked()))
}

#[test]
fn an_open_proxy_pulls_with_its_own_account() -> Outcome {
    let lines = ["username = \"alice\"", "password = \"wonder:land\""];
    let scene = Scene::new(Setup::new(), &lines)?;
    let copied = Skopeo::new()?.pull(&scene.image("private/app"), &[])?;
    equal("private", &copied.digests()?, &seed()?.catalogue().secret.digests())?;
    ensure(scene.tokens.asked().contains(&"alice".to_owned()), "alice never asked")
}

#[test]
fn users_of_the_proxy_pull_with_its_account() -> Outcome {
    let lines = ["username = \"alice\"", "password = \"wonder:land\""];
    let scene = Scene::new(Setup::new().users(&[DAVE]), &lines)?;
    let image = scene.image("private/app");
    Skopeo::new()?.pull_refused(&image, &[])?;
    Skopeo::new()?.pull_refused(&image, &["--src-creds", "dave:wrong"])?;
    Skopeo::new()?.pull_refused(&image, &["--src-creds", ALICE_PAIR])?;
    let copied = Skopeo::new()?.pull(&image, &["--src-creds", DAVE_PAIR])?;
    equal("private", &copied.digests()?, &seed()?.catalogue().secret.digests())
}

/// Login, pull and logout go through the binary's own file, for each client.
#[test]
fn skopeo_and_podman_keep_their_login_with_our_credential_helper() -> Outcome {
    let lines = ["username = \"alice\"", "password = \"wonder:land\""];
    let scene = Scene::new(Setup::new().users(&[DAVE]), &lines)?;
    let (image, address) = (scene.image("private/app"), scene.proxy.address().to_string());
    let secret = &seed()?.catalogue().secret;

    let skopeo = Skopeo::new()?.with_helper(&address)?;
    skopeo.pull_refused(&image, &[])?;
    skopeo.login(&address, DAVE.0, DAVE.1)?.success()?;
    ensure(skopeo.stored_logins()?.contains(DAVE.1), "skopeo's login is not with the helper")?;
    equal("with skopeo", &skopeo.pull(&image, &[])?.digests()?, &secret.digests())?;
    skopeo.logout(&address)?;
    skopeo.pull_refused(&image, &[])?;

    let podman = Podman::new("")?.with_helper(&address)?;
    podman.login(&address, DAVE.0, DAVE.1)?.success()?;
    ensure(podman.stored_logins()?.contains(DAVE.1), "podman's login is not with the helper")?;
    podman.pull(&image, &["--tls-verify=false"])?.expect(secret.amd64()?)?;
    podman.logout(&address)?;
    podman.try_pull(&image, &["--tls-verify=false"])?.refusal()?;
    Ok(())
}

#[test]
fn everybody_reads_what_their_own_account_may_read() -> Outcome {
    let scene = Scene::new(Setup::new().upstream_accounts(), &[])?;
    let catalogue = seed()?.catalogue();
    let (public, private) = (scene.image("public/app"), scene.image("private/app"));
    let skopeo = Skopeo::new()?;
    let copied = skopeo.pull(&private, &["--src-creds", ALICE_PAIR])?;
    equal("private", &copied.digests()?, &catalogue.secret.digests())?;
    skopeo.pull_refused(&private, &["--src-creds", BOB_PAIR])?;
    skopeo.pull_refused(&private, &["--src-creds", "alice:wrong"])?;
    skopeo.pull_refused(&private, &[])?;
    let copied = skopeo.pull(&public, &["--src-creds", BOB_PAIR])?;
    equal("public", &copied.digests()?, &catalogue.sample.digests())
}

#[test]
fn nobody_reads_private_digests_by_another_way() -> Outcome {
    let scene = Scene::new(Setup::new().upstream_accounts(), &[])?;
    let secret = &seed()?.catalogue().secret;
    let platform = secret.amd64()?;
    let alice = Some((ALICE.user, ALICE.password));
    let strangers = [None, Some((BOB.user, BOB.password)), Some((ALICE.user, "wrong"))];
    for path in [
        format!("manifests/{}", secret.index),
        format!("manifests/{}", platform.manifest),
        format!("blobs/{}", platform.config),
        format!("blobs/{}", platform.layers[0]),
    ] {
        // First her, so that whatever is remembered of her is there for the others to find.
        equal(&path, &scene.status("private/app", &path, alice)?, &200)?;
        for stranger in strangers {
            for repository in ["private/app", "public/app", "library/sample"] {
                let status = scene.status(repository, &path, stranger)?;
                ensure(
                    matches!(status, 401 | 403 | 404),
                    format_args!("{stranger:?} gets {status} for {repository}/{path}"),
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_token_for_one_repository_opens_no_other() -> Outcome {
    let scene = Scene::new(Setup::new().upstream_accounts(), &[])?;
    let secret = &seed()?.catalogue().secret;
    let token = scene.token("public/app", Some((ALICE.user, ALICE.password)))?;
    let token = token.context("no token for a public repository")?;
    let client = http::Client::new()?;
    let own = scene.proxy.url("/v2/reg.test/public/app/tags/list");
    client.get(own).bearer(&token).ask()?.expect_status(200)?;
    let url = scene.proxy.url(&format!("/v2/reg.test/private/app/manifests/{}", secret.index));
    let answer = client.get(url).bearer(&token).ask()?;
    ensure(matches!(answer.status.as_u16(), 401 | 403), format_args!("status {}", answer.status))
}

#[test]
fn a_login_with_a_wrong_password_fails() -> Outcome {
    let scene = Scene::new(Setup::new().upstream_accounts(), &[])?;
    let host = scene.proxy.address().to_string();
    let skopeo = Skopeo::new()?;
    skopeo.login(&host, ALICE.user, "wrong")?.refusal()?;
    skopeo.login(&host, "nobody", "wrong")?.refusal()?;
    skopeo.login(&host, ALICE.user, ALICE.password)?.success()?;
    skopeo.pull(&scene.image("private/app"), &[])?;
    Ok(())
}

#[test]
fn a_registry_with_a_password_file_is_open_behind_the_proxy() -> Outcome {
    let seed = seed()?;
    let access = Access::Basic(&[("carol", "secret")]);
    let registry = Registry::start(&Storage::Seeded(seed), &access)?;
    let proxy = Setup::new()
        .upstream("reg.test", registry.address(), &["username = \"carol\"", "password = \"secret\""])
        .start()?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    let copied = Skopeo::new()?.pull(&image, &[])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}

#[test]
fn accounts_of_a_registry_with_a_password_file_work_at_the_proxy() -> Outcome {
    let seed = seed()?;
    let access = Access::Basic(&[("carol", "secret")]);
    let registry = Registry::start(&Storage::Seeded(seed), &access)?;
    let proxy =
        Setup::new().upstream_accounts().upstream("reg.test", registry.address(), &["default = true"]).start()?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    let skopeo = Skopeo::new()?;
    skopeo.pull_refused(&image, &[])?;
    skopeo.pull_refused(&image, &["--src-creds", "carol:wrong"])?;
    let copied = skopeo.pull(&image, &["--src-creds", "carol:secret"])?;
    equal("sample", &copied.digests()?, &seed.catalogue().sample.digests())
}
