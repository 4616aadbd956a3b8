use proptest::prelude::*;

use super::*;
use crate::admin::inventory::{Content, Item, Packed};
use crate::digest::Digest;

/// Items by a number each, of this size and last use; and which names which.
fn inventory(items: &[(Content, u64, u64)], names: &[(usize, usize)]) -> (Inventory, Vec<Id>) {
    let digest = |at: usize| Packed::new(&Digest::sha256(&at.to_be_bytes()));
    let listed = items.iter().enumerate().map(|(at, (content, size, used))| Item {
        content: *content,
        digest: digest(at),
        size: *size,
        used: *used,
        record_bytes: 0,
    });
    let mut inventory = Inventory::new(listed.collect());
    let ids: Vec<Id> = items
        .iter()
        .enumerate()
        .map(|(at, (content, ..))| inventory.find(*content, &digest(at)).unwrap())
        .collect();
    for (manifest, part) in names {
        inventory.names(ids[*manifest], ids[*part]);
    }
    inventory.seal();
    (inventory, ids)
}

const NO_TARGETS: EvictionTargets =
    EvictionTargets { max_bytes: u64::MAX, arriving: 0, wanted: 0, free: None, unused_since: 0 };

/// What goes, by the numbers of the items.
fn gone(items: &[(Content, u64, u64)], names: &[(usize, usize)], targets: EvictionTargets) -> Vec<usize> {
    let (inventory, ids) = inventory(items, names);
    let number = |id: &Id| ids.iter().position(|other| other == id).unwrap();
    choose(&inventory, &targets, targets.excess(inventory.taken())).iter().map(number).collect()
}

use Content::{Blob, Manifest};

#[test]
fn how_much_must_go() {
    let targets = EvictionTargets { max_bytes: 1000, ..NO_TARGETS };
    for (targets, bytes, expected, why) in [
        (targets, 1000, 0, "full is not too full"),
        (targets, 1001, 101, "down to nine tenths"),
        (EvictionTargets { arriving: 300, ..targets }, 800, 200, "what is arriving counts"),
        (EvictionTargets { arriving: 3000, ..targets }, 800, 800, "no more than there is"),
        (EvictionTargets { free: Some(0), ..targets }, 500, 0, "nobody needed any"),
        (EvictionTargets { wanted: 200, free: Some(50), ..targets }, 500, 150, "what somebody needed"),
        (
            EvictionTargets { wanted: 1, free: Some(0), ..targets },
            500,
            50,
            "and a tenth, not to be asked at once again",
        ),
        (EvictionTargets { wanted: 600, free: Some(50), ..targets }, 500, 0, "what would not fit anyway"),
        (EvictionTargets { wanted: 200, free: Some(50), ..targets }, 1100, 200, "the larger of both"),
        (EvictionTargets { wanted: 200, free: None, ..targets }, 500, 0, "a store without an end"),
    ] {
        assert_eq!(targets.excess(bytes), expected, "{why}");
    }
}

#[test]
fn the_longest_unused_go_first() {
    let items = [(Blob, 50, 3), (Blob, 50, 1), (Blob, 50, 2)];
    let targets = |max_bytes| EvictionTargets { max_bytes, ..NO_TARGETS };
    assert_eq!(gone(&items, &[], targets(150)), Vec::<usize>::new());
    assert_eq!(gone(&items, &[], targets(149)), [1]);
    assert_eq!(gone(&items, &[], targets(99)), [1, 2]);
    assert_eq!(gone(&items, &[], targets(1)), [1, 2, 0]);
}

#[test]
fn a_layer_stays_as_long_as_an_image_that_is_used() {
    // Two images; the older layers are the ones that the younger image shares.
    let items = [(Manifest, 1, 9), (Manifest, 1, 5), (Blob, 100, 1), (Blob, 100, 6)];
    let names = [(0, 2), (1, 3)];
    assert_eq!(gone(&items, &names, EvictionTargets { max_bytes: 200, ..NO_TARGETS }), [1, 3]);
    let shared = [(0, 2), (1, 2), (1, 3)];
    assert_eq!(gone(&items, &shared, EvictionTargets { max_bytes: 200, ..NO_TARGETS }), [1, 3]);
}

#[test]
fn an_index_goes_before_its_manifests_and_they_before_their_layers() {
    let items = [(Blob, 10, 0), (Manifest, 10, 0), (Manifest, 10, 7), (Blob, 10, 8)];
    let names = [(2, 1), (1, 0)];
    assert_eq!(gone(&items, &names, EvictionTargets { max_bytes: 1, ..NO_TARGETS }), [2, 1, 0, 3]);
}

#[test]
fn what_nobody_used_for_long_goes_and_takes_no_part_of_what_is_used() {
    let items = [(Manifest, 1, 50), (Blob, 10, 1), (Manifest, 1, 1), (Blob, 10, 2), (Blob, 10, 3)];
    let names = [(0, 1), (2, 3), (2, 1)];
    let old = EvictionTargets { unused_since: 3, ..NO_TARGETS };
    assert_eq!(gone(&items, &names, old), [2, 3]);
}

#[test]
fn what_is_in_use_stays_whole_whatever_is_wanted() {
    let items = [(Manifest, 1, 0), (Manifest, 1, 0), (Blob, 10, IN_USE), (Blob, 10, 0), (Blob, 10, 0)];
    let names = [(0, 1), (1, 2), (1, 3)];
    let all = EvictionTargets { max_bytes: 1, unused_since: IN_USE, ..NO_TARGETS };
    assert_eq!(gone(&items, &names, all), [4]);
}

#[test]
fn what_nothing_else_needs_goes_with_what_is_purged() {
    // Two images that share a layer, below one index that names the first.
    let items = [(Manifest, 1, 0), (Manifest, 1, 0), (Manifest, 1, 0), (Blob, 1, 0), (Blob, 1, 0), (Blob, 1, 0)];
    let names = [(0, 1), (1, 3), (1, 4), (2, 4), (2, 5)];
    let (inventory, ids) = inventory(&items, &names);
    for (roots, is_forced, kept, expected, why) in [
        (&[0][..], false, &[][..], &[0, 1, 3][..], "all below, but for what the other image needs"),
        (&[0, 2], false, &[], &[0, 1, 2, 3, 4, 5], "nobody needs it any more"),
        (&[0], false, &[0], &[], "another tag leads there"),
        (&[0], false, &[1], &[0], "a tag leads below it"),
        (&[1], false, &[], &[], "the index needs it"),
        (&[1], true, &[1], &[1, 3], "whatever leads to it"),
        (&[4], true, &[], &[4], "a layer"),
    ] {
        let id = |at: &usize| ids[*at];
        let roots: Vec<Id> = roots.iter().map(id).collect();
        let gone = left_alone(&inventory, &roots, is_forced, &kept.iter().map(id).collect());
        let mut gone: Vec<usize> =
            gone.iter().map(|id| ids.iter().position(|other| other == id).unwrap()).collect();
        gone.sort_unstable();
        assert_eq!(gone, expected, "{why}");
    }
}

/// A ring cannot be, and must not hang or hide anything.
#[test]
fn a_ring_can_go() {
    let items = [(Manifest, 1, 0), (Manifest, 1, 0)];
    assert_eq!(gone(&items, &[(0, 1), (1, 0)], EvictionTargets { max_bytes: 0, ..NO_TARGETS }).len(), 2);
}

/// When something counts as used, in the simplest way: its own use, and that of everything above it.
fn counts_as(at: usize, items: &[(Content, u64, u64)], names: &[(usize, usize)]) -> u64 {
    let above = names.iter().filter(|(_, part)| *part == at).map(|(parent, _)| counts_as(*parent, items, names));
    above.chain([items[at].2]).max().unwrap()
}

prop_compose! {
    /// Manifests name only what comes behind them.
    fn a_store()(
        items in prop::collection::vec((0..50_u64, 0..20_u64, prop::bool::weighted(0.05)), 1..24),
        manifests in 0..12_usize,
        names in prop::collection::vec((0..12_usize, 0..24_usize), 0..40),
    ) -> (Vec<(Content, u64, u64)>, Vec<(usize, usize)>) {
        let content = |at| if at < manifests { Manifest } else { Blob };
        let items: Vec<_> = items.iter().enumerate()
            .map(|(at, (size, used, held))| (content(at), *size, if *held { IN_USE } else { *used }))
            .collect();
        let count = items.len();
        let names = names.into_iter().filter(|(a, b)| a < b && *b < count && *a < manifests).collect();
        (items, names)
    }
}

proptest! {
    #[test]
    fn whatever_goes_the_rest_is_whole((items, names) in a_store(), max_bytes in 1..800_u64, arriving in 0..100_u64, unused_since in 0..20_u64) {
        let targets = EvictionTargets { max_bytes, arriving, unused_since, ..NO_TARGETS };
        let gone = gone(&items, &names, targets);
        let place = |at: usize| gone.iter().position(|other| *other == at);
        for (parent, part) in &names {
            if let Some(place_of_part) = place(*part) {
                prop_assert!(place(*parent).is_some_and(|place| place < place_of_part), "{part} without {parent}");
            }
            // In use above or below: both stay.
            prop_assert!(items[*part].2 != IN_USE || place(*parent).is_none());
            prop_assert!(items[*parent].2 != IN_USE || place(*part).is_none());
        }
        let size = |at: &usize| items[*at].1;
        let bytes: u64 = (0..items.len()).map(|at| size(&at)).sum();
        let missing = targets.excess(bytes);
        let freed: u64 = gone.iter().map(size).sum();
        // In use itself, or below or above something that is.
        let mut held: Vec<bool> = items.iter().map(|item| item.2 == IN_USE).collect();
        for _ in 0..items.len() {
            for (parent, part) in &names { if held[*part] { held[*parent] = true; } }
        }
        for _ in 0..items.len() {
            for (parent, part) in &names { if held[*parent] { held[*part] = true; } }
        }
        prop_assert!(freed >= missing || (0..items.len()).all(|at| held[at] || place(at).is_some()), "{freed} of {missing}");
        let counts: Vec<u64> = (0..items.len()).map(|at| counts_as(at, &items, &names)).collect();
        // No more than needed.
        if let Some(last) = gone.last() && counts[*last] >= unused_since {
            prop_assert!(freed - size(last) < missing);
        }
        for at in 0..items.len() {
            prop_assert!(!held[at] || place(at).is_none());
            if !held[at] && counts[at] < unused_since { prop_assert!(place(at).is_some(), "{at} is old"); }
            // What stays was used no earlier than what goes.
            if place(at).is_none() {
                prop_assert!(held[at] || gone.iter().all(|other| counts[*other] <= counts[at]));
            }
        }
    }
}
