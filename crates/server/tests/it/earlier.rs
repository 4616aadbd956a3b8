//! The upgrade: what an earlier build wrote into a directory goes on being served by this one without a blob being fetched
//! again, and records that a build does not know harm nobody.
//!
//! `tests/earlier/store` is the directory as that build left it; `tests/earlier/README.md` says what is in it, and `write`
//! is how it was made.

mod content;
mod write;

use std::path::{Path, PathBuf};

use registry_proxy_core::Config;
use registry_proxy_core::config::Sources;
use serde_json::Value;
use tempfile::TempDir;

use self::content::{OCI_MANIFEST, Registries, kept, lied, stalled};
use crate::cache_cli::{cache, lines};
use crate::fixture::{Client, Product, leases};

/// Where it lies.
fn earlier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/earlier")
}

/// Copies all of a folder but what has no name yet.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if !entry.file_type().unwrap().is_dir() {
            std::fs::copy(entry.path(), to).unwrap();
        } else if entry.file_name() != "tmp" {
            copy(&entry.path(), &to);
        }
    }
}

/// A copy of the earlier store, and the registries that its content came from.
struct Lab {
    folder: TempDir,
    registries: Registries,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&earlier().join("store"), folder.path());
        Self { folder, registries: Registries::start(None).await }
    }

    async fn serve(&self, keys: &str) -> Product {
        Product::start(&self.registries.configuration(self.folder.path(), keys)).await
    }

    fn at(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    /// The record of what leads from this repository to this digest.
    fn link(&self, repository: &str, digest: &str) -> PathBuf {
        self.at(&format!("v1/links/{repository}/_/{}", digest.replace(':', "/")))
    }
}

/// Asks for everything that the store holds, and holds each answer against what the registry has.
async fn all_is_served(product: &Product) {
    let mut client = Client::connect(product.address).await;
    for wanted in kept() {
        let (head, body) = client.get(&wanted.path()).await;
        assert_eq!(head.status, 200, "{}: {}\n{}", wanted.path(), head.text, product.log());
        assert!(body == wanted.bytes, "{}: {} other bytes", wanted.path(), body.len());
        if let Some(kind) = wanted.kind {
            assert_eq!(head.get("content-type"), Some(kind), "{}", wanted.path());
        }
    }
}

/// What `registry-proxy cache …` tells of the running server, line by line.
async fn told(product: &Product, action: &str) -> Vec<Value> {
    lines(&cache(&product.setup, &[action, "--json"]).await)
}

/// All of it is there, whole, and has its digests.
async fn nothing_is_lost(product: &Product) {
    let stat = told(product, "stat").await.remove(0)["stat"].clone();
    let counts = ["blobs", "manifests", "tags"].map(|kind| stat[kind].as_u64().unwrap());
    assert_eq!(counts, [6, 6, 6], "{stat}");
    let list = told(product, "list").await;
    let images: Vec<&Value> = list.iter().filter_map(|line| line.get("image")).collect();
    assert_eq!(images.len(), 6, "{list:?}");
    assert!(images.iter().all(|image| image["is_complete"] == true), "{images:?}");
    let verified = told(product, "verify").await.pop().unwrap()["verified"].clone();
    let counts = ["blobs", "manifests", "wrong", "unread", "unknown"].map(|kind| verified[kind].as_u64().unwrap());
    assert_eq!(counts, [6, 6, 0, 0, 0], "{verified}");
}

#[tokio::test]
async fn a_store_of_an_earlier_build_is_served_and_no_blob_is_fetched_again() {
    let lab = Lab::new().await;
    // The second time with what this build has written beside it.
    for _ in 0..2 {
        let product = lab.serve("").await;
        nothing_is_lost(&product).await;
        all_is_served(&product).await;
        nothing_is_lost(&product).await;
    }
    assert_eq!(lab.registries.fetched_blobs(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_of_an_earlier_build_is_served_while_nobody_can_be_asked() {
    let lab = Lab::new().await;
    let product = lab.serve("offline = true").await;
    all_is_served(&product).await;
    assert_eq!(lab.registries.asked(), 0);
}

#[tokio::test]
async fn a_type_that_an_earlier_build_believed_gives_way_to_what_the_bytes_say() {
    let lab = Lab::new().await;
    let product = lab.serve("").await;
    for path in [lied().path(), lied().path_by_digest()] {
        let (head, body) = Client::connect(product.address).await.get(&path).await;
        assert_eq!((head.status, head.get("content-type")), (200, Some(OCI_MANIFEST)), "{path}");
        assert!(body == lied().bytes, "{path}");
    }
}

#[tokio::test]
async fn a_lease_of_an_earlier_build_that_was_killed_keeps_nobody_waiting() {
    let lab = Lab::new().await;
    assert_eq!(leases(lab.folder.path()).len(), 1);
    let product = lab.serve("").await;
    let wanted = stalled();
    let (head, body) = Client::connect(product.address).await.get(&wanted.path()).await;
    assert!(head.status == 200 && body == wanted.bytes, "{}", head.text);
    assert_eq!(head.get("x-registry-proxy").map(|done| done.starts_with("filled")), Some(true), "{}", head.text);
}

#[tokio::test]
async fn records_of_a_later_build_are_left_alone_and_lose_nothing() {
    let lab = Lab::new().await;
    let (blob, manifest) = (kept().swap_remove(1), kept().swap_remove(0));
    // Kinds that this build has never heard of, of a digest and of something else, and another layout beside it.
    let strange = [
        format!("v1/unheard-of/{}", blob.digest().replace(':', "/")),
        "v1/unheard-of/index".to_owned(),
        "v2/blobs/x".to_owned(),
    ];
    for key in &strange {
        std::fs::create_dir_all(lab.at(key).parent().unwrap()).unwrap();
        std::fs::write(lab.at(key), "what a later build says").unwrap();
    }
    // Known kinds that say more.
    let link = lab.link("up.test/acme/app", &blob.digest());
    assert_eq!(std::fs::read(&link).unwrap(), b"shown");
    std::fs::write(&link, "{\"shown\":{\"by\":\"get\"}}").unwrap();
    let tag = lab.at("v1/tags/up.test/acme/app/_/v1");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&tag).unwrap()).unwrap();
    record["more"] = "than there was".into();
    std::fs::write(&tag, record.to_string()).unwrap();

    let product = lab.serve("").await;
    all_is_served(&product).await;
    nothing_is_lost(&product).await;
    assert_eq!(
        lab.registries.fetched_blobs(),
        Vec::<String>::new(),
        "what leads to a blob is asked for, not the blob"
    );
    for key in &strange {
        assert_eq!(std::fs::read(lab.at(key)).unwrap(), b"what a later build says", "{key}");
    }
    // And a purge takes what this build knows, and no more.
    assert!(cache(&product.setup, &["purge", "--all"]).await.status.success());
    assert!(!lab.at(&manifest.key()).exists() && lab.at(&strange[0]).exists());
}

#[test]
fn every_key_of_an_earlier_configuration_is_still_read() {
    let text = std::fs::read_to_string(earlier().join("every-key.toml")).unwrap();
    let read = |_: &str| Ok("what-every-secret-file-holds".to_owned());
    let loaded = Config::load(&Sources { text: Some(&text), variables: vec![], read: &read });
    assert!(loaded.is_ok(), "{loaded:?}");
}
