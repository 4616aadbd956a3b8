//! docker-registry as a cache near the clients, with us as what it takes from.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::image::Image;
use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::{Access, Registry, Storage, TokenServer};

use crate::stage::{ALICE, DAVE, proxy_to, realms, seed};

/// Pulls twice, because the second time is out of the cache.
fn serves(proxy: &Proxy, login: Option<(&str, &str)>, name: &str, image: &Image) -> Outcome {
    let url = proxy.url("");
    let cache = Registry::start(&Storage::CacheOf(&url, login), &Access::Open)?;
    for _ in 0..2 {
        let copied = Skopeo::new()?.pull(&format!("{}/{name}:v1", cache.address()), &[])?;
        equal(name, &copied.digests()?, &image.digests())?;
    }
    Ok(())
}

/// The login is what makes the difference.
fn has_nothing(proxy: &Proxy, login: Option<(&str, &str)>, name: &str) -> Outcome {
    let url = proxy.url("");
    let cache = Registry::start(&Storage::CacheOf(&url, login), &Access::Open)?;
    Skopeo::new()?.pull_refused(&format!("{}/{name}:v1", cache.address()), &[])?;
    Ok(())
}

#[test]
fn a_near_cache_takes_from_the_proxy() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy = proxy_to(&registry)?;
    serves(&proxy, None, "library/large", &seed.catalogue().large)
}

#[test]
fn a_near_cache_logs_in_as_a_user_of_the_proxy() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let proxy =
        Setup::new().users(&[DAVE]).upstream("reg.test", registry.address(), &["default = true"]).start()?;
    has_nothing(&proxy, None, "library/sample")?;
    has_nothing(&proxy, Some((DAVE.0, "wrong")), "library/sample")?;
    serves(&proxy, Some(DAVE), "library/sample", &seed.catalogue().sample)
}

#[test]
fn a_near_cache_logs_in_with_an_account_at_the_upstream() -> Outcome {
    let seed = seed()?;
    let tokens = TokenServer::start(&[ALICE])?;
    let registry = Registry::start(&Storage::Seeded(seed), &Access::Token(&tokens))?;
    let proxy = Setup::new()
        .upstream_accounts()
        .upstream("reg.test", registry.address(), &["default = true", &realms(&tokens)])
        .start()?;
    has_nothing(&proxy, None, "private/app")?;
    let login = Some((ALICE.user, ALICE.password));
    serves(&proxy, login, "private/app", &seed.catalogue().secret)
}
