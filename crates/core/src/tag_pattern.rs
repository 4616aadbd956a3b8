//! Patterns of tags, `alpine:3.*`: which tags of a list fit, and which of those are the newest. Pure.

use std::cmp::Ordering;

use crate::pattern;

/// Splits an image's name before its tag, if that is a pattern.
pub(crate) fn split(image: &str) -> Option<(&str, &str)> {
    let (name, tag) = image.rsplit_once(':')?;
    (tag.contains('*') && !tag.contains('/')).then_some((name, tag))
}

/// The tags that fit with the highest version numbers, the highest first. A list has no dates, so that is what tells which
/// tag is newer.
pub(crate) fn newest(pattern: &str, mut tags: Vec<String>, most: usize) -> Vec<String> {
    tags.retain(|tag| pattern::matches(pattern, tag));
    tags.sort_unstable_by(|one, other| by_version(other, one));
    tags.dedup();
    tags.truncate(most);
    tags
}

/// Compares numbers by their value, and what stands between them as text. What goes on with a number is a later version, and
/// what goes on otherwise an earlier one: `3.20-rc1` comes before `3.20`, and that before `3.20.1`.
fn by_version(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        match (one.is_empty(), other.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if goes_on(other) { Ordering::Less } else { Ordering::Greater },
            (false, true) => return if goes_on(one) { Ordering::Greater } else { Ordering::Less },
            (false, false) => {}
        }
        let (number, rest) = take(one, |byte| byte.is_ascii_digit());
        let (other_number, other_rest) = take(other, |byte| byte.is_ascii_digit());
        let order = match (number.is_empty(), other_number.is_empty()) {
            (false, false) => by_value(number, other_number),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (true, true) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, other_rest);
        let (word, rest) = take(one, |byte| !byte.is_ascii_digit());
        let (other_word, other_rest) = take(other, |byte| !byte.is_ascii_digit());
        match (word.is_empty(), other_word.is_empty()) {
            // The next round says what the longer one means.
            (true, false) | (false, true) => continue,
            (true, true) | (false, false) => {}
        }
        if word != other_word {
            // `.` is followed by a part of the version, anything else by what is not one.
            return (word == ".").cmp(&(other_word == ".")).then_with(|| word.cmp(other_word));
        }
        (one, other) = (rest, other_rest);
    }
}

fn goes_on(rest: &str) -> bool {
    let number = rest.strip_prefix('.').unwrap_or(rest);
    number.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

fn take(text: &str, is_taken: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !is_taken(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn by_value(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_tag_can_be_a_pattern() {
        for (image, expected) in [
            ("alpine:3.*", Some(("alpine", "3.*"))),
            ("localhost:5000/a/b:*", Some(("localhost:5000/a/b", "*"))),
            ("alpine:3", None),
            ("localhost:5000/a*", None),
            ("alpine*", None),
        ] {
            assert_eq!(split(image), expected, "{image}");
        }
    }

    #[test]
    fn the_newest_are_those_with_the_highest_versions() {
        let all =
            ["3.9", "3.20", "3.20.1", "3.20-rc1", "3", "latest", "3.21.0", "3.21", "edge", "3.20.10", "3.20.9"];
        for (pattern, most, expected) in [
            ("3.*", 3, &["3.21.0", "3.21", "3.20.10"][..]),
            ("3.*", 9, &["3.21.0", "3.21", "3.20.10", "3.20.9", "3.20.1", "3.20", "3.20-rc1", "3.9"]),
            ("3.20*", 2, &["3.20.10", "3.20.9"]),
            ("4.*", 2, &[]),
            ("*", 1, &["3.21.0"]),
        ] {
            let tags = all.iter().map(|&tag| tag.to_owned()).collect();
            assert_eq!(newest(pattern, tags, most), expected, "{pattern}");
        }
        let dates = ["2024.01.30", "2024.02.01", "2023.12.31"].map(str::to_owned).to_vec();
        assert_eq!(newest("*", dates, 1), ["2024.02.01"]);
        let numbers = [format!("1{}", "0".repeat(60)), "9".to_owned()].to_vec();
        assert_eq!(newest("*", numbers, 1)[0].len(), 61);
    }

    proptest! {
        #[test]
        fn versions_are_in_one_order(mut tags in proptest::collection::vec("[a0-2._-]{0,6}", 3)) {
            let order = |one: usize, other: usize| by_version(&tags[one], &tags[other]);
            prop_assert_eq!(order(0, 1), order(1, 0).reverse());
            if order(0, 1).is_le() && order(1, 2).is_le() {
                prop_assert!(order(0, 2).is_le(), "{:?}", tags);
            }
            tags.sort_by(|one, other| by_version(one, other));
        }
    }
}
