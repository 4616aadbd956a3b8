//! Verified small blobs stay in memory: they are read from the store once, for whoever may have them, and no longer than the
//! store has them.

use std::sync::Arc;

use bytes::Bytes;
use registry_proxy_core::admin::{CacheAdmin, Command, Purge};
use registry_proxy_core::cache::{Key, MemoryStore};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::Store;
use registry_proxy_core::testing::Step;

use crate::clock::TokioClock;
use crate::fixture::{Fixture, OCI_MANIFEST, Setup, TroubledStore, manifest_of, noise, troubled};

/// A proxy whose store counts, and a blob of this length that it has stored.
struct Lab {
    proxy: Fixture,
    memory: MemoryStore,
    store: Arc<TroubledStore>,
    blob: Bytes,
    digest: Digest,
    path: String,
}

impl Lab {
    async fn new(text: &str, length: usize) -> Self {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let store = troubled(&memory, |_, _| None);
        let proxy = Fixture::set_up(&Setup { text, store: Some(store.clone()), ..Setup::default() });
        let blob = noise(length);
        let digest = proxy.registry.put_blob("a/b", blob.clone());
        let path = format!("/v2/a/b/blobs/{digest}");
        assert_eq!(proxy.get(&path).await.done(), "filled");
        proxy.wait(1).await;
        let digest = Digest::parse(&digest).expect("a digest");
        Self { proxy, memory, store, blob, digest, path }
    }

    /// How often the store was asked for bytes of blobs.
    fn opened(&self) -> usize {
        [Step::OpenWhole, Step::OpenPart].iter().map(|step| self.store.hook.count(*step, "v1/blobs/")).sum()
    }

    async fn hit(&self) {
        let seen = self.proxy.get(&self.path).await;
        assert_eq!((seen.done(), &seen.body), ("hit", &self.blob));
    }

    async fn admin(&self, command: Command) {
        let admin = self.proxy.proxy.cache_admin().expect("a cache");
        admin.run(&command, &|_| {}).await.expect("it goes to its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_is_read_once_and_every_kind_of_request_is_served_from_memory() {
    let lab = Lab::new("", 8192).await;
    lab.hit().await;
    assert_eq!(lab.opened(), 1);
    let stats = lab.store.hook.count(Step::Stat, "v1/blobs/");
    let whole = lab.proxy.get(&lab.path).await;
    assert_eq!((whole.done(), whole.length, &whole.body), ("hit", Some(8192), &lab.blob));
    assert_eq!(whole.header("etag"), format!("\"{}\"", lab.digest));
    assert_eq!(whole.header("docker-content-digest"), lab.digest.as_str());
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(whole.header("cache-control"), "max-age=31536000, immutable, no-transform");
    let part = lab.proxy.get(&lab.path).header("range", "bytes=100-199").await;
    assert_eq!((part.status.as_u16(), part.done(), &part.body[..]), (206, "hit", &lab.blob[100..200]));
    assert_eq!(part.header("content-range"), "bytes 100-199/8192");
    let end = lab.proxy.get(&lab.path).header("range", "bytes=-10").await;
    assert_eq!((end.status.as_u16(), &end.body[..]), (206, &lab.blob[8182..]));
    let beyond = lab.proxy.get(&lab.path).header("range", "bytes=8192-").await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */8192"));
    let head = lab.proxy.head(&lab.path).await;
    assert_eq!((head.status.as_u16(), head.done(), head.header("content-length")), (200, "hit", "8192"));
    let known = lab.proxy.get(&lab.path).header("if-none-match", &format!("\"{}\"", lab.digest)).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(
        (lab.opened(), lab.store.hook.count(Step::Stat, "v1/blobs/")),
        (1, stats),
        "the store was not asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_more_than_64_kib_is_never_held_in_memory() {
    for (length, opened) in [(64 << 10, 1), ((64 << 10) + 1, 3)] {
        let lab = Lab::new("", length).await;
        for _ in 0..3 {
            lab.hit().await;
        }
        assert_eq!(lab.opened(), opened, "{length} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn without_memory_for_the_cache_small_blobs_come_from_the_store() {
    let lab = Lab::new("[cache]\nmemory='0'", 8192).await;
    for _ in 0..3 {
        lab.hit().await;
    }
    assert_eq!(lab.opened(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_gives_is_verified_before_it_stays_in_memory() {
    let lab = Lab::new("", 8192).await;
    // Of the same length, and by the store's account the same blob.
    let key = Key::blob(&lab.digest);
    lab.memory.remove(&key).await.expect("it is removed");
    let draft = lab.memory.draft(&key, Some(8192)).await.expect("a draft");
    draft.write_at(0, Bytes::from(vec![7; 8192])).await.expect("it is written");
    draft.commit(8192).await.expect("it is committed");
    for _ in 0..3 {
        let seen = lab.proxy.get(&lab.path).await;
        assert!(seen.end.is_err() || seen.body == lab.blob, "wrong bytes are never taken for a whole: {seen:?}");
        lab.proxy.wait(1).await;
    }
    lab.hit().await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_nothing_of_a_blob_in_memory() {
    for what in [Purge::All, Purge::Pattern("**".to_owned()), Purge::Digest(String::new())] {
        let lab = Lab::new("", 8192).await;
        let manifest = format!(r#"{{"layers":[{{"digest":"{}","size":8192}}]}}"#, lab.digest);
        lab.proxy.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
        lab.proxy.get("/v2/a/b/manifests/v1").await;
        lab.proxy.wait(1).await;
        lab.hit().await;
        let what = match what {
            Purge::Digest(_) => Purge::Digest(lab.digest.to_string()),
            what @ (Purge::All | Purge::Pattern(_)) => what,
        };
        lab.admin(Command::Purge { what: what.clone(), dry_run: true }).await;
        lab.hit().await;
        lab.admin(Command::Purge { what: what.clone(), dry_run: false }).await;
        assert_eq!(lab.proxy.get(&lab.path).await.done(), "filled", "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damage_that_verification_finds_ends_what_memory_has() {
    let lab = Lab::new("", 8192).await;
    lab.hit().await;
    let key = Key::blob(&lab.digest);
    lab.memory.remove(&key).await.expect("it is removed");
    let draft = lab.memory.draft(&key, Some(8192)).await.expect("a draft");
    draft.write_at(0, Bytes::from(vec![7; 8192])).await.expect("it is written");
    draft.commit(8192).await.expect("it is committed");
    lab.admin(Command::Verify).await;
    assert_eq!(lab.proxy.get(&lab.path).await.done(), "filled");
    lab.proxy.wait(1).await;
    lab.hit().await;
}

#[tokio::test(start_paused = true)]
async fn a_blob_in_memory_is_for_those_whom_the_registry_lets_in() {
    let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
    let setup = Setup { text: "[clients]\nauth='upstream'", store: Some(Arc::new(memory)), ..Setup::default() };
    let lab = Fixture::set_up(&setup).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/secret", &["alice"]);
    lab.registry.put_manifest("a/secret", "v1", OCI_MANIFEST, manifest_of(10));
    let path = format!("/v2/a/secret/blobs/{}", lab.registry.put_blob("a/secret", noise(500)));
    let alice = lab.login_for("alice", "wonder", "repository:a/secret:pull").await;
    let bob = lab.login_for("bob", "builder", "repository:a/secret:pull").await;
    for done in ["filled", "hit", "hit"] {
        assert_eq!(lab.get(&path).bearer(&alice).await.done(), done);
        lab.wait(1).await;
        assert!(lab.get(&path).bearer(&bob).await.is(403, "DENIED"));
        assert!(lab.get(&path).bearer(&bob).header("range", "bytes=0-9").await.is(403, "DENIED"));
        assert_eq!(lab.head(&path).bearer(&bob).await.status, 403);
    }
    lab.wait(70).await;
    assert_eq!(
        lab.get(&path).bearer(&alice).await.done(),
        "revalidated",
        "the registry is asked again after a minute"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_process_purges_is_served_while_memory_has_it() {
    let lab = Lab::new("", 8192).await;
    lab.hit().await;
    let store = Arc::clone(&lab.store) as Arc<dyn Store>;
    let elsewhere = CacheAdmin::of_store(store, lab.proxy.platform.clock.clone());
    elsewhere.run(&Command::Purge { what: Purge::All, dry_run: false }, &|_| {}).await.expect("it ends");
    // As with manifests: what a purge removed behind this process's back is served while memory has it.
    lab.hit().await;
}
