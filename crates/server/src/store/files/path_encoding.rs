//! Encodes keys as paths. On case-sensitive file systems a key is its path. Elsewhere (macOS, ext4 with casefold) the tags `V1`
//! and `v1` would be one file, so a path segment with capitals is written in lower case, followed by their positions: `V1` is
//! `v1!1`. Keys without capitals, nearly all, are the same everywhere.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use registry_proxy_core::cache::Key;

/// Separates the letters from the positions of capitals; no key contains it.
const MARK: char = '!';

/// The encoding of keys in one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathEncoding {
    /// The key is the path.
    Plain,
    /// Capitals are encoded.
    CaseFolded,
}

impl PathEncoding {
    /// Finds out whether the file system ignores case: looks up this directory by its name in capitals.
    pub(super) fn probe(directory: &Path) -> io::Result<Self> {
        let own = std::fs::metadata(directory)?;
        let capitals = directory.file_name().map(|name| directory.with_file_name(name.to_ascii_uppercase()));
        let is_found = capitals
            .and_then(|path| std::fs::metadata(path).ok())
            .is_some_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()));
        Ok(if is_found { Self::CaseFolded } else { Self::Plain })
    }

    /// The path of a key.
    pub(super) fn path_of(self, key: &Key) -> Cow<'_, str> {
        let text = key.as_str();
        match self {
            Self::CaseFolded if has_capitals(text) => {
                text.split('/').map(folded).collect::<Vec<_>>().join("/").into()
            }
            Self::Plain | Self::CaseFolded => text.into(),
        }
    }

    /// The key of a path; `None`: it is not ours, or was written before capitals were encoded and is ambiguous.
    pub(super) fn key_of(self, path: &str) -> Option<Key> {
        match self {
            Self::CaseFolded if has_capitals(path) => None,
            Self::CaseFolded if path.contains(MARK) => {
                let parts: Option<Vec<String>> = path.split('/').map(unfolded).collect();
                Key::parse(&parts?.join("/"))
            }
            Self::Plain | Self::CaseFolded => Key::parse(path),
        }
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A hexadecimal digit for every four letters, with bits for the capitals among them. Trailing zeros are left out.
fn folded(part: &str) -> String {
    if !has_capitals(part) {
        return part.to_owned();
    }
    let places = part.as_bytes().chunks(4).map(|four| {
        let digit =
            four.iter().zip(0..).fold(0, |sum, (byte, at)| sum | u32::from(byte.is_ascii_uppercase()) << at);
        char::from_digit(digit, 16).unwrap_or('0')
    });
    let places: String = places.collect();
    format!("{}{MARK}{}", part.to_ascii_lowercase(), places.trim_end_matches('0'))
}

/// The reverse of [`folded`]; `None`: nothing is encoded so.
fn unfolded(part: &str) -> Option<String> {
    let Some((letters, places)) = part.split_once(MARK) else { return Some(part.to_owned()) };
    let digits: Option<Vec<u32>> = places.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let text: String = letters
        .char_indices()
        .map(|(at, letter)| {
            let is_capital = digits.get(at / 4).is_some_and(|digit| digit >> (at % 4) & 1 == 1);
            if is_capital { letter.to_ascii_uppercase() } else { letter }
        })
        .collect();
    (folded(&text) == part).then_some(text)
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::digest::Digest;
    use registry_proxy_core::name::RepositoryName;

    use super::*;

    fn tag(tag: &str) -> Key {
        Key::tag("up.test", &RepositoryName::parse("acme/app").unwrap(), tag)
    }

    #[test]
    fn tags_that_differ_in_case_alone_are_two_files_where_case_is_folded() {
        for (name, file) in [
            ("v1", "v1"),
            ("V1", "v1!1"),
            ("RC1", "rc1!3"),
            ("1.0-Beta", "1.0-beta!01"),
            ("_-.", "_-."),
            ("aaaaaaaB", "aaaaaaab!08"),
            (&"A".repeat(128), &format!("{}!{}", "a".repeat(128), "f".repeat(32))),
        ] {
            let path = format!("v1/tags/up.test/acme/app/_/{file}");
            assert_eq!(PathEncoding::CaseFolded.path_of(&tag(name)), path);
            assert_eq!(PathEncoding::CaseFolded.key_of(&path), Some(tag(name)), "{path}");
            assert_eq!(PathEncoding::Plain.path_of(&tag(name)), tag(name).as_str(), "as every store has it");
        }
        let odd = Digest::parse("multihash+base58:QmRZ").unwrap();
        assert_eq!(PathEncoding::CaseFolded.path_of(&Key::lease(&odd, 1)), "v1/leases/multihash+base58/qmrz!d/1");
    }

    #[test]
    fn what_nothing_is_spelled_like_is_no_key() {
        for file in ["V1", "v1!", "v1!0", "v1!01", "v1!2", "v1!g", "v1!10", "v1!1!1", "!", "v!f"] {
            let path = format!("v1/tags/up.test/acme/app/_/{file}");
            assert_eq!(PathEncoding::CaseFolded.key_of(&path), None, "{file}");
        }
    }

    #[test]
    fn a_directory_is_probed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("tmp");
        std::fs::create_dir(&place).unwrap();
        let folds = dir.path().join("TMP").exists();
        assert_eq!(PathEncoding::probe(&place).unwrap() == PathEncoding::CaseFolded, folds);
        if folds {
            return;
        }
        std::fs::create_dir(dir.path().join("TMP")).unwrap();
        assert_eq!(PathEncoding::probe(&place).unwrap(), PathEncoding::Plain, "another directory of that name");
        std::fs::remove_dir(dir.path().join("TMP")).unwrap();
        // As it looks where case is folded.
        std::os::unix::fs::symlink(&place, dir.path().join("TMP")).unwrap();
        assert_eq!(PathEncoding::probe(&place).unwrap(), PathEncoding::CaseFolded);
    }
}
