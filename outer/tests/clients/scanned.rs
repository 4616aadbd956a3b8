//! A policy that asks a service in front of a real registry, and skopeo in front of the policy.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{Body, Handler, Server, text};
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::Registry;
use serde_json::Value;

use crate::stage::seed;

/// Denies what it is told to, and keeps what it was asked.
struct Scanner {
    denied: Vec<String>,
    asked: Mutex<Vec<Value>>,
    is_down: AtomicBool,
}

impl Scanner {
    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Scanner {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        Box::pin(async move {
            equal(
                "the method and the whole address",
                &(request.method().as_str(), request.uri().to_string().as_str()),
                &("POST", "/verdict?key=t0k3n"),
            )?;
            let question: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
            if self.is_down.load(Ordering::Relaxed) {
                return Ok(text(StatusCode::SERVICE_UNAVAILABLE, r#"{"allow":true}"#));
            }
            let is_denied = self.denied.iter().any(|digest| question["digest"] == **digest);
            let answer =
                if is_denied { r#"{"allow":false,"reason":"CVE-2026-1 in it"}"# } else { r#"{"allow":true}"# };
            Ok(text(StatusCode::OK, answer))
        })
    }
}

#[test]
fn what_the_service_allows_is_pulled_and_what_it_denies_is_refused_with_its_reason() -> Outcome {
    let registry = Registry::fresh()?;
    let skopeo = Skopeo::new()?;
    let images = seed()?.catalogue();
    for (layout, tag) in [("sample", "good"), ("secret", "bad"), ("large", "later")] {
        skopeo.push(&seed()?.layout(layout), &format!("{}/team/app:{tag}", registry.address()), &[])?;
    }
    let scanner = Arc::new(Scanner {
        denied: vec![images.secret.amd64()?.manifest.clone()],
        asked: Mutex::default(),
        is_down: AtomicBool::new(false),
    });
    let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&scanner))?;
    let policy = format!(
        "[[policy]]\nmatch = \"reg.test/team/**\"\nverdict_url = \"http://{}/verdict?key=t0k3n\"\nverdict_insecure = true\nmode = \"enforce\"",
        server.address()
    );
    let folder = tempfile::tempdir()?;
    let proxy = Setup::new()
        .cache(folder.path(), &[])
        .config(policy)
        .upstream("reg.test", registry.address(), &[])
        .start()?;
    let here = |reference: &str| format!("{}/reg.test/team/app{reference}", proxy.address());
    let pulled = skopeo.pull(&here(":good"), &[])?;
    equal("all of the image", &pulled.digests()?, &images.sample.digests())?;
    let asked = scanner.asked();
    let first = asked.first().cloned().unwrap_or_default();
    equal("the index", &first["digest"], &Value::from(images.sample.index.as_str()))?;
    equal("the tag", &first["tag"], &Value::from("good"))?;
    equal("the registry", &first["registry"], &Value::from("reg.test"))?;
    skopeo.pull(&here(":good"), &[])?;
    equal("nothing is asked twice", &scanner.asked().len(), &asked.len())?;

    // The index passes, and the image in it does not.
    let refused = skopeo.pull_refused(&here(":bad"), &[])?;
    ensure(
        refused.contains("wants the consent of an outside service; the service denies it: CVE-2026-1 in it"),
        &refused,
    )?;
    ensure(!refused.contains("t0k3n") && !refused.contains(&server.address().to_string()), &refused)?;

    scanner.is_down.store(true, Ordering::Relaxed);
    let refused = skopeo.pull_refused(&here(":later"), &[])?;
    ensure(refused.contains("the service answered 503 instead of 200; the default is to deny"), &refused)?;
    skopeo.pull(&here(":good"), &[])?;
    let log = proxy.service.log();
    ensure(log.contains("policy is not met; refused") && !log.contains("t0k3n"), log)
}
