//! A registry that keeps its blobs on another host, in each of the ways we may treat that.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{self, Answer};
use registry_proxy_outer::proxy::{Proxy, Setup, Store};
use registry_proxy_outer::registry::{Registry, Seed, StorageFront};

use crate::stage::{seed, with_every_store};

with_every_store! {
    followed_redirects_stay_invisible,
    a_head_is_never_redirected,
    handle_redirect_fetches_from_the_storage_whatever_proxy_redirect_says,
}

/// The registry, its storage and a proxy in front.
struct Scene {
    seed: &'static Seed,
    _registry: Registry,
    front: StorageFront,
    proxy: Proxy,
    /// Before the repository: the upstream's name and a slash, or nothing.
    prefix: &'static str,
}

impl Scene {
    fn configured(redirects: &str, store: Store) -> Outcome<Self> {
        let line = format!("redirects = \"{redirects}\"");
        Self::with("reg.test/", |front| {
            Setup::new().keeping(store).upstream("reg.test", front.address(), &[&line])
        })
    }

    fn original(variables: &[(&str, &str)], store: Store) -> Outcome<Self> {
        Self::with("", |front| {
            let setup = Setup::new()
                .keeping(store)
                .variable("REGISTRY_BACKEND", format!("http://{}", front.address()))
                .variable("DEFAULT_BACKEND_HOST", format!("http://{}", front.storage_address()));
            variables.iter().fold(setup, |setup, (name, value)| setup.variable(name, *value))
        })
    }

    fn with(prefix: &'static str, setup: impl FnOnce(&StorageFront) -> Setup) -> Outcome<Self> {
        let seed = seed()?;
        let registry = Registry::seeded(seed)?;
        let front = StorageFront::start(&registry)?;
        let proxy = setup(&front).start()?;
        Ok(Self { seed, _registry: registry, front, proxy, prefix })
    }

    fn pulls_whole(&self, name: &str) -> Outcome {
        let image = format!("{}/{}library/{name}:v1", self.proxy.address(), self.prefix);
        let copied = Skopeo::new()?.pull(&image, &[])?;
        let catalogue = self.seed.catalogue();
        let made = if name == "large" { &catalogue.large } else { &catalogue.sample };
        equal(name, &copied.digests()?, &made.digests())?;
        ensure(self.front.served() > 0, "the storage served nothing")?;
        equal("requests that the storage refused", &self.front.refused(), &0)
    }

    fn layer(&self) -> Outcome<String> {
        Ok(self.seed.catalogue().sample.amd64()?.layers[0].clone())
    }

    fn blob_url(&self) -> Outcome<String> {
        let path = format!("/v2/{}library/sample/blobs/{}", self.prefix, self.layer()?);
        Ok(self.proxy.url(&path))
    }

    /// What a client sees that follows nothing.
    fn blob(&self) -> Outcome<Answer> {
        http::Client::new()?.get(self.blob_url()?).ask()
    }

    fn gives_blobs_itself(&self) -> Outcome {
        let answer = self.blob()?.expect_status(200)?;
        equal("length", &answer.header("content-length"), &answer.body.len().to_string().as_str())?;
        let client = http::Client::new()?;
        let part = client.get(self.blob_url()?).header("range", "bytes=10-19").ask()?;
        let part = part.expect_status(206)?;
        equal("part", &&part.body[..], &&answer.body[10..20])
    }

    fn points_to_the_storage(&self) -> Outcome {
        let answer = self.blob()?.expect_status(307)?;
        let signed = self.front.signed_location("library/sample", &self.layer()?);
        equal("location", &answer.location(), &signed.as_str())
    }

    fn points_to_itself(&self) -> Outcome {
        let answer = self.blob()?;
        ensure(answer.status.is_redirection(), format_args!("no redirect: {}", answer.status))?;
        let location = answer.location();
        let here = self.proxy.address().to_string();
        let storage = self.front.storage_address().ip().to_string();
        ensure(
            location.starts_with('/') || location.starts_with(&format!("http://{here}/")),
            format_args!("leads elsewhere: {location}"),
        )?;
        ensure(
            !answer.location().contains(&format!("//{storage}")),
            format_args!("names the storage: {location}"),
        )?;
        let target = if location.starts_with('/') { self.proxy.url(location) } else { location.to_owned() };
        let bytes = http::Client::new()?.get(target).ask()?.expect_status(200)?;
        equal("digest", &registry_proxy_outer::digest::of_bytes(&bytes.body), &self.layer()?)
    }
}

fn followed_redirects_stay_invisible(store: Store) -> Outcome {
    let scene = Scene::configured("follow", store)?;
    scene.pulls_whole("large")?;
    scene.gives_blobs_itself()
}

#[test]
fn passed_redirects_lead_the_client_to_the_storage() -> Outcome {
    let scene = Scene::configured("pass", Store::default())?;
    scene.pulls_whole("large")?;
    scene.points_to_the_storage()
}

#[test]
fn rewritten_redirects_lead_the_client_back_to_the_proxy() -> Outcome {
    let scene = Scene::configured("rewrite", Store::default())?;
    scene.pulls_whole("large")?;
    scene.points_to_itself()
}

fn a_head_is_never_redirected(store: Store) -> Outcome {
    for redirects in ["follow", "pass", "rewrite"] {
        let scene = Scene::configured(redirects, store)?;
        let answer = http::Client::new()?.head(scene.blob_url()?).ask()?.expect_status(200)?;
        ensure(!answer.header("content-length").is_empty(), "no Content-Length")?;
    }
    Ok(())
}

#[test]
fn proxy_redirect_true_relays_the_storage_through_the_proxy() -> Outcome {
    let scene = Scene::original(&[("PROXY_REDIRECT", "true")], Store::default())?;
    scene.pulls_whole("large")?;
    scene.points_to_itself()
}

#[test]
fn proxy_redirect_false_leaves_the_storage_to_the_client() -> Outcome {
    let scene = Scene::original(&[("PROXY_REDIRECT", "false")], Store::default())?;
    scene.pulls_whole("sample")?;
    scene.points_to_the_storage()
}

fn handle_redirect_fetches_from_the_storage_whatever_proxy_redirect_says(store: Store) -> Outcome {
    for proxy_redirect in ["true", "false"] {
        let variables = [("HANDLE_REDIRECT", "true"), ("PROXY_REDIRECT", proxy_redirect)];
        let scene = Scene::original(&variables, store)?;
        scene.pulls_whole("sample")?;
        scene.gives_blobs_itself()?;
    }
    Ok(())
}
