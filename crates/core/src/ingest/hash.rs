//! SHA-256 that can be put down between two parts and taken up by another process.

use std::fmt::Write as _;

use sha2::block_api::compress256;

use crate::digest::Digest;

/// Bytes that are hashed at once; what can be put down is a whole number of them.
const BLOCK_BYTES: usize = 64;

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hash of whole blocks so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hash {
    words: [u32; 8],
    /// Bytes hashed so far.
    length: u64,
}

impl Hash {
    pub(super) fn new() -> Self {
        Self { words: INITIAL, length: 0 }
    }

    /// Bytes hashed so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Hashes whole blocks; the bytes behind the last one are left, and returned.
    pub(super) fn update<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        compress256(&mut self.words, blocks);
        self.length += (bytes.len() - rest.len()) as u64;
        rest
    }

    /// The digest of everything, of which these are the last bytes.
    pub(super) fn finish(mut self, last: &[u8]) -> Digest {
        let rest = self.update(last);
        let bits = (self.length + rest.len() as u64).wrapping_mul(8);
        // FIPS 180-4, 5.1.1: a one, zeros up to the end of a block, and there the length in bits.
        let mut end = rest.to_vec();
        end.push(0x80);
        while end.len() % BLOCK_BYTES != BLOCK_BYTES - 8 {
            end.push(0);
        }
        end.extend(bits.to_be_bytes());
        self.update(&end);
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(self.words) {
            *bytes = word.to_be_bytes();
        }
        Digest::of_sha256(&hash)
    }

    /// For a record: 64 hexadecimal digits.
    pub(super) fn to_text(&self) -> String {
        self.words.iter().fold(String::new(), |mut text, word| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{word:08x}");
            text
        })
    }

    /// From a record, after so many bytes; `None`: it is none.
    pub(super) fn parse(text: &str, length: u64) -> Option<Self> {
        if text.len() != 64
            || !length.is_multiple_of(BLOCK_BYTES as u64)
            || !text.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            return None;
        }
        let mut words = [0; 8];
        for (word, digits) in words.iter_mut().zip(text.as_bytes().as_chunks::<8>().0) {
            *word = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self { words, length })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_sha_256_however_often_it_is_put_down(
            bytes in proptest::collection::vec(any::<u8>(), 0..1000),
            cuts in proptest::collection::vec(0_usize..16, 0..4),
        ) {
            let mut hash = Hash::new();
            let mut done = 0;
            for cut in cuts {
                let until = (done + cut * BLOCK_BYTES).min(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
                prop_assert!(hash.update(&bytes[done..until]).is_empty());
                done = until;
                prop_assert_eq!(hash.length(), done as u64);
                hash = Hash::parse(&hash.to_text(), hash.length()).unwrap();
            }
            prop_assert_eq!(hash.finish(&bytes[done..]), Digest::sha256(&bytes));
        }

        #[test]
        fn whatever_is_written_there_is_a_hash_or_none(text in ".*", length in any::<u64>()) {
            if let Some(hash) = Hash::parse(&text, length) {
                prop_assert_eq!(hash.to_text(), text.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_not_taken() {
        let text = Hash::new().to_text();
        assert_eq!(Hash::parse(&text, 0), Some(Hash::new()));
        assert_eq!(Hash::parse(&text, 63), None);
        assert_eq!(Hash::parse(&text[1..], 64), None);
        assert_eq!(Hash::parse(&text.replace('6', "g"), 64), None);
        assert_eq!(Hash::parse(&format!("+{}", &text[1..]), 64), None);
    }
}
