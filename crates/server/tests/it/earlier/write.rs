//! How the earlier store was written: by the build of that day, which was asked for everything, and killed while a blob
//! was on its way.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::content::{Registries, kept, stalled};
use super::{copy, earlier, told};
use crate::fixture::{Client, Product, leases, soon};

/// Writes the store anew, as the present build would. Only for a new fixture beside the old one: the old one is what
/// must not change.
#[tokio::test]
#[ignore = "it writes into the repository"]
async fn write_a_store_of_this_build() {
    let folder = tempfile::tempdir().unwrap();
    let registries = Registries::start(Some(stalled())).await;
    let mut text = registries.configuration(folder.path(), "");
    text += "[guard.total]\nrequests_per_day = 1000000\n";
    let mut product = Product::start(&text).await;
    let mut client = Client::connect(product.address).await;
    for wanted in kept() {
        let (head, _) = client.get(&wanted.path()).await;
        assert_eq!(head.status, 200, "{}: {}", wanted.path(), head.text);
    }
    soon("all of it to be kept", async {
        loop {
            let list = told(&product, "list").await;
            let is_complete = |line: &&Value| line["image"]["is_complete"] == true;
            if list.iter().filter(is_complete).count() == 6 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let usage = folder.path().join("v1/usage");
    soon("a note of what was used", async {
        // It is written on the way of a request.
        while !usage.exists() {
            client.get(&kept()[0].path()).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    client.ask("GET", &stalled().path(), "").await;
    soon("a lease", async {
        while leases(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    product.signal(Signal::KILL);
    product.wait().await;
    copy(&folder.path().join("v1"), &earlier().join("store/v1"));
}
