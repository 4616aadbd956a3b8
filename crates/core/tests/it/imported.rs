//! What `registry-proxy cache import` does with the cache: blobs are kept by their digests, and images get their names once
//! all of them is here. Then they are served like what was pulled.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use registry_proxy_core::admin::{
    AdoptError, AdoptMode, Adopted, Adoption, CacheAdmin, Command, Event, KeepError, Kept,
};
use registry_proxy_core::bundle::{BundleFault, BundleImage};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;

use crate::clock::TokioClock;
use crate::fixture::{Fixture, Setup, image, noise, upstream};

const OFFLINE: &str = "[cache]\noffline=true";
const V1: &str = "/v2/a/b/manifests/v1";

/// A proxy on a store, and whoever imports: the proxy's own administration, or one of the store alone.
struct Lab {
    fixture: Fixture,
    admin: CacheAdmin,
    store: Arc<MemoryStore>,
}

impl Lab {
    fn new(text: &str, is_live: bool) -> Self {
        let store = Arc::new(MemoryStore::new(1 << 30, Arc::new(TokioClock::start())));
        let fixture = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
        let admin = if is_live {
            fixture.proxy.cache_admin().expect("a cache")
        } else {
            CacheAdmin::of_store(store.clone(), Arc::new(TokioClock::start()))
        };
        Self { fixture, admin, store }
    }

    async fn keep(&self, bytes: &Bytes) -> Digest {
        let digest = Digest::sha256(bytes);
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let kept = self.admin.keep_blob(&digest, bytes.len() as u64, &mut stream::iter(pieces)).await;
        kept.expect("it has its digest");
        digest
    }

    async fn adopt(&self, name: &str, digest: &Digest) -> Result<Adopted, AdoptError> {
        let image = BundleImage::parse(name).expect("a name");
        let adoption = Adoption { image, digest: digest.clone(), size: None, manifest_limit: 10_000 };
        let checked = self.admin.adopt(&adoption, AdoptMode::Check).await;
        let written = self.admin.adopt(&adoption, AdoptMode::Write).await;
        match (&checked, &written) {
            (Ok(checked), Ok(written)) => assert_eq!(checked, written),
            (Err(checked), Err(written)) => assert_eq!(checked.to_string(), written.to_string()),
            (checked, written) => panic!("{checked:?}, and then {written:?}"),
        }
        written
    }

    /// What is in the store below these prefixes.
    async fn keys(&self) -> Vec<String> {
        use futures_util::StreamExt as _;
        let entries: Vec<_> = self.store.list("v1/").collect().await;
        entries.into_iter().map(|entry| entry.expect("an entry").key.to_string()).collect()
    }
}

/// An image of one layer, which differs with the text.
fn one_image(text: &str) -> (Bytes, Bytes) {
    let layer = Bytes::from([text.as_bytes(), &noise(5000)].concat());
    let manifest = format!(
        r#"{{"schemaVersion":2,"layers":[{{"digest":"{}","size":{}}}]}}"#,
        Digest::sha256(&layer),
        layer.len()
    );
    (manifest.into(), layer)
}

fn index_of(manifests: &[&Bytes]) -> Bytes {
    let one = |bytes: &&Bytes| format!(r#"{{"digest":"{}","size":{}}}"#, Digest::sha256(bytes), bytes.len());
    let all: Vec<String> = manifests.iter().map(one).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(",")).into()
}

#[tokio::test(start_paused = true)]
async fn what_is_imported_is_served_without_any_registry() {
    for is_live in [true, false] {
        let mut lab = Lab::new(OFFLINE, is_live);
        assert_eq!(lab.fixture.get(V1).await.status, 404, "before");
        let (manifest, layer) = one_image("imported");
        let blob = lab.keep(&layer).await;
        let digest = lab.keep(&manifest).await;
        assert_eq!(lab.fixture.get(V1).await.status, 404, "it has no name yet");
        let adopted = lab.adopt("reg.example/a/b:v1", &digest).await.expect("all of it is here");
        assert_eq!((&adopted.manifests, &adopted.blobs), (&vec![digest.clone()], &vec![blob.clone()]));
        assert_eq!(adopted.bytes, (manifest.len() + layer.len()) as u64);
        lab.admin.discard_blobs(std::slice::from_ref(&digest)).await.expect("a store");
        for is_restarted in [false, true] {
            if is_restarted {
                lab.fixture.restart(OFFLINE);
            }
            let seen = lab.fixture.get(V1).await;
            assert_eq!((seen.status.as_u16(), &seen.body), (200, &manifest), "live {is_live}");
            assert_eq!(seen.header("docker-content-digest"), digest.as_str());
            let by_digest = lab.fixture.get(&format!("/v2/a/b/manifests/{digest}")).await;
            assert_eq!(by_digest.body, manifest);
            let path = format!("/v2/a/b/blobs/{blob}");
            let range = lab.fixture.get(&path).header("range", "bytes=10-19").await;
            assert_eq!((range.status.as_u16(), &range.body[..]), (206, &layer[10..20]));
            assert_eq!(lab.fixture.get(&path).await.body, layer);
            let elsewhere = lab.fixture.get(&format!("/v2/other/name/blobs/{blob}")).await;
            assert_eq!(elsewhere.status, 404, "it was imported for one repository");
        }
        let told = std::sync::Mutex::new(Vec::new());
        let tell = |event| told.lock().expect("nobody panicked").push(event);
        lab.admin.run(&Command::List(None), &tell).await.expect("a store");
        let told = told.into_inner().expect("nobody panicked");
        let Some(Event::Image(image)) = told.iter().find(|event| matches!(event, Event::Image(_))) else {
            panic!("{told:?}")
        };
        assert_eq!((&*image.name, image.is_complete), ("reg.example/a/b:v1", true));
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_moves_a_tag_at_once() {
    let text = "[cache]\ntag_ttl='1h'";
    let lab = Lab::new(text, true);
    let (old, _) = image(&lab.fixture, "a/b", "old");
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), old);
    let (manifest, layer) = one_image("new");
    lab.keep(&layer).await;
    let new = lab.keep(&manifest).await;
    lab.adopt("reg.example/a/b:v1", &new).await.expect("all of it is here");
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), new.as_str());
    lab.fixture.wait(3601).await;
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), old, "what the registry says, counts");
}

#[tokio::test(start_paused = true)]
async fn an_import_passes_a_hold_and_no_pin() {
    let text = "[cache]\ntags=[{match='reg.example/**',hold='3d'}]";
    let lab = Lab::new(text, true);
    let (old, _) = image(&lab.fixture, "a/b", "old");
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), old);
    let (manifest, layer) = one_image("new");
    lab.keep(&layer).await;
    let new = lab.keep(&manifest).await;
    lab.adopt("reg.example/a/b:v1", &new).await.expect("all of it is here");
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), new.as_str());
    let image = "reg.example/a/b:v1".to_owned();
    lab.admin.run(&Command::Pin { image, digest: old.clone() }, &|_| {}).await.expect("a store");
    let refused = lab.adopt("reg.example/a/b:v1", &new).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("reg.example/a/b:v1 is pinned to {old}")), "{refused}");
    assert_eq!(lab.fixture.get(V1).await.header("docker-content-digest"), old);
}

#[tokio::test(start_paused = true)]
async fn nothing_gets_a_name_before_all_of_it_is_here() {
    for is_live in [true, false] {
        let lab = Lab::new(OFFLINE, is_live);
        let (manifest, layer) = one_image("one");
        let absent = Digest::sha256(&manifest);
        let fault = |refused: Result<Adopted, AdoptError>| match refused {
            Err(AdoptError::Missing(refusal) | AdoptError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        let refusal = fault(lab.adopt("reg.example/a/b:v1", &absent).await);
        assert_eq!((&*refusal.entry, refusal.fault), ("index.json", BundleFault::Missing(absent.to_string())));
        let digest = lab.keep(&manifest).await;
        let refusal = fault(lab.adopt("reg.example/a/b:v1", &digest).await);
        assert_eq!(refusal.entry, format!("blobs/sha256/{}", digest.encoded()));
        assert_eq!(refusal.fault, BundleFault::Missing(Digest::sha256(&layer).to_string()));
        lab.fixture.wait(1).await;
        let keys = lab.keys().await;
        assert!(keys.iter().all(|key| key.starts_with("v1/blobs/")), "{keys:?}");
        lab.keep(&layer).await;
        lab.adopt("reg.example/a/b:v1", &digest).await.expect("now it is");
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_does_without_the_platforms_that_are_not_here() {
    let lab = Lab::new(OFFLINE, false);
    let [(one, layer), (two, other_layer)] = ["one", "two"].map(one_image);
    let index = index_of(&[&one, &two]);
    let digest = lab.keep(&index).await;
    let refused = lab.adopt("reg.example/a/b:v1", &digest).await.unwrap_err();
    assert!(matches!(&refused, AdoptError::Missing(refusal) if refusal.fault == BundleFault::Incomplete));
    lab.keep(&one).await;
    let here = lab.keep(&layer).await;
    let adopted = lab.adopt("reg.example/a/b:v1", &digest).await.expect("one of them is here");
    assert_eq!(adopted.blobs, [here]);
    let left_out: Vec<&Digest> = adopted.left_out.iter().map(|(digest, _)| digest).collect();
    assert_eq!(left_out, [&Digest::sha256(&two)]);
    // Its manifest without its layer is as good as nothing.
    lab.keep(&two).await;
    let adopted = lab.adopt("reg.example/a/b:v1", &digest).await.expect("one of them is here");
    let (_, why) = &adopted.left_out[0];
    assert!(why.contains(Digest::sha256(&other_layer).as_str()), "{why}");
    let path = format!("/v2/a/b/manifests/{}", Digest::sha256(&two));
    assert_eq!(lab.fixture.get(&path).await.status, 404);
    assert_eq!(lab.fixture.get(V1).await.body, index);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_it_is_named_is_refused() {
    let lab = Lab::new(OFFLINE, false);
    let (manifest, layer) = one_image("one");
    let blob = lab.keep(&layer).await;
    let digest = lab.keep(&manifest).await;
    // Another length of the layer than it has.
    let wrong = Bytes::from(format!(r#"{{"layers":[{{"digest":"{blob}","size":7}}]}}"#));
    let wrong = lab.keep(&wrong).await;
    let text = format!(r#"{{"layers":[],"annotations":{{"a":"{}"}}}}"#, "x".repeat(10_000));
    let too_long = BundleFault::TooLong { bytes: text.len() as u64, limit_bytes: 10_000 };
    let long = lab.keep(&text.into()).await;
    let names = format!("blobs/sha256/{}", wrong.encoded());
    let mut deep = index_of(&[&manifest]);
    for _ in 0..3 {
        lab.keep(&deep).await;
        deep = index_of(&[&deep]);
    }
    let deep = lab.keep(&deep).await;
    let size = BundleFault::Size { is: layer.len() as u64, says: 7, names };
    for (named, entry, expected) in [
        (&blob, &blob, BundleFault::NoManifest),
        (&long, &long, too_long),
        (&wrong, &blob, size),
        (&deep, &digest, BundleFault::Depth(4)),
    ] {
        let Err(AdoptError::Refused(refusal)) = lab.adopt("reg.example/a/b:v1", named).await else {
            panic!("{expected:?}")
        };
        assert_eq!(refusal.entry, format!("blobs/sha256/{}", entry.encoded()), "{expected:?}");
        assert_eq!(refusal.fault, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_without_their_digest_are_not_kept() {
    for is_live in [true, false] {
        let lab = Lab::new(OFFLINE, is_live);
        let bytes = noise(3000);
        let digest = Digest::sha256(&bytes);
        let piece = |range: std::ops::Range<usize>| Ok(bytes.slice(range));
        let changed = Ok(Bytes::from(vec![7; 3000]));
        for (what, pieces) in [
            ("changed", vec![changed]),
            ("short", vec![piece(0..2999)]),
            ("long", vec![piece(0..3000), piece(0..1)]),
            ("broken", vec![piece(0..1000), Err("the pipe broke".to_owned())]),
            ("none", vec![]),
        ] {
            let kept = lab.admin.keep_blob(&digest, 3000, &mut stream::iter(pieces)).await;
            match kept {
                Err(KeepError::Source(why)) => assert_eq!((what, &*why), ("broken", "the pipe broke")),
                Err(KeepError::Mismatch(of)) => assert_eq!(of, digest),
                other => panic!("{what}: {other:?}"),
            }
            assert_eq!(lab.keys().await, [""; 0], "{what}");
        }
        let whole = || stream::iter(vec![piece(0..3000)]);
        for expected in [Kept::New, Kept::Already] {
            let kept = lab.admin.keep_blob(&digest, 3000, &mut whole()).await;
            assert_eq!(kept.expect("it has its digest"), expected);
        }
        let again = lab.admin.keep_blob(&digest, 3000, &mut stream::iter(vec![piece(0..2999)])).await;
        assert!(matches!(again, Err(KeepError::Mismatch(_))), "also of what is there");
        assert_eq!(lab.keys().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_imported_for_one_registry_is_no_other_ones() {
    let text =
        format!("{OFFLINE}\n{}[[upstream]]\nname='other.example'\nurls=['https://other.example']", upstream(""));
    let lab = Lab::new(&text, true);
    let (manifest, layer) = one_image("one");
    let blob = lab.keep(&layer).await;
    let digest = lab.keep(&manifest).await;
    lab.adopt("reg.example/a/b:v1", &digest).await.expect("all of it is here");
    assert_eq!(lab.fixture.get(&format!("/v2/a/b/blobs/{blob}")).await.status, 200);
    for path in [format!("manifests/{digest}"), "manifests/v1".to_owned(), format!("blobs/{blob}")] {
        let seen = lab.fixture.get(&format!("/v2/other.example/a/b/{path}")).await;
        assert_eq!(seen.status, 404, "{path}");
    }
}
