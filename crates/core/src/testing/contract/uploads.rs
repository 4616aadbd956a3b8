//! What every store promises of uploads in parts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};

use super::{content, done, get, hold, list};
use crate::cache::Key;
use crate::digest::Digest;
use crate::platform::{Store, Upload};

/// One and the same store, as two processes have it.
type Both = [Arc<dyn Store>; 2];

/// One promise: its name, and what holds a fresh store to it.
type UploadCheck = (&'static str, fn(Both) -> BoxFuture<'static, ()>);

const CHECKS: [UploadCheck; 9] = [
    ("parts are one blob, in order", |both| in_order(both).boxed()),
    ("an upload is invisible until it is committed", |both| invisible(both).boxed()),
    ("an upload that was parked goes on in another process", |both| resumed(both).boxed()),
    ("parts sent after parking are sent again", |both| sent_again(both).boxed()),
    ("an upload may be empty", |both| empty(both).boxed()),
    ("a part that is too long, or behind a short one, is refused", |both| odd(both).boxed()),
    ("what is aborted is gone", |both| aborted(both).boxed()),
    ("what nobody parked is not gone on with", |both| garbage(both).boxed()),
    ("a sweep leaves uploads alone that are open", |both| swept(both).boxed()),
];

/// Holds fresh stores that upload in parts to everything: `make` gives one and the same store twice, as two processes
/// open it.
///
/// # Panics
///
/// Where a promise is broken, with its name.
pub async fn upload_contract(make: impl Fn() -> [Arc<dyn Store>; 2]) {
    upload_contract_but(&[], make).await;
}

/// The same but for some promises, which the server behind the store is known to make impossible.
///
/// # Panics
///
/// Where any other is broken, and where one of these does not exist.
pub async fn upload_contract_but(passed_over: &[&str], make: impl Fn() -> [Arc<dyn Store>; 2]) {
    for name in passed_over {
        assert!(CHECKS.iter().any(|(known, _)| known == name), "{name}: there is no such promise");
    }
    for (name, check) in CHECKS.iter().filter(|(name, _)| !passed_over.contains(name)) {
        hold(name, check(make())).await;
    }
}

async fn begin(store: &dyn Store, key: &Key) -> Box<dyn Upload> {
    let upload = done(store.upload(key).await);
    assert!(upload.part_bytes() > 0 && upload.part_bytes().is_multiple_of(64), "{}", upload.part_bytes());
    upload
}

async fn resume(store: &dyn Store, key: &Key, parked: &str) -> Box<dyn Upload> {
    done(store.resume_upload(key, parked).await).expect("what was parked")
}

/// Sends all of it but the first `sent` parts.
async fn send(upload: &mut dyn Upload, bytes: &Bytes, sent: usize) {
    let most = upload.part_bytes();
    for first in (sent * most..bytes.len()).step_by(most) {
        done(upload.part(bytes.slice(first..bytes.len().min(first + most))).await);
    }
}

/// A blob of so many whole parts, and a few bytes.
async fn blob(store: &dyn Store, number: u64, parts: usize) -> (Key, Bytes) {
    let key = Key::blob(&Digest::sha256(&number.to_le_bytes()));
    let upload = begin(store, &key).await;
    let bytes = content(number, parts * upload.part_bytes() + 4321);
    done(upload.abort().await);
    (key, bytes)
}

async fn is_absent(store: &dyn Store, key: &Key) -> bool {
    list(store, "").await.is_empty() && done(store.stat(key).await).is_none()
}

async fn in_order([store, other]: Both) {
    for (number, parts, surplus) in [(20, 0, 1), (21, 1, 0), (22, 2, 12_345)] {
        let key = Key::blob(&Digest::sha256(&[number]));
        let mut upload = begin(&*store, &key).await;
        let bytes = content(number.into(), parts * upload.part_bytes() + surplus);
        send(&mut *upload, &bytes, 0).await;
        done(upload.commit().await);
        assert!(get(&*other, &key, None).await == Some(bytes), "{parts} parts and {surplus} bytes");
    }
}

async fn invisible([store, other]: Both) {
    let (key, bytes) = blob(&*store, 23, 1).await;
    let mut upload = begin(&*store, &key).await;
    send(&mut *upload, &bytes, 0).await;
    assert!(is_absent(&*store, &key).await && is_absent(&*other, &key).await);
    drop(upload);
    assert!(is_absent(&*store, &key).await && is_absent(&*other, &key).await, "after it was dropped");
}

async fn resumed([store, other]: Both) {
    let (key, bytes) = blob(&*store, 24, 2).await;
    let mut upload = begin(&*store, &key).await;
    let nothing = upload.park();
    drop(upload);
    upload = resume(&*other, &key, &nothing).await;
    let most = upload.part_bytes();
    done(upload.part(bytes.slice(..most)).await);
    let one = upload.park();
    assert!(!one.contains(['\n', '\r']) && one.len() < 1000, "{one}");
    drop(upload);
    drop(other);
    upload = resume(&*store, &key, &one).await;
    assert_eq!(upload.park(), one);
    send(&mut *upload, &bytes, 1).await;
    let all = upload.park();
    drop(upload);
    done(resume(&*store, &key, &all).await.commit().await);
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes");
    if let Ok(Some(late)) = store.resume_upload(&key, &one).await {
        assert!(late.commit().await.is_err(), "what is committed is committed once");
    }
}

/// A process dies after it sent a part and before it wrote down that it did.
async fn sent_again([store, other]: Both) {
    let (key, bytes) = blob(&*store, 25, 2).await;
    let mut upload = begin(&*store, &key).await;
    let most = upload.part_bytes();
    done(upload.part(bytes.slice(..most)).await);
    let parked = upload.park();
    done(upload.part(content(99, most)).await);
    done(upload.part(content(98, most)).await);
    done(upload.part(content(97, 1)).await);
    drop(upload);
    upload = resume(&*other, &key, &parked).await;
    send(&mut *upload, &bytes, 1).await;
    done(upload.commit().await);
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes");
}

async fn empty([store, _]: Both) {
    let key = Key::blob(&Digest::sha256(b""));
    done(begin(&*store, &key).await.commit().await);
    assert_eq!(get(&*store, &key, None).await, Some(Bytes::new()));
}

async fn odd([store, _]: Both) {
    let (key, bytes) = blob(&*store, 26, 2).await;
    let mut upload = begin(&*store, &key).await;
    let most = upload.part_bytes();
    assert!(upload.part(bytes.slice(..=most)).await.is_err(), "too long");
    assert!(upload.part(Bytes::new()).await.is_err(), "empty");
    done(upload.part(bytes.slice(..most - 64)).await);
    assert!(upload.part(bytes.slice(..64)).await.is_err(), "behind a short one");
    let parked = upload.park();
    drop(upload);
    let mut upload = resume(&*store, &key, &parked).await;
    assert!(upload.part(bytes.slice(..64)).await.is_err(), "behind a short one that was parked");
    assert!(is_absent(&*store, &key).await);
}

async fn aborted([store, other]: Both) {
    let (key, bytes) = blob(&*store, 27, 1).await;
    let mut upload = begin(&*store, &key).await;
    send(&mut *upload, &bytes, 0).await;
    let parked = upload.park();
    drop(upload);
    done(resume(&*store, &key, &parked).await.abort().await);
    assert!(is_absent(&*store, &key).await);
    assert!(!goes_on(&*other, &key, &parked).await);
}

/// Whether a store would make a blob of what was parked.
async fn goes_on(store: &dyn Store, key: &Key, parked: &str) -> bool {
    match store.resume_upload(key, parked).await {
        Ok(None) | Err(_) => false,
        Ok(Some(upload)) => upload.commit().await.is_ok(),
    }
}

async fn garbage([store, other]: Both) {
    let (key, bytes) = blob(&*store, 28, 1).await;
    let mut upload = begin(&*store, &key).await;
    send(&mut *upload, &bytes, 0).await;
    let parked = upload.park();
    drop(upload);
    let foreign = Key::blob(&Digest::sha256(b"foreign"));
    assert!(!goes_on(&*other, &foreign, &parked).await, "another key");
    let mut texts: Vec<String> =
        ["", " ", "\n", "x", "../../etc/passwd", "memory-1 1 0", "file-1 ../x 1", "s3-1 x 1 1 \u{0}"]
            .map(str::to_owned)
            .into();
    let words: Vec<&str> = parked.split(' ').collect();
    for index in 0..words.len() {
        for bad in ["", "0", "99", "-1", "../x", "é", "99999999999999999999999"] {
            let mut changed = words.clone();
            if let Some(word) = changed.get_mut(index).filter(|word| **word != bad) {
                *word = bad;
                texts.push(changed.join(" "));
            }
        }
    }
    texts.push(format!("{parked} {}", "1 ".repeat(20_000)));
    for text in texts {
        if goes_on(&*store, &key, &text).await {
            // A store need not find a lie, but what it makes of one is nothing that nobody sent.
            assert!(get(&*store, &key, None).await == Some(bytes), "torn by {text:?}");
            return;
        }
        assert!(is_absent(&*store, &key).await && is_absent(&*store, &foreign).await, "{text:?}");
    }
    assert!(goes_on(&*store, &key, &parked).await, "garbage does no harm");
    assert!(get(&*store, &key, None).await == Some(bytes), "the bytes");
}

async fn swept([store, other]: Both) {
    let (key, bytes) = blob(&*store, 29, 1).await;
    let mut upload = begin(&*store, &key).await;
    let most = upload.part_bytes();
    done(upload.part(bytes.slice(..most)).await);
    done(other.sweep(Duration::ZERO).await);
    send(&mut *upload, &bytes, 1).await;
    done(store.sweep(Duration::ZERO).await);
    done(upload.commit().await);
    assert!(get(&*store, &key, None).await == Some(bytes.clone()), "the bytes");
    done(store.remove(&key).await);
    upload = begin(&*store, &key).await;
    send(&mut *upload, &bytes, 0).await;
    let parked = upload.park();
    drop(upload);
    done(store.sweep(Duration::ZERO).await);
    if goes_on(&*other, &key, &parked).await {
        assert!(get(&*store, &key, None).await == Some(bytes), "torn by a sweep");
    }
}
