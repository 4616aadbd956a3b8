//! Images that are fetched before anybody pulls them: each manifest and blob comes once, and what does not come is named with
//! the reason.

mod asked;
mod limits;
mod lives;
mod parts;
mod timer;

use std::sync::Mutex;

use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::testing::stored_nowhere;
use registry_proxy_core::warm::{WarmEvent, WarmRequest, WarmTotals, WarmedImage};

use crate::fixture::{Fixture, OCI_INDEX, OCI_MANIFEST, noise, upstream};

/// What a warming told.
#[derive(Debug)]
struct Warmed {
    events: Vec<WarmEvent>,
    totals: WarmTotals,
}

impl Warmed {
    fn images(&self) -> Vec<&WarmedImage> {
        let images = self.events.iter().filter_map(|event| match event {
            WarmEvent::Image(image) => Some(image),
            _ => None,
        });
        images.collect()
    }

    /// What is missing of an image, and why.
    fn missing(&self, place: usize) -> Vec<(String, String)> {
        let image = self.images().into_iter().find(|image| image.place == place).expect("an image");
        image.missing.iter().map(|part| (part.what.clone(), part.why.clone())).collect()
    }
}

fn wanted(images: &[&str]) -> WarmRequest {
    WarmRequest {
        images: images.iter().map(|&image| image.to_owned()).collect(),
        platforms: vec!["linux/amd64".to_owned()],
        referrers: false,
        jobs: 1,
        wait_seconds: 60,
        newest: 3,
    }
}

/// Warms, with the configuration that the fixture was made of.
async fn warm(lab: &Fixture, text: &str, request: &WarmRequest) -> Warmed {
    let text = if text.contains("[[upstream]]") { text.to_owned() } else { format!("{text}\n{}", upstream("")) };
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    let told = Mutex::new(Vec::new());
    let tell = |event| told.lock().expect("nobody panicked").push(event);
    let totals = lab.proxy.warm(&config.expect("a configuration"), request, &tell).await;
    let totals = totals.expect("a store");
    let events = told.into_inner().expect("nobody panicked");
    assert_eq!(events.last(), Some(&WarmEvent::End(totals)));
    Warmed { events, totals }
}

/// An image of one platform: digests of its manifest, and of its configuration and layers.
fn single(lab: &Fixture, repository: &str, tag: &str, layers: &[usize]) -> (String, Vec<String>) {
    let config = lab.registry.put_blob(repository, format!("configuration of {repository}:{tag}"));
    let mut blobs = vec![config.clone()];
    blobs.extend(layers.iter().map(|size| lab.registry.put_blob(repository, noise(*size))));
    let named: Vec<String> = blobs[1..].iter().map(|digest| format!(r#"{{"digest":"{digest}"}}"#)).collect();
    let manifest = format!(r#"{{"config":{{"digest":"{config}"}},"layers":[{}]}}"#, named.join(","));
    (lab.registry.put_manifest(repository, tag, OCI_MANIFEST, manifest), blobs)
}

/// An image of two platforms and an attestation, as its `v1`: digests of the index, and of each platform's parts.
fn double(lab: &Fixture) -> (String, Vec<String>, Vec<String>) {
    let (amd64, amd64_blobs) = single(lab, "a/b", "amd64", &[5000, 70_000]);
    let (arm64, arm64_blobs) = single(lab, "a/b", "arm64", &[5000, 80_000]);
    let (attestation, _) = single(lab, "a/b", "attestation", &[600]);
    let child = |digest: &str, os: &str, architecture: &str| {
        format!(r#"{{"digest":"{digest}","size":9,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#)
    };
    let children = [
        child(&amd64, "linux", "amd64"),
        child(&arm64, "linux", "arm64"),
        child(&attestation, "unknown", "unknown"),
    ];
    let index = format!(r#"{{"manifests":[{}]}}"#, children.join(","));
    let index = lab.registry.put_manifest("a/b", "v1", OCI_INDEX, index);
    let all = |manifest: String, blobs: Vec<String>| [vec![manifest], blobs].concat();
    (index, all(amd64, amd64_blobs), all(arm64, arm64_blobs))
}

/// How often the registry was asked for this by GET.
fn fetched(lab: &Fixture, part: &str) -> usize {
    lab.net.sent("GET", part).len()
}

/// Pulls what a client pulls of an image, from a proxy whose registry is gone.
async fn pull_without_registry(lab: &Fixture, repository: &str, digests: &[String]) {
    lab.net.fault("*", "", usize::MAX, registry_proxy_core::testing::Fault::Refuse);
    let manifest = lab.get(&format!("/v2/{repository}/manifests/v1")).await;
    assert_eq!(manifest.status, 200, "{manifest:?}");
    for digest in digests {
        let kind =
            if lab.registry.has(&format!("/v2/{repository}/blobs/{digest}")) { "blobs" } else { "manifests" };
        let seen = lab.get(&format!("/v2/{repository}/{kind}/{digest}")).await;
        assert_eq!(seen.status, 200, "{kind} {digest}");
    }
    lab.net.heal();
}
