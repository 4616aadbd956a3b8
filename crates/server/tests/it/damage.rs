//! Kept blobs that were damaged behind our back: noticed, never served whole, not served twice, and fetched again.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use registry_proxy_core::digest::Digest;

use crate::disks::{keys, served_within, until};
use crate::fixture::{Product, Shelf, attempt, kept, noise, one_upstream, place_of, soon};

/// Waits until so many blobs have been fetched and put away.
async fn until_filled(product: &Product, count: u64) {
    soon("the end of fills", async {
        while product.metric("registry_proxy_fills_total", "result=\"filled\"").await < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// What may happen to a file behind our back.
#[derive(Debug, Clone, Copy)]
enum Damage {
    FirstByte,
    LastByte,
    Half,
    Nothing,
    Longer,
}

impl Damage {
    const ALL: [Self; 5] = [Self::FirstByte, Self::LastByte, Self::Half, Self::Nothing, Self::Longer];

    fn befall(self, file: &Path) {
        let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
        let length = file.metadata().unwrap().len();
        let flip = |at: u64| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        };
        match self {
            Self::FirstByte => flip(0),
            Self::LastByte => flip(length - 1),
            Self::Half => file.set_len(length / 2).unwrap(),
            Self::Nothing => file.set_len(0).unwrap(),
            Self::Longer => file.write_all_at(b"more", length).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_cached_blob_that_was_damaged_is_noticed_and_fetched_again() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Shelf::default());
    let upstream = shelf.serve(Duration::ZERO).await;
    let config = one_upstream(&keys(folder.path()), upstream.address, "");
    let mut cases = Vec::new();
    for (number, damage) in (0..).zip(Damage::ALL) {
        for (length, is_restarted) in [(5000, false), (5000, true), (3 << 20, false), (3 << 20, true)] {
            let bytes = noise(number, length + usize::from(is_restarted));
            cases.push((damage, is_restarted, shelf.blob(&bytes), Digest::sha256(&bytes)));
        }
    }
    for is_restarted in [false, true] {
        let cases: Vec<_> = cases.iter().filter(|case| case.1 == is_restarted).collect();
        let mut product = Product::start(&config).await;
        for (.., path, _) in &cases {
            served_within(&product, &shelf, path, 1).await;
        }
        until_filled(&product, cases.len() as u64).await;
        for (damage, .., digest) in &cases {
            damage.befall(&place_of(folder.path(), digest));
        }
        if is_restarted {
            product = Product::start(&config).await;
        }
        for (damage, _, path, digest) in &cases {
            // What is sent of it the first time is not all of it, unless nothing was: then it is fetched for that answer.
            // So it is where its length is another than the one that this process has heard.
            let length = shelf.at(path).unwrap().len();
            let is_of_known_length = !is_restarted && matches!(damage, Damage::Half | Damage::Longer);
            let is_noticed_first = length < 10_000 || matches!(damage, Damage::Nothing) || is_of_known_length;
            let expected = if is_noticed_first { 1 } else { 2 };
            let times = served_within(&product, &shelf, path, 2).await;
            assert_eq!(times, expected, "{damage:?} of {length} bytes");
            until("the blob to be kept again", || place_of(folder.path(), digest).exists()).await;
            assert_eq!(served_within(&product, &shelf, path, 1).await, 1);
        }
        let noticed = product.metric("registry_proxy_corrupt_total", "kind=\"blob\"").await;
        assert_eq!(noticed, cases.len() as u64, "{}", product.log());
        kept(folder.path());
    }
}

#[tokio::test]
async fn a_range_of_a_damaged_blob_is_right() {
    for damage in Damage::ALL {
        let (folder, shelf) = (tempfile::tempdir().unwrap(), Shelf::default());
        let bytes = noise(7, 3 << 20);
        let (path, digest) = (shelf.blob(&bytes), Digest::sha256(&bytes));
        let upstream = shelf.serve(Duration::ZERO).await;
        let config = one_upstream(&keys(folder.path()), upstream.address, "");
        let product = Product::start(&config).await;
        served_within(&product, &shelf, &path, 1).await;
        until_filled(&product, 1).await;
        damage.befall(&place_of(folder.path(), &digest));
        for range in [0..1000, bytes.len() - 1000..bytes.len()] {
            let header = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
            let answer = soon("a range", attempt(product.address, &path, &header)).await;
            let answer = answer.unwrap_or_else(|| panic!("{damage:?} {range:?}: not whole\n{}", product.log()));
            assert!(
                answer.status == 206 && answer.body == bytes[range.clone()],
                "{damage:?} {range:?}: {answer:?}"
            );
        }
    }
}
