//! `registry-proxy cache`: on a directory that nobody uses, and on a running server through its socket.

mod bundles;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use registry_proxy_core::digest::Digest;
use serde_json::Value;

use crate::fixture::{Client, Product, Setup, Upstream, content, one_upstream, soon};

/// A registry with images `app:v1`, `app:v2` and `base:v1`; the layer of `base` is in all of them.
struct Lab {
    upstream: Upstream,
    layers: Vec<(Digest, Vec<u8>)>,
}

const IMAGES: [(&str, &[usize]); 3] = [("app:v1", &[0, 1]), ("app:v2", &[0, 2]), ("base:v1", &[0])];

impl Lab {
    async fn new() -> Self {
        let layer = |number: u8| {
            let bytes = [&[number], content(100_000).as_slice()].concat();
            (Digest::sha256(&bytes), bytes)
        };
        let layers: Vec<_> = (0..3).map(layer).collect();
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for (digest, bytes) in &layers {
            found.extend(["app", "base"].map(|name| (format!("/v2/{name}/blobs/{digest}"), bytes.clone())));
        }
        for (image, parts) in IMAGES {
            let (name, tag) = image.split_once(':').unwrap();
            let bytes = manifest(&layers, parts);
            let digest = Digest::sha256(&bytes);
            found.push((format!("/v2/{name}/manifests/{tag}"), bytes.clone()));
            found.push((format!("/v2/{name}/manifests/{digest}"), bytes));
        }
        let upstream = Upstream::start(move |request, mut exchange| {
            let body = found.iter().find(|(path, _)| *path == request.path).map(|(_, bytes)| bytes.clone());
            async move {
                let Some(body) = body else { return exchange.answer("404 Not Found", "", b"").await };
                let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
                if request.path.contains("/manifests/") {
                    head += "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
                    head = format!("{head}Docker-Content-Digest: {}\r\n", Digest::sha256(&body));
                }
                let body = if request.method == "HEAD" { Vec::new() } else { body };
                exchange.write([head.as_bytes(), b"\r\n", &body].concat()).await.then_some(exchange)
            }
        });
        Self { upstream: upstream.await, layers }
    }

    /// A configuration whose cache is in this directory.
    fn configuration(&self, setup: &Setup) -> String {
        let keys =
            format!("[cache]\nstore = 'file://{}/cache'\nmin_free = 0\ntag_ttl = '1h'", setup.path().display());
        one_upstream(&keys, self.upstream.address, "")
    }

    async fn serve(&self) -> Product {
        let setup = Setup::new();
        let text = self.configuration(&setup);
        setup.start(&text).await
    }

    /// Pulls an image, and waits until all of it is in the store.
    async fn pull(&self, product: &Product, image: usize) -> Vec<String> {
        let (name, tag) = IMAGES[image].0.split_once(':').unwrap();
        let mut paths = vec![format!("/v2/{name}/manifests/{tag}")];
        paths.extend(IMAGES[image].1.iter().map(|layer| format!("/v2/{name}/blobs/{}", self.layers[*layer].0)));
        let mut done = Vec::new();
        for path in paths {
            let (head, _) = Client::connect(product.address).await.get(&path).await;
            assert_eq!(head.status, 200, "{path}: {}", head.text);
            let word = head.get("x-registry-proxy").unwrap().split(';').next().unwrap().to_owned();
            done.push(word);
        }
        soon("the image to be kept", async {
            loop {
                let all = cache(&product.setup, &["list", "--json"]).await;
                let name = format!("up.test/{}", IMAGES[image].0);
                let is_here =
                    |line: &Value| line["image"]["name"] == *name && line["image"]["is_complete"] == true;
                if lines(&all).iter().any(is_here) {
                    return;
                }
            }
        })
        .await;
        done
    }

    fn file(&self, product: &Product, layer: usize) -> PathBuf {
        let hex = self.layers[layer].0.encoded();
        product.setup.path().join(format!("cache/v1/blobs/sha256/{}/{hex}", &hex[..2]))
    }
}

fn manifest(layers: &[(Digest, Vec<u8>)], parts: &[usize]) -> Vec<u8> {
    let parts: Vec<String> = parts.iter().map(|part| format!(r#"{{"digest":"{}"}}"#, layers[*part].0)).collect();
    format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, parts.join(",")).into_bytes()
}

/// `registry-proxy cache …` with the configuration of this setup.
pub(crate) async fn cache(setup: &Setup, arguments: &[&str]) -> Output {
    let config = setup.path().join("proxy.toml");
    setup.run(&[&["--config", config.to_str().unwrap(), "cache"], arguments].concat()).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it tells with `--json`, line by line.
pub(crate) fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Stops the server, so that the next commands open the store themselves.
async fn stop(product: &mut Product) {
    product.signal(rustix::process::Signal::TERM);
    assert!(product.wait().await.success());
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    let lab = Lab::new().await;
    let mut product = lab.serve().await;
    let socket = product.setup.path().join("cache/admin.sock");
    let mode = std::fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stop(&mut product).await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn what_is_here_is_told_alike_by_a_server_and_by_the_store_alone() {
    let lab = Lab::new().await;
    let mut product = lab.serve().await;
    for image in 0..3 {
        lab.pull(&product, image).await;
    }
    let one_layer = format!("/v2/app/blobs/{}", lab.layers[2].0);
    for is_running in [true, false] {
        if !is_running {
            stop(&mut product).await;
        }
        let stat = lines(&cache(&product.setup, &["stat", "--json"]).await).remove(0)["stat"].clone();
        assert_eq!(
            (stat["blobs"].as_u64(), stat["manifests"].as_u64(), stat["tags"].as_u64()),
            (Some(3), Some(3), Some(3))
        );
        assert!(stat["bytes"].as_u64().unwrap() > 300_000, "{stat}");
        assert_eq!(stat["fills"].as_u64(), is_running.then_some(0), "{stat}");
        let list = cache(&product.setup, &["list", "up.test/app:*"]).await;
        let shown = text(&list.stdout);
        let names: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["up.test/app:v1", "up.test/app:v2"]);
        assert!(shown.lines().all(|line| line.ends_with("complete")), "{shown}");
    }
    let hex = lab.layers[2].0.encoded();
    std::fs::remove_file(product.setup.path().join(format!("cache/v1/blobs/sha256/{}/{hex}", &hex[..2]))).unwrap();
    let shown = text(&cache(&product.setup, &["list", "**:v2"]).await.stdout);
    assert!(shown.trim_end().ends_with("1 of 2 layers"), "{shown} without {one_layer}");
}

#[tokio::test]
async fn a_purge_makes_the_next_pull_ask_and_leaves_what_others_need() {
    let lab = Lab::new().await;
    let product = lab.serve().await;
    for image in 0..3 {
        lab.pull(&product, image).await;
    }
    let dry = cache(&product.setup, &["purge", "--dry-run", "up.test/app:*"]).await;
    assert!(text(&dry.stdout).ends_with("would be removed: 2 tags, 2 manifests, 2 blobs, 195.7 KiB\n"), "{dry:?}");
    assert_eq!(lab.pull(&product, 0).await, ["hit", "hit", "hit"]);

    let asked = lab.upstream.seen().len();
    let gone = cache(&product.setup, &["purge", "up.test/app:v1", "--json"]).await;
    let purged = lines(&gone).pop().unwrap()["purged"].clone();
    assert_eq!(
        (purged["tags"].as_u64(), purged["manifests"].as_u64(), purged["blobs"].as_u64()),
        (Some(1), Some(1), Some(1))
    );
    assert!(!lab.file(&product, 1).exists() && lab.file(&product, 0).exists());
    for image in [1, 2] {
        assert!(lab.pull(&product, image).await.iter().all(|done| done == "hit"));
    }
    assert_eq!(lab.upstream.seen().len(), asked, "nobody needed to be asked");
    assert_eq!(lab.pull(&product, 0).await, ["filled", "hit", "filled"]);

    let layer = lab.layers[1].0.to_string();
    assert!(cache(&product.setup, &["purge", "--digest", &layer]).await.status.success());
    assert_eq!(lab.pull(&product, 0).await, ["hit", "hit", "filled"]);

    assert!(cache(&product.setup, &["purge", "--all"]).await.status.success());
    let stat = lines(&cache(&product.setup, &["stat", "--json"]).await).remove(0)["stat"].clone();
    for kind in ["blobs", "manifests", "tags", "links", "bytes"] {
        assert_eq!(stat[kind].as_u64(), Some(0), "{stat}");
    }
    assert_eq!(lab.pull(&product, 0).await, ["filled", "filled", "filled"]);
}

#[tokio::test]
async fn what_rotted_is_found_and_fetched_anew() {
    let lab = Lab::new().await;
    let mut product = lab.serve().await;
    lab.pull(&product, 0).await;
    let sound = cache(&product.setup, &["verify"]).await;
    assert_eq!(
        (sound.status.code(), text(&sound.stdout).ends_with("; 0 did not match\n")),
        (Some(0), true),
        "{sound:?}"
    );
    for is_running in [true, false] {
        let file = lab.file(&product, 1);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[50_000] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        if !is_running {
            stop(&mut product).await;
        }
        let found = cache(&product.setup, &["verify"]).await;
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        let shown = text(&found.stdout);
        assert!(shown.contains("does not match its digest, removed: v1/blobs/sha256/"), "{shown}");
        assert!(shown.contains(lab.layers[1].0.encoded()), "{shown}");
        assert!(!file.exists());
        if is_running {
            assert_eq!(lab.pull(&product, 0).await, ["hit", "hit", "filled"]);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_a_line() {
    let lab = Lab::new().await;
    let setup = Setup::new();
    setup.file("proxy.toml", &lab.configuration(&setup));
    for (arguments, status, part) in [
        (&["purge", "--digest", "sha256:12"][..], 2, "is not a digest"),
        (&["purge", "x", "--all"], 2, "cannot be used with"),
        (&["purge"], 2, "required"),
        (&["list", "nothing:*"], 0, ""),
    ] {
        let output = cache(&setup, arguments).await;
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(text(&output.stderr).contains(part), "{output:?}");
    }
    for (store, part) in [("memory:", "no server answers"), ("none", "nothing is cached")] {
        setup.file("proxy.toml", &one_upstream(&format!("[cache]\nstore='{store}'"), lab.upstream.address, ""));
        let output = cache(&setup, &["stat"]).await;
        assert_eq!((output.status.code(), text(&output.stderr).lines().count()), (Some(1), 1), "{output:?}");
        assert!(text(&output.stderr).contains(part), "{output:?}");
    }
    let help = text(&cache(&setup, &["--help"]).await.stdout);
    assert!(help.contains("registry-proxy cache purge 'docker.io/library/alpine:*'"), "{help}");
}

#[tokio::test]
async fn a_cache_in_memory_is_asked_through_a_socket_of_its_own() {
    let lab = Lab::new().await;
    let setup = Setup::new();
    let socket = setup.path().join("admin");
    let keys = format!("admin_socket='{}'\n[cache]\nstore='memory:'\ntag_ttl='1h'", socket.display());
    let product = setup.start(&one_upstream(&keys, lab.upstream.address, "")).await;
    lab.pull(&product, 2).await;
    assert_eq!(lab.pull(&product, 2).await, ["hit", "hit"]);
    assert!(cache(&product.setup, &["purge", "up.test/base"]).await.status.success());
    assert_eq!(lab.pull(&product, 2).await, ["filled", "filled"]);
}
