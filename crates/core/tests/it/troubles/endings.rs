//! Answers whose end waits for the store, where the platform stops us behind it.

use std::time::Duration;

use registry_proxy_core::cache::Key;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::Step;

use super::{V1, keeping, memory};
use crate::fixture::{Trouble, image, noise, troubled};

/// How long a record takes.
const SLOW: Duration = Duration::from_secs(4);

#[tokio::test(start_paused = true)]
async fn the_last_of_two_answers_waits_for_the_store_whatever_became_of_the_first() {
    for first in ["read to its end", "read and gone", "gone unread"] {
        let memory = memory();
        let is_manifest = |step, key: &str| step == Step::Write && key.starts_with("v1/manifests/");
        let store = troubled(&memory, move |step, key| is_manifest(step, key).then_some(Trouble::Takes(SLOW)));
        let mut lab = keeping(&store, "");
        lab.platform.capabilities.outlives_response = false;
        lab.restart("");
        let (manifest, _) = image(&lab, "a/b", "1");
        let [one, other] = [300_000, 300_001].map(|size| lab.registry.put_blob("a/b", noise(size)));
        let begin = async |digest: &str| lab.begin(&format!("/v2/a/b/blobs/{digest}")).await;
        let (mut one, mut other) = (begin(&one).await, begin(&other).await);
        lab.get(V1).await;
        if first != "gone unread" {
            while one.body_mut().chunk().await.is_some() {}
        }
        let held = (first == "read to its end").then_some(one);
        let key = Key::manifest(&Digest::parse(&manifest).unwrap());
        assert_eq!(memory.read(&key).await.unwrap(), None, "it is on its way");
        while other.body_mut().chunk().await.is_some() {}
        assert!(memory.read(&key).await.unwrap().is_some(), "{first}");
        drop(held);
    }
}
