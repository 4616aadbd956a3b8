//! What a client may get of a lie.

use super::town::LINKS;
use crate::fixture::Seen;

/// A byte that the liar sends in place of each.
pub(super) const LIARS_BYTE: u8 = 0xee;

/// What a client gets of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gets {
    /// That there is no such thing.
    Missing,
    /// The liar's word, with this length.
    Word(&'static str),
    /// Either of these, by what was asked before.
    WordOrMissing(&'static str),
    /// The liar's own bytes, so many.
    Own(usize),
    /// What the honest upstream gave, to everybody.
    Right,
    /// An error, or an answer that breaks off.
    Unusable,
    /// Either of these, by whether the parts that came before are of any use.
    MissingOrUnusable,
}

impl Gets {
    pub(super) fn is(self, seen: &Seen, right: &[u8]) -> bool {
        let is_word = |length: &str| seen.status == 200 && seen.header("content-length") == length;
        match self {
            Self::Missing => seen.status == 404,
            Self::Word(length) => is_word(length),
            Self::WordOrMissing(length) => is_word(length) || seen.status == 404,
            Self::Own(length) => seen.status == 206 && seen.body[..] == vec![LIARS_BYTE; length][..],
            Self::Right => {
                let is_link = seen.status == 307 && seen.header("location").starts_with(LINKS);
                is_link || (seen.status.is_success() && seen.end.is_ok() && seen.body == right)
            }
            Self::Unusable => seen.status == 504 || seen.end.is_err(),
            Self::MissingOrUnusable => Self::Missing.is(seen, right) || Self::Unusable.is(seen, right),
        }
    }
}
