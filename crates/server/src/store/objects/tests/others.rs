//! The same against object stores that others make, which `cargo xtask test` installs and starts: `SeaweedFS` and moto.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// Names and addresses, with spaces between: `seaweedfs http://127.0.0.1:8333`. Each has a bucket by the name `bucket`,
/// and [`ACCESS_KEY`] with [`SECRET_KEY`] may do everything there.
const VARIABLE: &str = "REGISTRY_PROXY_TEST_BUCKETS";

fn others() -> Vec<(String, String)> {
    let named = std::env::var(VARIABLE).unwrap_or_default();
    if named.is_empty() {
        eprintln!("no object store of others is tried: {VARIABLE} is not set");
    }
    let words: Vec<&str> = named.split_whitespace().collect();
    words.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// Nothing is below a prefix that was never used.
fn fresh(endpoint: &str, what: &str, number: usize) -> Url {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("s3://bucket/{what}-{now}-{number}?endpoint={endpoint}").parse().unwrap()
}

#[tokio::test]
async fn object_stores_of_others_keep_the_contract() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, endpoint) in others() {
        eprintln!("{name}");
        let number = std::cell::Cell::new(0);
        store_contract(|| {
            number.set(number.get() + 1);
            let url = fresh(&endpoint, "contract", number.get());
            Arc::new(open(&url, SECRET_KEY, scratch.path()).unwrap())
        })
        .await;
    }
}

#[tokio::test]
async fn object_stores_of_others_keep_the_contract_of_uploads() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, endpoint) in others() {
        eprintln!("{name}");
        let number = std::cell::Cell::new(0);
        // moto says of every upload that it was begun in 2010 (`Initiated` in its moto/s3/responses.py), so that each of
        // them has been forgotten for a day.
        let passed_over: &[&str] =
            if name == "moto" { &["a sweep leaves uploads alone that are open"] } else { &[] };
        upload_contract_but(passed_over, || {
            number.set(number.get() + 1);
            let url = fresh(&endpoint, "uploads", number.get());
            [(); 2].map(|()| Arc::new(open(&url, SECRET_KEY, scratch.path()).unwrap()) as Arc<dyn Store>)
        })
        .await;
    }
}

#[tokio::test]
async fn a_wrong_object_in_a_store_of_others_is_fetched_anew() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, endpoint) in others() {
        eprintln!("{name}");
        let store = open(&fresh(&endpoint, "wrong", 0), SECRET_KEY, scratch.path()).unwrap();
        wrong::heals(&Arc::new(store)).await;
    }
}

#[tokio::test]
async fn a_blob_of_several_parts_comes_back_whole_from_a_store_of_others() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, endpoint) in others() {
        let store = open(&fresh(&endpoint, "parts", 0), SECRET_KEY, scratch.path()).unwrap();
        let bytes = content(1, 2 * PART_BYTES + 12_345);
        let key = put(&store, &bytes).await;
        let found = store.open(&key, None).await.unwrap().unwrap();
        assert!(found.body.collect(u64::MAX).await.unwrap() == bytes, "{name}");
    }
}
