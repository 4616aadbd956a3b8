//! A registry that says something else of one blob at another time, or only in its ranges.

use super::*;

/// The first bytes of the blob, said to be of a longer one.
fn of_fifty_million() -> Answer {
    Answer::new(206).header("content-range", "bytes 0-999/50000000").body(content().slice(..1000))
}

#[tokio::test(start_paused = true)]
async fn one_wrong_total_of_a_range_spoils_no_pull() {
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(of_fifty_million()));
    let seen = lab.get(&path).header("range", "bytes=0-999").await;
    assert_eq!((seen.status.as_u16(), seen.body.len()), (206, 1000));
    lab.wait(1).await;
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "3000000"));
    assert!(seen.end.is_ok() && seen.body == content(), "{:?}", seen.end);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn one_wrong_total_of_a_range_spoils_no_other_range() {
    for (range, content_range, bytes) in [
        ("bytes=2000-2999", "bytes 2000-2999/3000000", 2000..3000),
        ("bytes=2999000-", "bytes 2999000-2999999/3000000", 2_999_000..3_000_000),
        ("bytes=-1000", "bytes 2999000-2999999/3000000", 2_999_000..3_000_000),
        ("bytes=0-", "bytes 0-2999999/3000000", 0..3_000_000),
        ("bytes=0-2999999", "bytes 0-2999999/3000000", 0..3_000_000),
    ] {
        for total in ["50000000", "2000"] {
            let lab = Fixture::caching("");
            let path = blob(&lab);
            let header = format!("bytes 0-999/{total}");
            let lie = Answer::new(206).header("content-range", &header).body(content().slice(..1000));
            lab.net.fault("GET", "/blobs/", 1, Fault::Say(lie));
            lab.get(&path).header("range", "bytes=0-999").await;
            lab.wait(1).await;
            let seen = lab.get(&path).header("range", range).await;
            assert_eq!(
                (seen.status.as_u16(), seen.header("content-range")),
                (206, content_range),
                "{range} {total}"
            );
            assert!(seen.end.is_ok() && seen.body == content().slice(bytes.clone()), "{range} {total}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_wrong_length_of_the_whole_spoils_one_pull_and_no_more() {
    for ends in [
        Fault::change(|answer| answer.length = Some(50_000_000)),
        Fault::change(|answer| {
            *answer = answer.clone().header("x", "y");
            answer.length = Some(SIZE as u64 + 1);
        }),
    ] {
        let lab = Fixture::caching("");
        let path = blob(&lab);
        lab.net.fault("GET", "/blobs/", 1, ends);
        assert!(lab.get(&path).await.end.is_err(), "what was promised cannot come");
        for done in ["filled", "hit"] {
            let seen = lab.get(&path).await;
            assert_eq!((seen.header("content-length"), seen.done()), ("3000000", done));
            assert!(seen.end.is_ok() && seen.body == content());
            lab.wait(1).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_that_changes_while_a_fill_goes_on_ends_it_and_the_next_begins_anew() {
    let lab = Fixture::caching("[cache.fill]\nparts=1");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, Fault::BreakAfter(1_000_000));
    let other = Answer::new(206).header("content-range", "bytes 1000000-2999999/3000001").body(noise(2_000_000));
    lab.net.fault("GET", "/blobs/", 1, Fault::Say(other));
    assert!(lab.get(&path).await.end.is_err());
    lab.net.forget();
    let seen = lab.get(&path).await;
    assert_eq!((seen.done(), seen.body.clone()), ("filled", content()));
    assert_eq!(lab.net.sent("GET", "/blobs/")[0].header("range"), "", "nothing of the first is kept");
}

#[tokio::test(start_paused = true)]
async fn where_only_ranges_are_wrong_one_connection_brings_it() {
    let lab = Fixture::caching("[cache.fill]\npart_size='64KiB'\nparts=4");
    let path = blob(&lab);
    let wrong = |answer: &mut Answer| {
        if answer.status == 206 {
            answer.body = vec![7; answer.body.len()].into();
        }
    };
    // Every connection is slow, so that every fill tries parts.
    let fault = Fault::ChangeAndStall(Arc::new(wrong), 100_000, Duration::from_secs(3));
    lab.net.fault("GET", "/blobs/", 9999, fault);
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err(), "some of what came was wrong");
    let seen = lab.get(&path).await;
    assert!(seen.status == 200 && seen.end.is_ok() && seen.body == content(), "{} {:?}", seen.status, seen.end);
    lab.wait(1).await;
    assert_eq!(lab.get(&path).await.done(), "hit");
}

#[tokio::test(start_paused = true)]
async fn the_whole_as_206_is_the_whole() {
    let all = || Answer::new(206).header("content-range", "bytes 0-2999999/3000000").body(content());
    for lab in [Fixture::caching(""), Fixture::new("")] {
        let path = blob(&lab);
        for answer in [all(), all().without_length()] {
            lab.net.fault("GET", "/blobs/", 1, Fault::Say(answer));
            let seen = lab.get(&path).await;
            assert_eq!((seen.status.as_u16(), seen.header("content-range")), (200, ""), "as it was asked for");
            assert!(seen.end.is_ok() && seen.body == content(), "{:?}", seen.end);
            lab.wait(1).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_with_200_is_the_part_that_it_says() {
    let part =
        Answer::new(200).header("content-range", "bytes 1000-1999/3000000").body(content().slice(1000..2000));
    for lab in [Fixture::caching(""), Fixture::new("")] {
        let path = blob(&lab);
        for answer in [part.clone(), part.clone().without_length()] {
            lab.net.heal();
            lab.net.fault("GET", "/blobs/", 1, Fault::Say(answer.clone()));
            let seen = lab.get(&path).header("range", "bytes=1000-1999").await;
            assert_eq!((seen.status.as_u16(), seen.header("content-range")), (206, "bytes 1000-1999/3000000"));
            assert_eq!(seen.body, content().slice(1000..2000));
        }
        let other = blob(&lab);
        lab.net.fault("GET", "/blobs/", 9, Fault::Say(part.clone()));
        let seen = lab.get(&other).await;
        assert!(seen.status != 200 || seen.body == content(), "a part is not the whole: {:?}", seen.headers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_answer_without_bytes_is_no_blob() {
    let empty = || Fault::Say(Answer::new(200).without_length());
    let lab = Fixture::new("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, empty());
    let seen = lab.get(&path).await;
    assert!(seen.is(504, "UNAVAILABLE"), "{} {:?}", seen.status, seen.headers);
    assert_eq!(lab.get(&path).await.body, content());
    // Where a HEAD says how long it is, what is missing is asked for once more.
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 1, empty());
    assert_eq!(lab.get(&path).await.body, content());
    let lab = Fixture::caching("");
    let path = blob(&lab);
    lab.net.fault("GET", "/blobs/", 99, empty());
    let seen = lab.get(&path).await;
    assert!(seen.end.is_err() || seen.status == 504, "{} {:?}", seen.status, seen.headers);
}
