//! What Rust copies, fills and compares with these functions. They are linked with any C library here, by the feature
//! `everywhere`.

use std::cmp::Ordering;
use std::hint::black_box;

use registry_proxy_musl_memory as _;

/// Every length with a path of its own, and some beyond.
fn lengths() -> impl Iterator<Item = usize> {
    (0..300).chain([511, 512, 513, 2047, 2048, 2049, 2050, 2063, 2064, 4096, 5001, 70_003])
}

/// A byte that says where it is.
#[expect(clippy::cast_possible_truncation, reason = "it is a byte of a pattern")]
fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(167) ^ (at >> 8)) as u8
}

fn patterned(length: usize) -> Vec<u8> {
    (0..length).map(pattern).collect()
}

#[test]
fn a_copy_has_all_bytes_and_changes_none_beside_them() {
    for length in lengths() {
        for (to, from) in (0..17).flat_map(|to| [0, 1, 7, 8, 15].map(|from| (to, from))) {
            let source = patterned(from + length + 32);
            let mut target = vec![0xa5; to + length + 32];
            target[to..][..black_box(length)].copy_from_slice(&source[from..][..length]);
            for (at, byte) in target.iter().enumerate() {
                let expected = if (to..to + length).contains(&at) { pattern(at - to + from) } else { 0xa5 };
                assert_eq!(*byte, expected, "{length} bytes from {from} to {to}: at {at}");
            }
        }
    }
}

#[test]
fn a_copy_may_overlap_its_source() {
    for length in lengths() {
        for shift in [1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 1000] {
            for (from, to) in [(0, shift), (shift, 0), (3, 3 + shift), (3 + shift, 3)] {
                let mut bytes = patterned(length + 2 * shift + 8);
                bytes.copy_within(from..from + black_box(length), to);
                for (at, byte) in bytes.iter().enumerate() {
                    let expected =
                        if (to..to + length).contains(&at) { pattern(at - to + from) } else { pattern(at) };
                    assert_eq!(*byte, expected, "{length} bytes from {from} to {to}: at {at}");
                }
            }
        }
    }
}

#[test]
fn a_fill_has_all_bytes_and_changes_none_beside_them() {
    for length in lengths() {
        for (first, value) in (0..17).flat_map(|first| [0, 1, 0x80, 0xff].map(|value| (first, value))) {
            let mut bytes = patterned(first + length + 32);
            bytes[first..][..black_box(length)].fill(black_box(value));
            for (at, byte) in bytes.iter().enumerate() {
                let expected = if (first..first + length).contains(&at) { value } else { pattern(at) };
                assert_eq!(*byte, expected, "{length} bytes at {first}: at {at}");
            }
        }
    }
}

#[test]
fn the_first_byte_that_differs_decides() {
    for length in lengths().filter(|length| *length < 3000) {
        let (left, mut right) = (patterned(length + 1), patterned(length + 2));
        let left = &left[1..];
        right.copy_within(1..=length, 2);
        assert_eq!(left.cmp(black_box(&right[2..])), Ordering::Equal);
        assert!(*left == *black_box(&right[2..]));
        let step = if length < 300 { 1 } else { 61 };
        for at in (0..length).step_by(step) {
            let was = right[2 + at];
            for byte in [was.wrapping_add(1), was.wrapping_sub(1), !was] {
                right[2 + at] = byte;
                // What comes behind it does not count.
                let behind = right[2..].get(at + 1).copied();
                if let Some(behind) = behind {
                    right[3 + at] = !behind;
                }
                assert_eq!(left.cmp(black_box(&right[2..])), was.cmp(&byte), "{length} bytes, at {at}");
                assert!(*left != *black_box(&right[2..]), "{length} bytes, at {at}");
                if let Some(behind) = behind {
                    right[3 + at] = behind;
                }
            }
            right[2 + at] = was;
        }
    }
}
