//! Bundles of every kind are imported into a store in memory, and exported from it.

mod hostile;

use std::io::Cursor;
use std::sync::Arc;

use futures_util::StreamExt as _;
use registry_proxy_core::Config;
use registry_proxy_core::admin::CacheAdmin;
use registry_proxy_core::bundle::{BundleImage, INDEX_FILE, LAYOUT_FILE, LAYOUT_JSON, PlatformFilter, blob_path};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::Sources;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;
use tar::{EntryType, Header};

use super::access::CacheAccess;
use super::archive::{Archive, ArchiveInput, BLOCK};
use super::export::Export;
use super::import::Import;
use super::show::Show;
use super::source::BundleSource;
use crate::runtime::SystemClock;

const NAME: &str = "docker.io/library/a:1";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A cache in memory, and the defaults of the configuration.
struct Lab {
    store: Arc<MemoryStore>,
    access: CacheAccess,
    config: Config,
    show: Show,
}

impl Lab {
    fn new() -> Self {
        let sources = Sources { text: Some(""), variables: vec![], read: &|path| Ok(path.to_owned()) };
        let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(SystemClock)));
        let access = CacheAccess::Store(CacheAdmin::of_store(store.clone(), Arc::new(SystemClock)));
        Self { store, access, config: Config::load(&sources).unwrap(), show: Show::new(true).beside_output() }
    }

    async fn import(&self, archive: ArchiveInput, name: Option<&str>) -> Result<(), String> {
        self.import_from(BundleSource::Archive(Archive::new(archive)), name).await
    }

    async fn import_from(&self, source: BundleSource, name: Option<&str>) -> Result<(), String> {
        let name = name.map(|name| BundleImage::parse(name).unwrap());
        Import { access: &self.access, config: &self.config, name, show: &self.show }.run(source, None).await
    }

    async fn export(&self, names: &[&str], platforms: &[&str], since: &[&str], to: &str) -> Result<(), String> {
        let images = names.iter().map(|name| BundleImage::parse(name).unwrap()).collect();
        let platforms: Vec<String> = platforms.iter().map(|one| (*one).to_owned()).collect();
        let since = since.iter().map(|one| (*one).to_owned()).collect();
        let (access, config, show) = (&self.access, &self.config, &self.show);
        let platforms = PlatformFilter::parse(&platforms).unwrap();
        Export { access, config, images, platforms, since, show }.run(to).await
    }

    async fn keys(&self) -> Vec<String> {
        let entries: Vec<_> = self.store.list("v1/").collect().await;
        let mut keys: Vec<_> = entries.into_iter().map(|entry| entry.unwrap().key.to_string()).collect();
        keys.sort_unstable();
        keys
    }

    /// Whether this image is in the cache with all that it names.
    async fn has(&self, name: &str, parts: &[&Digest]) -> bool {
        let Some(digest) = self.access.led_to(&BundleImage::parse(name).unwrap()).await.unwrap() else {
            return false;
        };
        if self.access.manifest(&digest, 1 << 20).await.unwrap().is_none() {
            return false;
        }
        for part in parts {
            if self.access.blob_bytes(part).await.unwrap().is_none() {
                return false;
            }
        }
        true
    }
}

fn seekable(bytes: &[u8]) -> ArchiveInput {
    ArchiveInput::File(Box::new(Cursor::new(bytes.to_vec())))
}

fn pipe(bytes: &[u8]) -> ArchiveInput {
    ArchiveInput::Pipe(Box::new(Cursor::new(bytes.to_vec())))
}

/// An archive that is made by hand, so that it can be wrong in every way.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.entry(name.as_bytes(), b'0', bytes.len() as u64, bytes)
    }

    fn blob(self, bytes: &[u8]) -> Self {
        self.file(&blob_path(&Digest::sha256(bytes)), bytes)
    }

    /// An entry that claims to have so many bytes.
    fn entry(mut self, name: &[u8], kind: u8, size: u64, bytes: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// The two blocks of zeros at the end.
    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }
}

/// A layer, and the manifest that names it.
fn image(text: &str) -> (Vec<u8>, Vec<u8>) {
    let layer = text.repeat(300).into_bytes();
    (manifest_of(&Digest::sha256(&layer), layer.len()), layer)
}

fn manifest_of(layer: &Digest, size: usize) -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":[{{"digest":"{layer}","size":{size}}}]}}"#)
        .into_bytes()
}

/// An index of manifests, each with its platform.
fn index_of(manifests: &[(&[u8], &str)]) -> Vec<u8> {
    let one = |(bytes, platform): &(&[u8], &str)| {
        let (os, architecture) = platform.split_once('/').unwrap();
        format!(
            r#"{{"digest":"{}","size":{},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
            Digest::sha256(bytes),
            bytes.len()
        )
    };
    let all: Vec<String> = manifests.iter().map(one).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(",")).into_bytes()
}

/// `index.json` with these images.
fn index_json(images: &[(&str, &[u8])]) -> Vec<u8> {
    let one = |(name, bytes): &(&str, &[u8])| {
        format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#,
            Digest::sha256(bytes),
            bytes.len()
        )
    };
    let all: Vec<String> = images.iter().map(one).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(",")).into_bytes()
}

#[tokio::test]
async fn entries_may_come_in_any_order() {
    let (manifest, layer) = image("a");
    let index = index_json(&[(NAME, &manifest)]);
    let (manifest_path, layer_path) = (blob_path(&Digest::sha256(&manifest)), blob_path(&Digest::sha256(&layer)));
    let entries = [
        (LAYOUT_FILE, LAYOUT_JSON.as_bytes()),
        (INDEX_FILE, &index),
        (&manifest_path, &manifest),
        (&layer_path, &layer),
    ];
    let (mut keys, mut count) = (Vec::new(), 0);
    for order in 0..4_usize.pow(4) {
        let order = [order % 4, order / 4 % 4, order / 16 % 4, order / 64];
        if (0..4).any(|at| !order.contains(&at)) {
            continue;
        }
        count += 1;
        let tar = order.iter().fold(Tar::default(), |tar, at| tar.file(entries[*at].0, entries[*at].1)).end();
        for input in [seekable(&tar), pipe(&tar)] {
            let lab = Lab::new();
            lab.import(input, None).await.unwrap();
            assert!(lab.has(NAME, &[&Digest::sha256(&layer)]).await);
            let now = lab.keys().await;
            assert!(keys.is_empty() || keys == now, "{keys:?} and {now:?}");
            keys = now;
        }
    }
    assert_eq!(count, 24);
    // A blob, a manifest, a tag, and for both digests who gave them and where they belong.
    assert_eq!(keys.len(), 7, "{keys:?}");
}

/// As moby writes it since version 25, in the order of names: image/tarexport/save.go. Each layer has a configuration of the
/// form of 2013 among the blobs, which nothing names.
#[tokio::test]
async fn what_docker_saves_is_taken() {
    let (config, layer) = (br#"{"architecture":"amd64","os":"linux"}"#, b"layer".repeat(1000));
    let (config_digest, layer_digest) = (Digest::sha256(config), Digest::sha256(&layer));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{},"platform":{{"architecture":"amd64","os":"linux"}}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
        config.len(),
        layer.len()
    );
    let manifest = manifest.as_bytes();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"annotations":{{"io.containerd.image.name":"docker.io/library/hello:latest","org.opencontainers.image.ref.name":"latest"}},"platform":{{"architecture":"amd64","os":"linux"}}}}]}}"#,
        Digest::sha256(manifest),
        manifest.len()
    );
    let docker = format!(
        r#"[{{"Config":"{}","RepoTags":["hello:latest"],"Layers":["{}"]}}]"#,
        blob_path(&config_digest),
        blob_path(&layer_digest)
    );
    let legacy = br#"{"id":"0","created":"1970-01-01T00:00:00Z","container_config":{}}"#;
    let tar = Tar::default()
        .entry(b"blobs/", b'5', 0, b"")
        .entry(b"blobs/sha256/", b'5', 0, b"")
        .blob(legacy)
        .blob(manifest)
        .blob(config)
        .blob(&layer)
        .file(INDEX_FILE, index.as_bytes())
        .file("manifest.json", docker.as_bytes())
        .file(LAYOUT_FILE, LAYOUT_JSON.as_bytes())
        .file("repositories", br#"{"hello":{"latest":"0"}}"#)
        .end();
    let lab = Lab::new();
    lab.import(pipe(&tar), None).await.unwrap();
    assert!(lab.has("docker.io/library/hello:latest", &[&config_digest, &layer_digest]).await);
    let blobs = lab.keys().await.iter().filter(|key| key.starts_with("v1/blobs/")).count();
    assert_eq!(blobs, 2, "what nothing names is not kept");
}

#[tokio::test]
async fn a_directory_is_taken_and_no_link_in_it_is_followed() {
    let (manifest, layer) = image("a");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    write(LAYOUT_FILE, LAYOUT_JSON.as_bytes());
    write(INDEX_FILE, &index_json(&[("1", &manifest)]));
    write(&blob_path(&Digest::sha256(&manifest)), &manifest);
    let path = blob_path(&Digest::sha256(&layer));
    write("elsewhere", &layer);
    let place = folder.path().to_str().unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join(&path)).unwrap();
    let lab = Lab::new();
    let (source, _) = BundleSource::open(place).unwrap();
    let refused = lab.import_from(source, Some(NAME)).await.unwrap_err();
    assert!(refused.starts_with(&format!("{path}: this is a symbolic link")), "{refused}");
    assert_eq!(lab.keys().await, [""; 0]);
    std::fs::remove_file(folder.path().join(&path)).unwrap();
    write(&path, &layer);
    let (source, _) = BundleSource::open(place).unwrap();
    lab.import_from(source, Some(NAME)).await.unwrap();
    assert!(lab.has(NAME, &[&Digest::sha256(&layer)]).await);
}

#[tokio::test]
async fn what_is_exported_is_imported_again_to_the_byte() {
    let [(one, one_layer), (two, two_layer), (other, other_layer)] = ["one", "two", "other"].map(image);
    let index = index_of(&[(&one, "linux/amd64"), (&two, "linux/arm64"), (&other, "linux/s390x")]);
    let tar = Tar::default()
        .file(LAYOUT_FILE, LAYOUT_JSON.as_bytes())
        .file(INDEX_FILE, &index_json(&[(NAME, &index), ("docker.io/library/one:1", &one)]))
        .blob(&index)
        .blob(&one)
        .blob(&two)
        .blob(&one_layer)
        .blob(&two_layer)
        .end();
    let (here, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    here.import(seekable(&tar), None).await.unwrap();
    let [one_layer, two_layer, other_layer] = [&one_layer, &two_layer, &other_layer].map(|it| Digest::sha256(it));
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let there = async |name: &str| {
        let lab = Lab::new();
        lab.import_from(BundleSource::open(&file(name)).unwrap().0, None).await.map(|()| lab)
    };

    here.export(&[NAME], &[], &[], &file("all.tar")).await.unwrap();
    let lab = there("all.tar").await.unwrap();
    assert!(lab.has(NAME, &[&one_layer, &two_layer]).await && !lab.has(NAME, &[&other_layer]).await);

    here.export(&[NAME], &["linux/amd64"], &[], &file("amd64.tar")).await.unwrap();
    let lab = there("amd64.tar").await.unwrap();
    assert!(lab.has(NAME, &[&one_layer]).await && !lab.has(NAME, &[&two_layer]).await);

    // Only what is new, and only for who has the rest.
    here.export(&[NAME, "docker.io/library/one:1"], &[], &[&file("amd64.tar")], &file("new.tar")).await.unwrap();
    let size = |name: &str| std::fs::metadata(file(name)).unwrap().len();
    assert!(size("new.tar") < size("all.tar"));
    let refused = there("new.tar").await.err().unwrap();
    assert!(refused.contains("if this bundle was made with --since, import the older one first"), "{refused}");
    lab.import_from(BundleSource::open(&file("new.tar")).unwrap().0, None).await.unwrap();
    assert!(lab.has(NAME, &[&one_layer, &two_layer]).await);
    assert!(lab.has("docker.io/library/one:1", &[&one_layer]).await);

    for (names, platforms, expected) in [
        (&[NAME][..], &["linux/s390x"][..], "linux/s390x: the manifest"),
        (&[NAME], &["linux/riscv64"], "it has no image for linux/riscv64; it has linux/amd64, linux/arm64"),
        (&["docker.io/library/none:1"], &[], "docker.io/library/none:1: its tag is not cached"),
    ] {
        let refused = here.export(names, platforms, &[], &file("refused.tar")).await.unwrap_err();
        assert!(refused.contains(expected) && refused.contains("registry-proxy warm docker.io/"), "{refused}");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["all.tar", "amd64.tar", "new.tar"], "nothing unfinished is left");
}
