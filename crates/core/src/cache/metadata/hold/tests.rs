use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config::Span;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const RULE: HoldRule =
    HoldRule { span: Span::seconds(3 * DAY), max: Span::seconds(30 * DAY), new: HoldNew::Serve, digests: true };

const NAMES: [char; 6] = ['A', 'B', 'C', 'D', 'E', 'F'];

fn digest(name: char) -> Digest {
    Digest::sha256(name.to_string().as_bytes())
}

/// A tag whose upstream is looked at now and then.
struct Life {
    record: HoldRecord,
    rule: HoldRule,
}

impl Life {
    fn new(rule: HoldRule) -> Self {
        Self { record: HoldRecord::default(), rule }
    }

    /// The upstream has this digest, or has deleted the tag (`-`); what clients get.
    fn at(&mut self, now: u64, name: char) -> Option<char> {
        let seen = digest(name);
        let seen = if name == '-' { TagSeen::Gone } else { TagSeen::At(&seen) };
        self.record = self.record.clone().observe(seen, self.rule, now).0;
        self.served()
    }

    fn served(&self) -> Option<char> {
        let served = match self.record.standing() {
            Standing::Current(served) | Standing::Held { served, .. } | Standing::Pinned(served) => served,
            Standing::New(_) | Standing::Unknown => return None,
        };
        NAMES.into_iter().find(|name| digest(*name) == *served)
    }
}

/// Each line: when, what the upstream has (`-`: it has deleted the tag), and what clients get.
fn check(rule: HoldRule, lines: &[(u64, char, Option<char>)]) {
    let mut life = Life::new(rule);
    for (now, upstream, expected) in lines {
        assert_eq!(life.at(*now, *upstream), *expected, "at {now}, upstream has {upstream}");
    }
}

#[test]
fn a_tag_that_moved_points_where_it_did_until_the_new_digest_has_stood() {
    check(
        RULE,
        &[
            (0, 'A', Some('A')),
            (DAY, 'B', Some('A')),
            (2 * DAY, 'B', Some('A')),
            (4 * DAY - 1, 'B', Some('A')),
            (4 * DAY, 'B', Some('B')),
            (5 * DAY, 'B', Some('B')),
        ],
    );
}

#[test]
fn a_newer_digest_restarts_the_time() {
    check(
        RULE,
        &[
            (0, 'A', Some('A')),
            (DAY, 'B', Some('A')),
            (3 * DAY, 'C', Some('A')),
            (4 * DAY, 'C', Some('A')),
            (6 * DAY - 1, 'C', Some('A')),
            (6 * DAY, 'C', Some('C')),
        ],
    );
}

#[test]
fn a_tag_that_moves_back_was_never_away_and_its_next_move_begins_anew() {
    check(
        RULE,
        &[
            (0, 'A', Some('A')),
            (DAY, 'B', Some('A')),
            (2 * DAY, 'A', Some('A')),
            (3 * DAY, 'B', Some('A')),
            (4 * DAY, 'B', Some('A')),
            (6 * DAY - 1, 'B', Some('A')),
            (6 * DAY, 'B', Some('B')),
        ],
    );
}

#[test]
fn a_deletion_interrupts_the_time_and_is_no_way_around_the_hold() {
    check(
        RULE,
        &[
            (0, 'A', Some('A')),
            (DAY, '-', Some('A')),
            (2 * DAY, 'B', Some('A')),
            (3 * DAY, '-', Some('A')),
            (4 * DAY, 'B', Some('A')),
            (5 * DAY, 'B', Some('A')),
            (7 * DAY - 1, 'B', Some('A')),
            (7 * DAY, 'B', Some('B')),
        ],
    );
}

#[test]
fn a_tag_that_moves_every_night_ages_too() {
    let mut life = Life::new(RULE);
    assert_eq!(life.at(0, 'A'), Some('A'));
    for day in 1..=30 {
        let name = if day % 2 == 0 { 'C' } else { 'B' };
        assert_eq!(life.at(day * DAY, name), Some('A'), "day {day}");
    }
    // Thirty days after the first move, on day 31, C of day 28 is the newest that is three days old.
    assert_eq!(life.at(31 * DAY, 'D'), Some('C'));
    // The upstream left that on day 29, so thirty days count from there.
    for day in 32..=58 {
        let name = if day % 2 == 0 { 'E' } else { 'F' };
        assert_eq!(life.at(day * DAY, name), Some('C'), "day {day}");
    }
    assert_eq!(life.at(59 * DAY, 'B'), Some('E'), "from day 56");
}

#[test]
fn a_new_tag_is_served_or_refused_as_the_rule_says() {
    check(RULE, &[(0, 'A', Some('A'))]);
    let refuse = HoldRule { new: HoldNew::Refuse, ..RULE };
    check(
        refuse,
        &[
            (0, 'A', None),
            (DAY, 'A', None),
            (2 * DAY, 'B', None),
            (5 * DAY - 1, 'B', None),
            (5 * DAY, 'B', Some('B')),
        ],
    );
}

#[test]
fn what_was_pushed_through_the_proxy_points_at_once_and_nothing_else_does() {
    let mut life = Life::new(RULE);
    assert_eq!(life.at(0, 'A'), Some('A'));
    life.record = life.record.push(digest('B'));
    assert_eq!(life.at(1, 'C'), Some('A'), "somebody else was quicker");
    assert_eq!(life.at(2, 'B'), Some('B'));
    assert_eq!(life.at(3, 'C'), Some('B'), "a push lets one digest through");
    let mut new = Life::new(HoldRule { new: HoldNew::Refuse, ..RULE });
    new.record = new.record.push(digest('B'));
    assert_eq!(new.at(0, 'B'), Some('B'));
}

#[test]
fn an_operator_lets_the_newest_through_and_pins() {
    let mut life = Life::new(RULE);
    life.at(0, 'A');
    assert!(life.record.clone().release().is_none(), "nothing is held");
    life.at(1, 'B');
    let (released, change) = life.record.clone().release().expect("B is held");
    assert_eq!(change, HoldChange::Taken { from: Some(digest('A')), to: digest('B') });
    life.record = released;
    assert_eq!(life.at(2, 'B'), Some('B'));
    life.record = life.record.pin(Some(digest('A')));
    assert_eq!(life.at(40 * DAY, 'C'), Some('A'));
    assert_eq!(life.at(80 * DAY, 'C'), Some('A'));
    life.record = life.record.pin(None);
    assert_eq!(life.served(), Some('C'), "it went on aging");
}

#[test]
fn a_digest_is_held_while_only_a_young_move_names_it() {
    let mut life = Life::new(RULE);
    life.at(0, 'A');
    life.at(DAY, 'B');
    let holds = |life: &Life, name, now| life.record.holds(&digest(name), RULE, now);
    assert!(holds(&life, 'B', DAY) && holds(&life, 'B', 4 * DAY - 1));
    assert!(!holds(&life, 'B', 4 * DAY), "also if nobody has asked for the tag since");
    assert!(!holds(&life, 'A', DAY) && !holds(&life, 'C', DAY));
    life.record = life.record.push(digest('B'));
    assert!(!holds(&life, 'B', DAY));
}

#[test]
fn a_clock_that_was_wrong_holds_nothing_for_ever() {
    check(
        RULE,
        &[
            (1000 * DAY, 'A', Some('A')),
            (1000 * DAY, 'B', Some('A')),
            (DAY, 'B', Some('A')),
            (4 * DAY - 1, 'B', Some('A')),
            (4 * DAY, 'B', Some('B')),
        ],
    );
}

#[test]
fn a_tag_that_moves_twice_within_a_second_is_at_the_later_digest() {
    let mut life = Life::new(RULE);
    for (now, name) in [(0, 'A'), (9, 'B'), (9, 'C')] {
        life.at(now, name);
    }
    assert_eq!(life.record.merge(&life.record), life.record);
    let (record, change) = life.record.observe(TagSeen::At(&digest('C')), RULE, 10);
    assert_eq!((change, record.until(RULE)), (HoldChange::None, Some(9 + 3 * DAY)));
}

#[test]
fn changes_are_told_once() {
    let mut record = HoldRecord::default();
    let mut told = Vec::new();
    for (now, name) in [(0, 'A'), (1, 'A'), (2, 'B'), (3, 'B'), (4, '-'), (5, '-')] {
        let digest = digest(name);
        let seen = if name == '-' { TagSeen::Gone } else { TagSeen::At(&digest) };
        let (next, change) = record.observe(seen, RULE, now);
        record = next;
        told.push(change);
    }
    let moved = HoldChange::Moved { from: Some(digest('A')), to: digest('B') };
    assert_eq!(
        told,
        [HoldChange::First, HoldChange::None, moved, HoldChange::None, HoldChange::Gone, HoldChange::None]
    );
}

#[test]
fn a_record_reads_back_and_rubbish_is_absent() {
    let mut life = Life::new(RULE);
    for (now, name) in [(0, 'A'), (1, 'B'), (2, 'C')] {
        life.at(now, name);
    }
    let record = life.record.push(digest('D')).pin(Some(digest('E')));
    assert_eq!(HoldRecord::from_record(&record.to_record()), Some(record));
    for bytes in [&b""[..], b"{", b"{\"served\":\"x\"}", b"7", b"\0\0"] {
        assert_eq!(HoldRecord::from_record(bytes), None);
    }
}

#[test]
fn a_tag_that_moves_each_minute_keeps_its_record_small() {
    let mut life = Life::new(RULE);
    life.at(0, 'A');
    for minute in 1..10_000_u64 {
        life.at(minute * 60, if minute % 2 == 0 { 'B' } else { 'C' });
        assert!(life.record.moves.len() <= MAX_MOVES);
        assert!(life.record.moves.windows(2).all(|pair| pair[0].digest != pair[1].digest), "minute {minute}");
    }
}

/// What happens to a tag.
#[derive(Debug, Clone)]
enum Happens {
    Upstream(char),
    Deleted,
    /// So many hours pass.
    Wait(u64),
    /// A replica looks at the upstream, having read what the store has, and writes what it knows then.
    Look(usize),
    /// The same with what it knew before: the other one has written meanwhile.
    LookBlindly(usize),
    /// It loses its memory.
    Restart(usize),
}

fn any_life() -> impl Strategy<Value = Vec<Happens>> {
    let name = || (0..5_usize).prop_map(|at| NAMES[at]);
    let one = prop_oneof![
        2 => name().prop_map(Happens::Upstream),
        1 => Just(Happens::Deleted),
        3 => (1..40_u64).prop_map(Happens::Wait),
        6 => (0..2_usize).prop_map(Happens::Look),
        1 => (0..2_usize).prop_map(Happens::LookBlindly),
        1 => (0..2_usize).prop_map(Happens::Restart),
    ];
    proptest::collection::vec(one, 0..120)
}

/// Two replicas of one store.
#[derive(Default)]
struct Replicas {
    store: Option<HoldRecord>,
    memory: [Option<HoldRecord>; 2],
}

impl Replicas {
    /// What a replica knows before it looks; `None`: it cannot read what is there.
    fn known(&self, replica: usize, reads: bool) -> Option<HoldRecord> {
        match (&self.memory[replica], &self.store) {
            (Some(own), Some(stored)) if reads => Some(own.merge(stored)),
            (None, Some(stored)) if reads => Some(stored.clone()),
            (None, Some(_)) => None,
            (Some(own), _) => Some(own.clone()),
            (None, None) => Some(HoldRecord::default()),
        }
    }

    fn keep(&mut self, replica: usize, record: HoldRecord) {
        self.store = Some(record.clone());
        self.memory[replica] = Some(record);
    }
}

proptest! {
    #[test]
    fn nobody_is_given_what_was_not_seen_for_the_time_of_the_rule_and_what_stands_reaches_everybody(life in any_life()) {
        let mut replicas = Replicas::default();
        let (mut upstream, mut now) = (Some('A'), 1000 * DAY);
        let mut first: HashMap<Digest, u64> = HashMap::new();
        let mut has_begun = false;
        for one in life {
            let (replica, reads) = match one {
                Happens::Upstream(name) => { upstream = Some(name); continue }
                Happens::Deleted => { upstream = None; continue }
                Happens::Wait(hours) => { now += hours * HOUR; continue }
                Happens::Restart(replica) => { replicas.memory[replica] = None; continue }
                Happens::Look(replica) => (replica, true),
                Happens::LookBlindly(replica) => (replica, false),
            };
            let Some(known) = replicas.known(replica, reads) else { continue };
            let seen = upstream.map(digest);
            if let Some(seen) = &seen {
                first.entry(seen.clone()).or_insert(now);
            }
            // Of what is nowhere nothing is kept.
            if seen.is_none() && known == HoldRecord::default() { continue }
            let was = known.served.clone();
            let (next, _) = known.observe(seen.as_ref().map_or(TagSeen::Gone, TagSeen::At), RULE, now);
            if let Some(served) = next.served.as_ref().filter(|_| next.served != was) {
                let age = now - first[served];
                prop_assert!(!has_begun || age >= 3 * DAY, "{} after {} s", served, age);
                has_begun = true;
            }
            prop_assert!(next.moves.len() <= MAX_MOVES);
            let read_back = HoldRecord::from_record(&next.to_record());
            prop_assert_eq!(read_back.as_ref(), Some(&next));
            replicas.keep(replica, next);
        }
        let stands = digest(upstream.unwrap_or('A'));
        for hours in [0, 1, 72, 73, 74] {
            for replica in [0, 1] {
                let known = replicas.known(replica, true).unwrap_or_default();
                let (next, _) = known.observe(TagSeen::At(&stands), RULE, now + hours * HOUR);
                replicas.keep(replica, next);
            }
        }
        for memory in replicas.memory {
            prop_assert_eq!(memory.as_ref().map(HoldRecord::standing), Some(Standing::Current(&stands)));
        }
    }

    #[test]
    fn it_does_not_matter_who_wrote_last(one in any_record(), two in any_record()) {
        let both = one.merge(&two);
        prop_assert_eq!(&both, &two.merge(&one));
        prop_assert_eq!(&both.merge(&both), &both);
        prop_assert_eq!(&both.merge(&one), &both);
        prop_assert_eq!(&both.merge(&two), &both);
    }

    #[test]
    fn any_record_is_read_without_panic_and_what_reads_reads_back(bytes: Vec<u8>) {
        if let Some(record) = HoldRecord::from_record(&bytes) {
            prop_assert_eq!(HoldRecord::from_record(&record.to_record()), Some(record));
        }
    }
}

/// A record as it is kept: of moves that follow each other no two have the same digest or time.
fn any_record() -> impl Strategy<Value = HoldRecord> {
    let some = || proptest::option::of((0..4_usize).prop_map(|at| digest(NAMES[at])));
    let moves = proptest::collection::vec((0..4_usize, 1..50_u64), 0..6);
    (0..2_u64, some(), moves, any::<bool>(), some(), some()).prop_map(
        |(generation, served, mut moves, is_gone, pushed, pinned)| {
            moves.sort_by_key(|(_, seen)| *seen);
            moves.dedup_by_key(|(_, seen)| *seen);
            moves.dedup_by_key(|(at, _)| *at);
            let sighting = |(at, seen): (usize, u64)| Sighting { digest: digest(NAMES[at]), seen };
            let moves: Vec<_> = moves.into_iter().map(sighting).collect();
            let since = moves.first().map_or(0, |first| first.seen);
            HoldRecord { generation, served, moved: since, moves, is_gone, pushed, pinned }
        },
    )
}
