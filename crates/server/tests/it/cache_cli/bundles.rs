//! `registry-proxy cache export` and `import`: through a running server's socket, and on the store itself.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Output;

use registry_proxy_core::digest::Digest;
use serde_json::Value;

use super::{IMAGES, Lab, cache, lines, manifest, stop, text};
use crate::fixture::{Client, Product, Setup, closed_port, one_upstream, soon};

/// A configuration that asks no registry.
fn offline(setup: &Setup, is_memory: bool, upstream: SocketAddr) -> String {
    let keys = if is_memory {
        format!("admin_socket='{}'\n[cache]\nstore='memory:'\noffline=true", setup.path().join("admin").display())
    } else {
        format!("[cache]\nstore='file://{}/cache'\nmin_free=0\noffline=true", setup.path().display())
    };
    one_upstream(&keys, upstream, "")
}

/// What a client gets for an image and its layers: statuses, and whether all has its digest.
async fn pulls(lab: &Lab, product: &Product, image: usize) -> bool {
    let (name, tag) = IMAGES[image].0.split_once(':').unwrap();
    let expected = manifest(&lab.layers, IMAGES[image].1);
    let (head, body) = Client::connect(product.address).await.get(&format!("/v2/{name}/manifests/{tag}")).await;
    if head.status != 200 || body != expected {
        return false;
    }
    for layer in IMAGES[image].1 {
        let (digest, bytes) = &lab.layers[*layer];
        let (head, body) = Client::connect(product.address).await.get(&format!("/v2/{name}/blobs/{digest}")).await;
        if head.status != 200 || body != *bytes {
            return false;
        }
    }
    true
}

fn sound(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[tokio::test]
async fn images_cross_the_gap_in_one_file() {
    let lab = Lab::new().await;
    let mut product = lab.serve().await;
    for image in 0..3 {
        lab.pull(&product, image).await;
    }
    let path = |name: &str| product.setup.path().join(name).to_str().unwrap().to_owned();
    let (by_server, by_store) = (path("server.tar"), path("store.tar"));
    let exported = sound(&cache(&product.setup, &["export", "app:v1", "up.test/base:*", "-o", &by_server]).await);
    let digest = Digest::sha256(&manifest(&lab.layers, IMAGES[0].1));
    assert!(exported.starts_with(&format!("up.test/app:v1  {digest}\nup.test/base:v1  sha256:")), "{exported}");
    assert!(exported.ends_with("exported: 2 images, 2 manifests, 2 layers, 195.6 KiB\n"), "{exported}");
    stop(&mut product).await;
    sound(&cache(&product.setup, &["export", "up.test/app:v1", "base:v1", "-o", &by_store]).await);
    assert_eq!(std::fs::read(&by_server).unwrap(), std::fs::read(&by_store).unwrap());

    for (is_memory, is_running) in [(false, true), (false, false), (true, true)] {
        let setup = Setup::new();
        let config = offline(&setup, is_memory, closed_port());
        let imported = if is_running {
            let product = setup.start(&config).await;
            assert!(!pulls(&lab, &product, 0).await, "before");
            let imported = sound(&cache(&product.setup, &["import", &by_server]).await);
            assert!(pulls(&lab, &product, 0).await && pulls(&lab, &product, 2).await, "memory {is_memory}");
            assert!(!pulls(&lab, &product, 1).await, "it was not carried");
            product.wait_for_line("action=import detail=up.test/app:v1").await;
            imported
        } else {
            setup.file("proxy.toml", &config);
            let imported = sound(&cache(&setup, &["import", &by_server]).await);
            let product = setup.start(&config).await;
            assert!(pulls(&lab, &product, 0).await && pulls(&lab, &product, 2).await);
            imported
        };
        assert!(imported.contains(&format!("up.test/app:v1  {digest}  195.")), "{imported}");
        assert!(imported.ends_with("imported: 2 images, 4 new manifests and layers, 195.6 KiB\n"), "{imported}");
    }
}

#[tokio::test]
async fn a_bundle_goes_through_pipes_and_scripts() {
    let lab = Lab::new().await;
    let product = lab.serve().await;
    lab.pull(&product, 0).await;
    let path = product.setup.path().join("piped.tar");
    let config = product.setup.path().join("proxy.toml");
    let words = ["--config", config.to_str().unwrap(), "cache"];
    let command = product.setup.command(&[&words[..], &["export", "app:v1", "-o", "-", "--json"]].concat());
    let output = soon("the export", tokio::process::Command::from(command).output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(&path, &output.stdout).unwrap();
    let told: Vec<Value> = text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told[0]["image"]["name"], "up.test/app:v1", "{told:?}");
    assert_eq!(told[1]["exported"]["blobs"], 2, "{told:?}");

    let there = Setup::new();
    let config = there.file("proxy.toml", &offline(&there, false, closed_port()));
    let mut command = there.command(&["--config", &config, "cache", "import", "-", "--json"]);
    command.stdin(File::open(&path).unwrap());
    let output = soon("the import", tokio::process::Command::from(command).output()).await.unwrap();
    let told = lines(&output);
    assert_eq!((told[0]["image"]["manifests"].as_u64(), told[0]["image"]["blobs"].as_u64()), (Some(1), Some(2)));
    assert_eq!((told[1]["imported"]["images"].as_u64(), told[1]["imported"]["new"].as_u64()), (Some(1), Some(3)));
    let again = lines(&cache(&there, &["import", path.to_str().unwrap(), "--json"]).await);
    assert_eq!(again[1]["imported"]["new"], 0, "it is there already");
}

#[tokio::test]
async fn what_cannot_be_carried_is_said() {
    let lab = Lab::new().await;
    let product = lab.serve().await;
    lab.pull(&product, 0).await;
    let path = |name: &str| product.setup.path().join(name).to_str().unwrap().to_owned();
    let bundle = path("bundle.tar");
    sound(&cache(&product.setup, &["export", "app:v1", "-o", &bundle]).await);
    let mut cut = std::fs::read(&bundle).unwrap();
    cut.truncate(cut.len() - 60_000);
    std::fs::write(path("cut.tar"), cut).unwrap();
    let cut_short = format!("blobs/sha256/{}: the archive ends within this entry", lab.layers[1].0.encoded());
    for (arguments, status, expected) in [
        (&["export", "app:v2", "-o", &path("x.tar")][..], 1, "up.test/app:v2: its tag is not cached"),
        (&["export", "**:v9", "-o", &path("x.tar")], 1, "no cached tag matches **:v9"),
        (&["export", "nowhere.test/x:1", "-o", &path("x.tar")], 1, "this configuration serves no image"),
        (&["export", "app:v1", "-o", &path("no/x.tar")], 1, "No such file or directory"),
        (&["export", "app:v1", "--platform", "linux", "-o", &path("x.tar")], 2, "\"linux\" is no platform"),
        (&["export", "app:v1"], 2, "--output <FILE>"),
        (&["export", "-o", &path("x.tar")], 2, "<IMAGE>"),
        (&["import", &path("none.tar")], 1, "none.tar: No such file or directory"),
        (&["import", &bundle, "--as", "nowhere.test/x:1"], 2, "this configuration serves no image"),
        (&["import", &path("cut.tar")], 1, &cut_short),
    ] {
        let output = cache(&product.setup, arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!product.setup.path().join("x.tar").exists());
    }
    assert!(pulls(&lab, &product, 0).await, "what was there stays");
}
