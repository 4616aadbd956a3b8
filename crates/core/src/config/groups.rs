//! Groups of users (`clients.groups_file`), as Apache's `AuthGroupFile` writes them.

use std::collections::{BTreeMap, BTreeSet};

/// The users of each group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<Box<str>, BTreeSet<Box<str>>>);

impl Groups {
    /// Reads lines of `group: user user …`. Empty lines and those that begin with `#` are left out. A group on two lines has the users
    /// of both. Otherwise what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut groups = BTreeMap::<Box<str>, BTreeSet<Box<str>>>::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let group = line.split_once(':').map(|(group, users)| (group.trim(), users));
            let Some((group, users)) =
                group.filter(|(group, _)| !group.is_empty() && !group.contains(char::is_whitespace))
            else {
                return Err(format!("line {}: expected group: user user", index + 1));
            };
            groups.entry(group.into()).or_default().extend(users.split_whitespace().map(Box::from));
        }
        Ok(Self(groups))
    }

    /// The users of a group.
    pub fn of(&self, group: &str) -> impl Iterator<Item = &str> {
        self.0.get(group).into_iter().flatten().map(AsRef::as_ref)
    }

    /// All groups with their users.
    pub fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(group, users)| users.iter().map(move |user| (&**group, &**user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_groups_is_read_as_apache_reads_it() {
        let groups = Groups::parse("# people\n\nops: alice bob\r\ndev : carol\nops:dave\nnobody:\n").unwrap();
        let of = |group: &str| groups.of(group).collect::<Vec<_>>().join(" ");
        assert_eq!((of("ops"), of("dev")), ("alice bob dave".to_owned(), "carol".to_owned()));
        assert_eq!((of("nobody"), of("other")), (String::new(), String::new()));
        for text in ["ops", ": alice", "a b: c", "\nops alice"] {
            assert!(Groups::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Groups::parse("\nops").unwrap_err(), "line 2: expected group: user user");
    }
}
