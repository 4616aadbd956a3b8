//! A proxy before a registry, set up in one line, and clients that ask it.

mod call;
mod lines;
mod troubled;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RANGE;
use http::{HeaderValue, Method, Request};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::Sources;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::platform::{
    Capabilities, Clock, LoginIssuer, Moment, Profile, Signer, Store, TokenIssuers, Transport,
};
use registry_proxy_core::testing::{CountingEntropy, Gate, Network, Registry, TestSignatures, stored_nowhere};
use registry_proxy_core::{Body, Config, Cx, Platform, Proxy};

pub(crate) use self::call::{Call, Seen};
pub(crate) use self::lines::Lines;
pub(crate) use self::troubled::{Trouble, TroubledStore, troubled};
pub(crate) use self::users::{SlowUsers, alice_and_bob};
use crate::clock::{TokioClock, TokioTasks};

/// The host that clients speak to.
pub(crate) const HOST_NAME: &str = "proxy.example";
/// The registry's own address, which no client ever sees.
pub(crate) const ORIGIN: &str = "https://origin.up.example.com";
/// Where its blobs are, if not there.
pub(crate) const STORAGE: &str = "https://cdn.up.example.com/store";
/// Its token server.
pub(crate) const REALM: &str = "https://auth.up.example.com/token";

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An upstream called `reg.example`, the default one, with more keys.
pub(crate) fn upstream(keys: &str) -> String {
    format!("[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}']\ndefault=true\n{keys}\n")
}

/// A manifest of this many bytes or somewhat more.
pub(crate) fn manifest_of(size: usize) -> Bytes {
    let padding = "x".repeat(size);
    let text = format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[],"annotations":{{"a":"{padding}"}}}}"#);
    Bytes::from(text)
}

/// Bytes of which each thousand differs from the next.
pub(crate) fn noise(size: usize) -> Bytes {
    let byte = |at: usize| u8::try_from((at ^ (at >> 8) ^ (at >> 16).wrapping_mul(7)) & 0xff).unwrap_or(0);
    (0..size).map(byte).collect()
}

pub(crate) struct Fixture {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) net: Arc<Network>,
    pub(crate) registry: Registry,
    pub(crate) platform: Platform,
    clock: Arc<TokioClock>,
}

/// How a fixture differs from the usual one.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    pub(crate) text: &'a str,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// As on platforms where no request may wait for another's work.
    pub(crate) isolated: bool,
    /// The platform it runs on.
    pub(crate) profile: Profile,
    /// What keeps content.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// The signers of `[[policy]]`.
    pub(crate) signers: Vec<Option<Signer>>,
    /// What issues the logins of `upstream.login`.
    pub(crate) login_issuer: Option<Arc<dyn LoginIssuer>>,
}

impl Fixture {
    /// A proxy with this configuration; where it names no upstream, before `reg.example`.
    pub(crate) fn new(text: &str) -> Self {
        Self::set_up(&Setup { text, ..Setup::default() })
    }

    pub(crate) fn set_up(setup: &Setup<'_>) -> Self {
        lines::listen();
        let clock = Arc::new(TokioClock::start());
        let net = Arc::new(Network::new(clock.clone()));
        let registry = Registry::default();
        for beginning in [ORIGIN, STORAGE, REALM] {
            net.serve(beginning, registry.clone());
        }
        let platform = Platform {
            transport: net.clone(),
            clock: clock.clone(),
            entropy: Arc::new(CountingEntropy::new(1)),
            passwords: Some(Arc::new(alice_and_bob())),
            signers: setup.signers.clone(),
            verdict_services: Some(net.clone()),
            token_issuers: Some(TokenIssuers {
                transport: net.clone(),
                signatures: Arc::new(TestSignatures),
                key_files: Vec::new(),
            }),
            credentials: None,
            login_issuer: setup.login_issuer.clone(),
            store: setup.store.clone(),
            invoker: None,
            notifications: Notifications::default(),
            tasks: Arc::new(TokioTasks),
            capabilities: Capabilities { shares_io: !setup.isolated, ..setup.profile.capabilities() },
        };
        let config = configuration(setup.text, setup.variables);
        Self { proxy: Arc::new(Proxy::new(&config, &platform)), net, registry, platform, clock }
    }

    /// With a cache in memory.
    pub(crate) fn caching(text: &str) -> Self {
        let store = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        Self::set_up(&Setup { text, store: Some(Arc::new(store)), ..Setup::default() })
    }

    /// The same proxy, as it is after a restart: nothing in memory, everything in the store.
    pub(crate) fn restart(&mut self, text: &str) {
        self.proxy = Arc::new(Proxy::new(&configuration(text, &[]), &self.platform));
    }

    /// The same proxy with another configuration, as after SIGHUP.
    pub(crate) fn reload(&mut self, text: &str) {
        let next = Proxy::new(&configuration(text, &[]), &self.platform);
        self.proxy = Arc::new(next.after(&self.proxy));
    }

    /// The answer to a GET, of whose body nobody has read anything yet.
    pub(crate) async fn begin(&self, path: &str) -> http::Response<Body> {
        self.begin_range(path, "").await
    }

    /// The same for a client at another address.
    pub(crate) async fn begin_from(&self, path: &str, peer: &str) -> http::Response<Body> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = path.parse().expect("a path");
        let cx = Cx { peer: Some(peer.parse().expect("an address")), introduced: None, is_tls: true, id: 1 };
        self.proxy.handle(&cx, request).await
    }

    /// The same of a range.
    pub(crate) async fn begin_range(&self, path: &str, range: &str) -> http::Response<Body> {
        let mut request = Request::new(Body::Empty);
        if !range.is_empty() {
            request.headers_mut().insert(RANGE, HeaderValue::from_str(range).expect("a range"));
        }
        *request.uri_mut() = path.parse().expect("a path");
        let cx = Cx { peer: Some(IpAddr::from([203, 0, 113, 7])), introduced: None, is_tls: true, id: 1 };
        self.proxy.handle(&cx, request).await
    }

    /// With a manifest `a/b:v1` and a blob in the same repository: fixture, manifest's digest, blob's digest.
    pub(crate) fn stocked(text: &str) -> (Self, String, String) {
        let lab = Self::new(text);
        let manifest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(100));
        let blob = lab.registry.put_blob("a/b", noise(5000));
        (lab, manifest, blob)
    }

    /// Lets the registry ask for tokens of its token server.
    pub(crate) fn with_tokens(self) -> Self {
        self.registry.guard(Gate::Bearer { realm: REALM.to_owned(), service: Some("up".to_owned()) });
        self
    }

    /// Another proxy on the same network, with another key and transport.
    pub(crate) fn beside(&self, text: &str, transport: Arc<dyn Transport>, entropy: u64) -> Arc<Proxy> {
        let entropy = Arc::new(CountingEntropy::new(entropy));
        let platform = Platform { transport, entropy, ..self.platform.clone() };
        Arc::new(Proxy::new(&configuration(text, &[]), &platform))
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn pause(&self, pause: Duration) {
        self.clock.sleep(pause).await;
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(&self.proxy, method, path)
    }

    /// A token of ours for this user, to do anything with `a/b`.
    pub(crate) async fn login(&self, user: &str, password: &str) -> String {
        self.login_for(user, password, "repository:a/b:pull,push,delete").await
    }

    /// A token of ours for this user and scope.
    pub(crate) async fn login_for(&self, user: &str, password: &str, scope: &str) -> String {
        let path = if scope.is_empty() { "/token".to_owned() } else { format!("/token?scope={scope}") };
        let seen = self.get(&path).basic(user, password).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.json()["token"].as_str().expect("a token").to_owned()
    }

    /// A token of ours for nobody.
    pub(crate) async fn anonymous(&self) -> String {
        let seen = self.get("/token").await;
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.json()["token"].as_str().expect("a token").to_owned()
    }
}

fn configuration(text: &str, variables: &[(&str, &str)]) -> Config {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let has_upstream =
        text.contains("[[upstream]]") || variables.iter().any(|(name, _)| name == "REGISTRY_BACKEND");
    let text = if has_upstream { text.to_owned() } else { format!("{text}\n{}", upstream("")) };
    let config = Config::load(&Sources { text: Some(&text), variables, read: &stored_nowhere });
    config.expect("a configuration")
}

/// An image in a repository, as its `v1`, with one layer that all of them have: manifest's digest and layer's.
pub(crate) fn image(lab: &Fixture, repository: &str, text: &str) -> (String, String) {
    let layer = lab.registry.put_blob(repository, noise(5000));
    let manifest = format!(r#"{{"layers":[{{"digest":"{layer}"}}],"annotations":{{"a":"{text}"}}}}"#);
    (lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest), layer)
}
