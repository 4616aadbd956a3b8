//! Every answer of the pure questions, written by hand.

use std::time::Duration;

use super::*;
use crate::platform::Moment;

const READERS: [Requester; 3] = [Requester::Anyone, Requester::Admitted, Requester::Stranger];
const LINKS: [Option<Link>; 5] =
    [None, Some(Link::Named), Some(Link::Claimed), Some(Link::Shown), Some(Link::Proven)];
const ORIGINS: [Origin; 4] = [Origin::This, Origin::Anonymous, Origin::Other, Origin::Unrecorded];

/// A row for each link, a column for each origin, in the order above: `Y`es, after a `C`laim, after the `B`ody.
const MAY_SERVE: [[&str; 5]; 3] = [
    // All clients may see the same.
    ["CCBC", "YYBY", "YYBY", "YYBY", "YYYY"],
    // By a login that was let in lately.
    ["CCBB", "CCBB", "YYBB", "YYBY", "YYYY"],
    // By a login of which nothing is known here.
    ["CCBB", "CCBB", "CCBB", "CCBC", "CCCC"],
];

#[test]
fn cached_bytes_go_to_those_for_whom_their_registry_confirms_access() {
    for (reader, rows) in READERS.into_iter().zip(MAY_SERVE) {
        for (link, row) in LINKS.into_iter().zip(rows) {
            for (origin, expected) in ORIGINS.into_iter().zip(row.chars()) {
                let expected = match expected {
                    'Y' => MayServe::Yes,
                    'C' => MayServe::AfterClaim,
                    _ => MayServe::AfterBody,
                };
                assert_eq!(may_serve(reader, link, origin), expected, "{reader:?}, {link:?}, {origin:?}");
            }
        }
    }
}

#[test]
fn a_claim_proves_what_the_registry_gave_before_or_gives_to_everybody() {
    assert_eq!(link_of_claim(Origin::This), Link::Proven);
    assert_eq!(link_of_claim(Origin::Anonymous), Link::Proven);
    assert_eq!(link_of_claim(Origin::Other), Link::Claimed);
    assert_eq!(link_of_claim(Origin::Unrecorded), Link::Claimed);
}

#[test]
fn origins_are_seen_from_each_upstream() {
    let mut all = Origins::one("a.test", false);
    assert_eq!(all.seen_from("a.test"), Origin::This);
    assert_eq!(all.seen_from("b.test"), Origin::Other);
    assert_eq!(all.with(&Origins::one("a.test", false)), None, "no news");
    all = all.with(&Origins::one("c.test", true)).expect("news");
    assert_eq!(all.seen_from("a.test"), Origin::This);
    assert_eq!(all.seen_from("b.test"), Origin::Anonymous);
    assert_eq!(Origins::default().seen_from("a.test"), Origin::Unrecorded);
    for count in 0..100 {
        all = all.with(&Origins::one(&format!("{count}.test"), false)).unwrap_or(all);
    }
    assert_eq!((all.upstreams.len(), all.seen_from("c.test")), (MAX_ORIGINS, Origin::This));
}

#[test]
fn records_read_back_and_what_cannot_be_read_is_absent() {
    for link in [Link::Named, Link::Claimed, Link::Shown, Link::Proven] {
        assert_eq!(Link::from_record(&link.to_record()), Some(link));
    }
    // As version 0.1.0 wrote them.
    assert_eq!(Link::from_record(b"named"), Some(Link::Named));
    assert_eq!(Link::from_record(b"shown"), Some(Link::Shown));
    for bytes in [&b""[..], b"show", b"proven ", b"\0"] {
        assert_eq!(Link::from_record(bytes), None);
    }
    let origins = Origins::one("a.test", true);
    assert_eq!(Origins::from_record(&origins.to_record()), Some(origins));
    let many = format!(r#"{{"anonymous":false,"upstreams":[{}]}}"#, vec!["\"x\""; 17].join(","));
    for bytes in [&b""[..], b"{}", b"{\"anonymous\":1}", many.as_bytes()] {
        assert_eq!(Origins::from_record(bytes), None);
    }
}

/// By how a 404 was heard, how the request asks and whether pushes pass: whether it is repeated without asking.
#[test]
fn a_404_answers_only_what_was_asked_and_no_pusher() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let claim = |credential| ClientScope {
        upstream: "a.test".into(),
        repository: "a/b".into(),
        credential: [credential; 16],
    };
    for (heard, asks, takes_pushes, expected) in [
        (LookupMethod::Head, LookupMethod::Head, false, true),
        (LookupMethod::Head, LookupMethod::Head, true, false),
        (LookupMethod::Head, LookupMethod::Get, false, false),
        (LookupMethod::Head, LookupMethod::Get, true, false),
        (LookupMethod::Get, LookupMethod::Head, false, true),
        (LookupMethod::Get, LookupMethod::Head, true, false),
        (LookupMethod::Get, LookupMethod::Get, false, true),
        (LookupMethod::Get, LookupMethod::Get, true, true),
    ] {
        let absences = Absences::new(10);
        absences.note(claim(1), "blobs/x".into(), heard, at(0), at(5));
        let answers = |who, what, now| absences.answers(&claim(who), what, asks, takes_pushes, at(now));
        assert_eq!(answers(1, "blobs/x", 4), expected, "{heard:?}, {asks:?}, {takes_pushes}");
        assert!(!answers(1, "blobs/x", 5), "it has an end");
        assert!(!answers(2, "blobs/x", 4), "another login may be told something else");
        assert!(!answers(1, "manifests/x", 4), "another kind of thing");
        absences.clear();
        assert!(!answers(1, "blobs/x", 4), "something was pushed");
    }
}

#[test]
fn a_head_takes_nothing_from_what_a_get_found_out() {
    let claim = ClientScope { upstream: "a.test".into(), repository: "a/b".into(), credential: [0; 16] };
    let absences = Absences::new(10);
    for asked in [LookupMethod::Get, LookupMethod::Head] {
        absences.note(claim.clone(), "blobs/x".into(), asked, Moment::default(), Moment(Duration::from_secs(5)));
    }
    assert!(absences.answers(&claim, "blobs/x", LookupMethod::Get, false, Moment::default()));
}

/// What memory may be wrong about opens nothing: only what such a link opens where nothing is recorded at all.
#[test]
fn that_nothing_is_recorded_is_believed_where_it_opens_no_more_than_before() {
    for reader in READERS {
        for link in LINKS {
            let expected = reader == Requester::Anyone || link >= Some(Link::Shown);
            assert_eq!(believes_unrecorded(reader, link), expected, "{reader:?}, {link:?}");
        }
    }
}
