//! How far an upload has come, as it is stored: what a request in another process needs to continue it.

use super::hash::Hash;

/// An upload that waits to be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Length of the blob, in bytes.
    pub(super) total: u64,
    /// The hash of the bytes that are sent, and their number.
    pub(super) hash: Hash,
    /// Number of bytes behind them, which are stored beside this record.
    pub(super) tail_bytes: u64,
    /// What the store needs to continue the upload.
    pub(super) upload: String,
}

/// The first line: the version of the format. No other version is read.
const FORM: &str = "1";
/// The longest that is read.
const MAX_BYTES: usize = 1 << 20;

impl Checkpoint {
    /// Six lines.
    pub(super) fn to_record(&self) -> String {
        let Self { total, hash, tail_bytes, upload } = self;
        format!("{FORM}\n{total}\n{}\n{}\n{tail_bytes}\n{upload}", hash.length(), hash.to_text())
    }

    /// `None`: it cannot be read, so the upload begins anew.
    pub(super) fn from_record(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok().filter(|text| text.len() <= MAX_BYTES)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [FORM, total, sent, hash, tail, upload] = lines.as_slice() else { return None };
        let number = |text: &str| text.parse::<u64>().ok();
        let (total, sent, tail_bytes) = (number(total)?, number(sent)?, number(tail)?);
        let parked = Self { total, hash: Hash::parse(hash, sent)?, tail_bytes, upload: (*upload).to_owned() };
        let is_sane = sent < total && tail_bytes <= total - sent && !upload.is_empty();
        is_sane.then_some(parked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parked() -> Checkpoint {
        let mut hash = Hash::new();
        hash.update(&[7; 640]);
        Checkpoint { total: 1000, hash, tail_bytes: 100, upload: "id parts".to_owned() }
    }

    #[test]
    fn it_reads_back() {
        assert_eq!(Checkpoint::from_record(parked().to_record().as_bytes()), Some(parked()));
    }

    #[test]
    fn what_cannot_be_is_not_read() {
        let good = parked().to_record();
        for (what, wrong) in [
            ("form", good.replacen('1', "2", 1)),
            ("more than all", good.replacen("1000", "600", 1)),
            ("a tail too long", good.replacen("\n100\n", "\n361\n", 1)),
            ("no whole blocks", good.replacen("640", "641", 1)),
            ("a line more", format!("{good}\n")),
            ("no upload", good.replace("id parts", "")),
            ("torn", good[..good.len() / 2].to_owned()),
        ] {
            assert_eq!(Checkpoint::from_record(wrong.as_bytes()), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_there(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(parked) = Checkpoint::from_record(&bytes) {
                prop_assert!(parked.hash.length() < parked.total);
            }
        }
    }
}
