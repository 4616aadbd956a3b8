//! Many blobs that are ready at once, and uploads that do not come to their end.

use std::time::SystemTime;

use futures_util::future::join_all;
use registry_proxy_core::Config;
use registry_proxy_core::notification::Notifications;

use super::*;
use crate::assemble;
use crate::store::objects::bucket::TURNS;

#[tokio::test]
async fn many_commits_at_once_take_turns() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let blobs: Vec<Bytes> = (0..12).map(|number| content(number, 300_000)).collect();
    let keys = join_all(blobs.iter().map(|bytes| put(&store, bytes))).await;
    let most = server.most_arriving.load(Ordering::Relaxed);
    assert!((1..=TURNS).contains(&most), "{most} at once");
    for (key, bytes) in keys.iter().zip(&blobs) {
        let found = store.open(key, None).await.unwrap().unwrap();
        assert!(found.body.collect(u64::MAX).await.unwrap() == *bytes, "the bytes");
    }
}

/// Keys of the blobs of which the server has parts.
fn unfinished(server: &Server) -> Vec<String> {
    server.unfinished.lock().unwrap().values().map(|sent| sent.key.clone()).collect()
}

#[tokio::test]
async fn an_upload_that_cannot_be_completed_leaves_no_parts() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let key = Key::blob(&Digest::sha256(b"one"));
    let mut upload = store.upload(&key).await.unwrap();
    // Another process sends other bytes in the place of these.
    let mut other = store.resume_upload(&key, &upload.park()).await.unwrap().unwrap();
    upload.part(content(1, 1000)).await.unwrap();
    other.part(content(2, 1000)).await.unwrap();
    assert_eq!(unfinished(&server), [format!("p/{key}")]);
    assert!(upload.commit().await.is_err());
    assert_eq!(unfinished(&server), [""; 0]);
    assert!(store.stat(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn an_upload_that_may_not_be_completed_now_is_completed_later() {
    let server = Server::start().await;
    let store = server.store("p", SECRET_KEY);
    let key = Key::blob(&Digest::sha256(b"one"));
    let mut upload = store.upload(&key).await.unwrap();
    upload.part(content(1, 1000)).await.unwrap();
    let parked = upload.park();
    let refused = server.store("p", "a wrong secret").resume_upload(&key, &parked).await.unwrap().unwrap();
    assert!(matches!(refused.commit().await, Err(StoreError::Denied(_))));
    assert_eq!(unfinished(&server), [format!("p/{key}")]);
    store.resume_upload(&key, &parked).await.unwrap().unwrap().commit().await.unwrap();
    assert_eq!(store.stat(&key).await.unwrap().unwrap().length, 1000);
}

#[tokio::test]
async fn a_sweep_aborts_what_nobody_goes_on_with() {
    let server = Server::start().await;
    let store = Arc::new(server.store("p", SECRET_KEY));
    let [left, going_on] = [&b"left"[..], b"going on"].map(Digest::sha256);
    for digest in [&left, &going_on] {
        let mut upload = store.upload(&Key::blob(digest)).await.unwrap();
        upload.part(content(1, 1000)).await.unwrap();
        let record = format!("1\n2000\n0\n{}\n0\n{}", digest.encoded(), upload.park());
        store.write(&Key::ingest(digest), record.into(), Precondition::Always).await.unwrap();
    }
    let record = server.dir.path().join("objects/bucket/p").join(Key::ingest(&left).as_str());
    let hours_ago = SystemTime::now() - Duration::from_hours(2);
    std::fs::File::options().write(true).open(record).unwrap().set_modified(hours_ago).unwrap();

    let proxy =
        assemble::proxy(&Config::default(), Some(Arc::clone(&store) as Arc<dyn Store>), Notifications::default())
            .unwrap();
    assert!(proxy.janitor().unwrap().once(true).await);
    assert_eq!(unfinished(&server), [format!("p/{}", Key::blob(&going_on))]);
    assert!(store.read(&Key::ingest(&left)).await.unwrap().is_none());
    assert!(store.read(&Key::ingest(&going_on)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sweep_aborts_what_a_process_that_died_had_begun() {
    let server = Server::start().await;
    let [store, other] = ["some/where", "some"].map(|prefix| server.store(prefix, SECRET_KEY));
    let [old, new] = [&b"old"[..], b"new"].map(|name| Key::blob(&Digest::sha256(name)));
    for (store, key) in [(&store, &old), (&store, &new), (&other, &old)] {
        store.upload(key).await.unwrap().part(content(1, 1000)).await.unwrap();
    }
    for sent in server.unfinished.lock().unwrap().values_mut().filter(|sent| sent.key.ends_with(old.as_str())) {
        sent.begun -= Duration::from_hours(25);
    }
    let age = Duration::from_hours(1);
    assert_eq!(store.sweep(age).await.unwrap().count, 1);
    let mut left = unfinished(&server);
    left.sort();
    assert_eq!(left, [format!("some/{old}"), format!("some/where/{new}")]);
    assert_eq!(other.sweep(age).await.unwrap().count, 1);
    // A store that may not list aborts none.
    assert_eq!(server.store("some", "a wrong secret").sweep(age).await.unwrap().count, 0);
}
