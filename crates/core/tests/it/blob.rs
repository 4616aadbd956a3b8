//! Blobs: ranges, and bodies that survive what happens to their connection.

use std::time::Duration;

use registry_proxy_core::testing::{Answer, Fault, sha256};

use crate::fixture::{Fixture, STORAGE, Seen, Setup, noise};

const SIZE: usize = 5000;

fn content_range(seen: &Seen) -> (u16, &str) {
    (seen.status.as_u16(), seen.header("content-range"))
}

/// A fixture with a blob, and the blob's path.
fn stocked() -> (Fixture, String) {
    let (lab, _, blob) = Fixture::stocked("");
    (lab, format!("/v2/a/b/blobs/{blob}"))
}

#[tokio::test(start_paused = true)]
async fn a_blob_comes_with_all_that_clients_need() {
    let (lab, path) = stocked();
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(SIZE)));
    for (name, value) in [
        ("content-length", "5000"),
        ("content-type", "application/octet-stream"),
        ("accept-ranges", "bytes"),
        // Nobody has held it against its digest.
        ("cache-control", "private, no-cache, no-transform"),
        ("x-registry-proxy", "relayed; why=\"no store\""),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_breaks_anywhere_goes_on_where_it_stopped() {
    for isolated in [false, true] {
        let lab = Fixture::set_up(&Setup { isolated, ..Setup::default() });
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(SIZE)));
        for at in [0, 1, SIZE / 2, SIZE - 1] {
            for fault in [Fault::EndAfter(at), Fault::BreakAfter(at)] {
                lab.net.forget();
                lab.net.fault("GET", "/blobs/", 1, fault);
                let seen = lab.get(&path).await;
                assert!(seen.status == 200 && seen.end.is_ok() && seen.body == noise(SIZE), "{at}: {seen:?}");
                let ranges: Vec<String> =
                    lab.net.log().iter().map(|sent| sent.header("range").to_owned()).collect();
                assert_eq!(ranges, [String::new(), format!("bytes={at}-4999")], "{at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_breaks_goes_on_within_the_range() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(500));
    let seen = lab.get(&path).header("range", "bytes=1000-2999").await;
    assert_eq!(content_range(&seen), (206, "bytes 1000-2999/5000"));
    assert_eq!(seen.body, noise(SIZE).slice(1000..3000));
    assert_eq!(lab.net.log()[1].header("range"), "bytes=1500-2999");
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_stalls_for_35_seconds_is_fetched_anew_from_there() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(2500, Duration::from_secs(35)));
    let begun = lab.now();
    let seen = lab.get(&path).await;
    assert!(seen.end.is_ok() && seen.body == noise(SIZE));
    let took = lab.now().since(begun);
    assert!(took >= Duration::from_secs(25) && took < Duration::from_secs(35), "{took:?}");
    assert_eq!(lab.net.log()[1].header("range"), "bytes=2500-4999");
}

#[tokio::test(start_paused = true)]
async fn a_short_stall_is_suffered() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::StallAfter(2500, Duration::from_secs(20)));
    let seen = lab.get(&path).await;
    assert_eq!((seen.body.len(), lab.net.log().len()), (SIZE, 1));
}

#[tokio::test(start_paused = true)]
async fn silence_is_suffered_no_longer_because_a_byte_came_before_it() {
    let (lab, path) = stocked();
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    lab.net.fault("GET", "/blobs/", 1, Fault::Stalls(vec![(0, second), (1000, hour)]));
    let begun = lab.now();
    let seen = lab.get(&path).await;
    assert!(seen.end.is_ok() && seen.body == noise(SIZE));
    let took = lab.now().since(begun);
    assert!(took >= Duration::from_secs(26) && took < Duration::from_secs(27), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_nobody_can_go_on_with_ends_short_and_with_an_error() {
    for later in [Fault::Refuse, Fault::Silence, Fault::Drop, Fault::Say(Answer::new(500)), Fault::EndAfter(0)] {
        let (lab, path) = stocked();
        lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(2500));
        lab.net.fault("GET", "/blobs/", 99, later);
        let seen = lab.get(&path).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "5000"));
        assert!(seen.end.is_err() && seen.body == noise(SIZE).slice(..2500), "{:?}", seen.end);
        assert!(lab.net.log().len() <= 6, "{:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_forgot_the_blob_in_the_middle_is_not_asked_again_and_again() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::EndAfter(2500));
    lab.net.fault("GET", "/blobs/", 9, Fault::Say(Answer::new(404)));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err());
    assert_eq!(lab.net.log().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn any_progress_gives_a_long_blob_all_its_tries_again() {
    let lab = Fixture::new("");
    let bytes = noise(200 * 1024);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", bytes.clone()));
    lab.net.fault("GET", "/blobs/", 1000, Fault::BreakAfter(1024));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_ok() && seen.body == bytes);
    assert_eq!(lab.net.log().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_blob_behind_a_redirect_is_resumed_through_the_registry_for_a_fresh_signature() {
    let (lab, path) = stocked();
    lab.registry.redirect_blobs(STORAGE);
    lab.net.fault("GET", STORAGE, 1, Fault::BreakAfter(2500));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_ok() && seen.body == noise(SIZE));
    assert_eq!((lab.net.sent("GET", "origin.up.example.com").len(), lab.net.sent("GET", STORAGE).len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_length_that_is_one_too_many_ends_in_an_error() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::change(|answer| answer.length = answer.length.map(|n| n + 1)));
    let seen = lab.get(&path).await;
    assert_eq!(seen.header("content-length"), "5001");
    assert!(seen.end.is_err() && seen.body == noise(SIZE));
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_for_a_blob_that_is_not_empty_is_a_failure() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 9, Fault::Say(Answer::new(200)));
    assert!(lab.get(&path).await.is(504, "UNAVAILABLE"));
    let empty = lab.registry.put_blob("a/b", "");
    assert_eq!(lab.get(&format!("/v2/a/b/blobs/{empty}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn coded_bytes_are_a_failure() {
    for coding in ["gzip", "zstd"] {
        let (lab, path) = stocked();
        let change = move |answer: &mut Answer| *answer = answer.clone().header("content-encoding", coding);
        lab.net.fault("GET", "/blobs/", 9, Fault::change(change));
        assert!(lab.get(&path).await.is(504, "UNAVAILABLE"));
        assert_eq!(lab.net.log()[0].header("accept-encoding"), "identity");
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_are_answered_as_asked() {
    let (lab, path) = stocked();
    lab.registry.redirect_blobs(STORAGE);
    for (range, expected, bytes) in [
        ("bytes=0-", "bytes 0-4999/5000", 0..5000),
        ("bytes=500-1499", "bytes 500-1499/5000", 500..1500),
        ("bytes=500-", "bytes 500-4999/5000", 500..5000),
        ("bytes=-500", "bytes 4500-4999/5000", 4500..5000),
        ("bytes=-9000", "bytes 0-4999/5000", 0..5000),
        ("bytes=2000-5000", "bytes 2000-4999/5000", 2000..5000),
        ("bytes=4999-4999", "bytes 4999-4999/5000", 4999..5000),
    ] {
        let seen = lab.get(&path).header("range", range).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-range")), (206, expected), "{range}");
        assert_eq!(seen.body, noise(SIZE).slice(bytes), "{range}");
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_that_nothing_satisfies_are_416_with_the_total() {
    let (lab, path) = stocked();
    for range in ["bytes=500-0", "bytes=5000-10000", "bytes=5000-", "bytes=-0"] {
        let seen = lab.get(&path).header("range", range).await;
        assert_eq!(content_range(&seen), (416, "bytes */5000"), "{range}");
    }
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(416)));
    let seen = lab.get(&path).header("range", "bytes=6000-").await;
    assert_eq!(content_range(&seen), (416, "bytes */5000"), "where the upstream does not say the total");
}

#[tokio::test(start_paused = true)]
async fn ranges_that_mean_nothing_are_ignored() {
    let (lab, path) = stocked();
    for range in ["items=0-9", "bytes=a-b", "bytes=5", "0-9"] {
        let seen = lab.get(&path).header("range", range).await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (200, SIZE), "{range}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_ranges_at_once_are_400_and_never_half_an_answer() {
    let (lab, path) = stocked();
    for range in ["bytes=0-9,100-199", "bytes=0-9, 20-"] {
        assert_eq!(lab.get(&path).header("range", range).await.status, 400);
    }
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_200_to_a_range_becomes_the_206_that_was_asked_for() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(Answer::new(200).body(noise(SIZE))));
    for (range, expected, bytes) in [
        ("bytes=0-", "bytes 0-4999/5000", 0..5000),
        ("bytes=1500-1999", "bytes 1500-1999/5000", 1500..2000),
        ("bytes=-10", "bytes 4990-4999/5000", 4990..5000),
    ] {
        let seen = lab.get(&path).header("range", range).await;
        assert_eq!(content_range(&seen), (206, expected));
        assert_eq!(seen.body, noise(SIZE).slice(bytes), "{range}");
    }
    let seen = lab.get(&path).header("range", "bytes=5000-").await;
    assert_eq!(content_range(&seen), (416, "bytes */5000"));
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_gets_a_200_drops_what_was_sent_already() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(1234));
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).body(noise(SIZE))));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_ok() && seen.body == noise(SIZE));
    assert_eq!(lab.net.log().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_gets_other_bytes_than_asked_is_not_used() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(1000));
    let other = Answer::new(206).header("content-range", "bytes 0-3999/5000").body(noise(SIZE).slice(..4000));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(other));
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err() && seen.body == noise(SIZE).slice(..1000));
}

#[tokio::test(start_paused = true)]
async fn a_short_206_is_completed_to_the_end_that_was_asked_for() {
    let (lab, path) = stocked();
    let short =
        Answer::new(206).header("content-range", "bytes 1000-1999/5000").body(noise(SIZE).slice(1000..2000));
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(short));
    let seen = lab.get(&path).header("range", "bytes=1000-").await;
    assert_eq!(content_range(&seen), (206, "bytes 1000-4999/5000"));
    assert_eq!(seen.body, noise(SIZE).slice(1000..));
}

#[tokio::test(start_paused = true)]
async fn a_206_with_an_unknown_total_gets_a_number() {
    let (lab, path) = stocked();
    let starred = Answer::new(206).header("content-range", "bytes 1000-4999/*").body(noise(SIZE).slice(1000..));
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(starred));
    let seen = lab.get(&path).header("range", "bytes=1000-").await;
    assert_eq!(content_range(&seen), (206, "bytes 1000-4999/5000"));
    assert_eq!(seen.body, noise(SIZE).slice(1000..));
}

#[tokio::test(start_paused = true)]
async fn another_206_than_was_asked_for_never_goes_to_a_client() {
    let (lab, path) = stocked();
    let other = Answer::new(206).header("content-range", "bytes 0-99/5000").body(noise(100));
    lab.net.fault("GET", "/blobs/", 99, Fault::Say(other));
    for range in ["bytes=1000-", ""] {
        let call = if range.is_empty() { lab.get(&path) } else { lab.get(&path).header("range", range) };
        assert!(call.await.is(504, "UNAVAILABLE"), "{range}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_200_without_length_to_a_range_never_turns_a_resume_into_a_200() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).body(noise(SIZE)).without_length()));
    let seen = lab.get(&path).header("range", "bytes=1000-").await;
    assert_ne!(seen.status, 200, "P-101");
    assert!(seen.status == 504 || seen.body == noise(SIZE).slice(1000..), "{}", seen.status);
}

#[tokio::test(start_paused = true)]
async fn a_blob_without_length_is_passed_on_whole() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 1, Fault::change(|answer| answer.length = None));
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.end.is_ok() && seen.body == noise(SIZE));
}

#[tokio::test(start_paused = true)]
async fn if_range_is_held_against_the_etag() {
    let (lab, path) = stocked();
    let same = format!("\"{}\"", path.rsplit('/').next().unwrap());
    let seen = lab.get(&path).header("range", "bytes=10-19").header("if-range", &same).await;
    assert_eq!(content_range(&seen), (206, "bytes 10-19/5000"));
    for other in ["\"other\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let seen = lab.get(&path).header("range", "bytes=10-19").header("if-range", other).await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (200, SIZE), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_is_given_to_those_who_have_the_blob_and_to_no_other() {
    let (lab, path) = stocked();
    let digest = path.rsplit('/').next().unwrap();
    let seen = lab.get(&path).header("if-none-match", &format!("\"{digest}\"")).await;
    assert_eq!((seen.status.as_u16(), seen.body.len(), seen.header("content-length")), (304, 0, ""));
    let seen = lab.get(&path).header("if-none-match", "\"other\"").await;
    assert_eq!((seen.status.as_u16(), seen.body.len()), (200, SIZE));
}

#[tokio::test(start_paused = true)]
async fn a_head_of_what_is_known_or_of_unknown_length_claims_no_length() {
    let (lab, path) = stocked();
    let digest = path.rsplit('/').next().unwrap();
    let seen = lab.head(&path).header("if-none-match", &format!("\"{digest}\"")).await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (304, ""));
    lab.net.fault("*", "/blobs/", 9, Fault::Say(Answer::new(200).body(noise(SIZE)).without_length()));
    let seen = lab.head(&path).await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, ""), "P-79: not 0");
}

#[tokio::test(start_paused = true)]
async fn a_304_is_not_given_for_a_blob_that_is_not_there() {
    let lab = Fixture::new("");
    let missing = sha256(b"missing");
    let path = format!("/v2/a/b/blobs/{missing}");
    let seen = lab.get(&path).header("if-none-match", &format!("\"{missing}\"")).await;
    assert!(seen.is(404, "BLOB_UNKNOWN"));
}

#[tokio::test(start_paused = true)]
async fn a_head_tells_the_length_even_where_the_upstreams_does_not() {
    for odd in [Answer::new(200).without_length(), Answer::new(405), Answer::new(501), Answer::new(400)] {
        let (lab, path) = stocked();
        lab.net.fault("HEAD", "/blobs/", 9, Fault::Say(odd.clone()));
        let seen = lab.head(&path).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "5000"), "{odd:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_never_claims_that_a_blob_is_empty_which_is_not() {
    let (lab, path) = stocked();
    lab.net.fault("HEAD", "/blobs/", 9, Fault::Say(Answer::new(200)));
    let seen = lab.head(&path).await;
    assert_ne!((seen.status.as_u16(), seen.header("content-length")), (200, "0"), "P-79, P-108");
}

#[tokio::test(start_paused = true)]
async fn a_head_of_a_blob_in_a_storage_that_refuses_head_tells_its_length() {
    let (lab, path) = stocked();
    lab.registry.redirect_blobs(STORAGE);
    let seen = lab.head(&path).await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "5000"));
    assert!(lab.net.sent("HEAD", STORAGE).is_empty());
    assert_eq!(lab.net.sent("GET", STORAGE)[0].header("range"), "bytes=0-0");
}

#[tokio::test(start_paused = true)]
async fn a_missing_blob_is_404_at_once() {
    let lab = Fixture::new("");
    let path = format!("/v2/a/b/blobs/{}", sha256(b"missing"));
    assert!(lab.get(&path).await.is(404, "BLOB_UNKNOWN"));
    assert_eq!(lab.net.log().len(), 1);
    // A HEAD that is refused proves nothing (P-146): its 404 is asked again, by GET, and that is all.
    assert_eq!(lab.head(&path).await.status, 404);
    assert_eq!(lab.net.log().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_not_promised_before_its_first_bytes_are_here() {
    let (lab, path) = stocked();
    lab.net.fault("GET", "/blobs/", 99, Fault::StallAfter(0, Duration::from_secs(999)));
    let begun = lab.now();
    let seen = lab.get(&path).await;
    assert!(seen.is(504, "UNAVAILABLE"));
    assert!(lab.now().since(begun) <= Duration::from_secs(25));
}
