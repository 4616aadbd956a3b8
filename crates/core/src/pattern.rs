//! Patterns over repository names: `*` stands for anything within a segment, `**` for anything across segments.

/// Whether the whole name fits the pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    fits(pattern.as_bytes(), name.as_bytes())
}

/// Whether the pieces, one after the other, fit the pattern. Requests ask this: what stands before the first star mostly decides it
/// without a copy.
pub(crate) fn matches_joined(pattern: &str, pieces: &[&str]) -> bool {
    let mut rest = pieces.iter().map(|piece| piece.as_bytes());
    let Some((stars, piece)) = behind_fixed(pattern, &mut rest) else { return false };
    match stars {
        b"" => piece.is_empty() && rest.all(<[u8]>::is_empty),
        b"*" => !piece.contains(&b'/') && rest.all(|piece| !piece.contains(&b'/')),
        b"**" => true,
        _ => {
            let mut name = piece.to_vec();
            rest.for_each(|piece| name.extend_from_slice(piece));
            fits(stars, &name)
        }
    }
}

/// Whether the pieces, one after the other, begin as the pattern does before its first star.
pub(crate) fn may_match_joined(pattern: &str, pieces: &[&str]) -> bool {
    behind_fixed(pattern, &mut pieces.iter().map(|piece| piece.as_bytes())).is_some()
}

/// The pattern from its first star on, and what is left of the piece in which that stands. `None`: they begin differently.
fn behind_fixed<'a>(
    pattern: &'a str,
    pieces: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<(&'a [u8], &'a [u8])> {
    let pattern = pattern.as_bytes();
    let end = pattern.iter().position(|byte| *byte == b'*').unwrap_or(pattern.len());
    let (mut fixed, stars) = pattern.split_at(end);
    let mut piece: &[u8] = &[];
    while !fixed.is_empty() {
        if piece.is_empty() {
            piece = pieces.next()?;
        }
        let common = fixed.len().min(piece.len());
        if fixed.get(..common) != piece.get(..common) {
            return None;
        }
        (fixed, piece) = (fixed.get(common..).unwrap_or_default(), piece.get(common..).unwrap_or_default());
    }
    Some((stars, piece))
}

/// Greedy matching with one point to fall back to for each kind of star, so that no pattern takes more than
/// quadratic time: names come from outside.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Behind the star, and up to where in the name it reaches so far.
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                p += 2;
                double = Some((p, n));
                single = None;
                continue;
            }
            (Some(b'*'), _) => {
                p += 1;
                single = Some((p, n));
                continue;
            }
            (Some(expected), Some(found)) if expected == found => {
                p += 1;
                n += 1;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // A mismatch: the nearest star takes one more character.
        if let Some((behind, reach)) = single {
            if name.get(reach).is_some_and(|b| *b != b'/') {
                single = Some((behind, reach + 1));
                (p, n) = (behind, reach + 1);
                continue;
            }
            single = None;
        }
        match double {
            Some((behind, reach)) if reach < name.len() => {
                double = Some((behind, reach + 1));
                (p, n) = (behind, reach + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_joined, may_match_joined};

    #[test]
    fn stars_keep_to_their_segments() {
        for (pattern, name, expected) in [
            ("library/*", "library/alpine", true),
            ("library/*", "library/a/b", false),
            ("library/*", "library/", true),
            ("rancher/**", "rancher/k3s/sub", true),
            ("rancher/**", "rancher", false),
            ("**", "anything/at/all", true),
            ("*", "one", true),
            ("*", "one/two", false),
            ("a*c/**/z", "abc/x/y/z", true),
            ("a*c/**/z", "ab/c/z", false),
            ("**/app", "team/sub/app", true),
            ("**/app", "team/sub/apple", false),
            ("*-dev/*", "x-dev/y", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("**a*b", "xa/ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
            for at in 0..=name.len() {
                let (first, second) = name.split_at(at);
                let pieces = [first, "", second];
                assert_eq!(matches_joined(pattern, &pieces), expected, "{pattern} {pieces:?}");
                assert!(may_match_joined(pattern, &pieces) || !expected, "{pattern} {pieces:?}");
            }
        }
    }

    #[test]
    fn a_name_in_pieces_fits_as_the_whole_of_it_does() {
        for (pattern, expected) in [
            ("docker.io/**", true),
            ("docker.io/library/*", true),
            ("docker.io/library/alpine:3.20", true),
            ("docker.io/library/alpine:*", true),
            ("docker.io/*/alpine:3.*", true),
            ("**:3.20", true),
            ("docker.io/library/alpine", false),
            ("docker.io/library/alpine:3.20.1", false),
            ("docker.io/*", false),
            ("docker.io:5000/**", false),
            ("docker.i*o/**", true),
            ("ghcr.io/**", false),
        ] {
            let pieces = ["docker.io", "/", "library/alpine", ":", "3.20"];
            assert_eq!(matches_joined(pattern, &pieces), expected, "{pattern}");
            assert_eq!(matches(pattern, &pieces.concat()), expected, "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_does_not_explode() {
        assert!(!matches(&format!("{}c", "*a".repeat(40)), &"a".repeat(250)));
        assert!(!matches(&format!("{}c", "**a".repeat(40)), &"a".repeat(250)));
    }
}
