//! The report that an instance writes for the others, below a key that names the day: pure.
//!
//! The first line is `<hour> <requests of the hour> <bytes of the hour> <requests of the day> <bytes of the day>`, of all
//! clients together. Each further line is one client: its alias, and the same four numbers. Earlier versions wrote the
//! first line alone.

use std::fmt::Write as _;

use bytes::Bytes;

use super::clients::Alias;
use super::window::Usage;

/// Most clients in one report.
pub(crate) const MAX_CLIENTS: usize = 64;
/// Longer than any report of ours.
const MAX_BYTES: usize = 8 << 10;

/// What one instance has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UsageReport {
    /// The latest hour.
    pub(crate) hour: u64,
    pub(crate) usage: Usage,
    /// Those who have used most.
    pub(crate) clients: Vec<(Alias, Usage)>,
}

impl UsageReport {
    pub(crate) fn to_record(&self) -> Bytes {
        let mut record = format!("{} {}", self.hour, text_of(self.usage));
        for (alias, usage) in &self.clients {
            // Writing to a String cannot fail.
            let _ = write!(record, "\n{alias} {}", text_of(*usage));
        }
        Bytes::from(record)
    }

    /// `None`: it is none of ours. Whoever can write into the store may have written anything.
    pub(crate) fn from_record(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok().filter(|text| text.len() <= MAX_BYTES)?;
        let mut lines = text.split('\n').map(|line| line.split_once(' '));
        let (hour, usage) = lines.next()??;
        let (hour, usage) = (hour.parse().ok()?, usage_of(usage)?);
        let clients =
            lines.map(|line| line.and_then(|(alias, usage)| Some((Alias::parse(alias)?, usage_of(usage)?))));
        let clients: Vec<_> = clients.collect::<Option<_>>()?;
        (clients.len() <= MAX_CLIENTS).then_some(Self { hour, usage, clients })
    }

    /// The report in this hour of its day.
    pub(crate) fn at(mut self, hour: u64) -> Self {
        if self.hour != hour {
            self.usage = self.usage.of_day();
            for (_, usage) in &mut self.clients {
                *usage = usage.of_day();
            }
        }
        Self { hour, ..self }
    }
}

fn text_of(Usage { requests, bytes }: Usage) -> String {
    format!("{} {} {} {}", requests[0], bytes[0], requests[1], bytes[1])
}

fn usage_of(text: &str) -> Option<Usage> {
    let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [requests, bytes, requests_of_day, bytes_of_day] = numbers[..] else { return None };
    Some(Usage { requests: [requests, requests_of_day], bytes: [bytes, bytes_of_day] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> UsageReport {
        let client = Usage { requests: [1, 2], bytes: [3, 4] };
        UsageReport {
            hour: 472_222,
            usage: Usage { requests: [1, 20], bytes: [300, u64::MAX] },
            clients: vec![(Alias::parse("00000000000000ff").unwrap(), client)],
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let record = report().to_record();
        assert_eq!(&record[..], b"472222 1 300 20 18446744073709551615\n00000000000000ff 1 3 2 4");
        assert_eq!(UsageReport::from_record(&record), Some(report()));
        assert_eq!(report().at(472_222), report());
        let later = report().at(472_223);
        assert_eq!(later.usage, Usage { requests: [0, 20], bytes: [0, u64::MAX] }, "the hour is over");
        assert_eq!(later.clients[0].1, Usage { requests: [0, 2], bytes: [0, 4] });
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let read = UsageReport::from_record(b"472222 1 300 20 4000");
        assert_eq!(read.unwrap().usage, Usage { requests: [1, 20], bytes: [300, 4000] });
    }

    #[test]
    fn the_largest_note_is_read_and_nonsense_is_not() {
        let most = Usage { requests: [u64::MAX; 2], bytes: [u64::MAX; 2] };
        let alias = Alias::parse("ffffffffffffffff").unwrap();
        let of = |clients| UsageReport { hour: u64::MAX, usage: most, clients: vec![(alias, most); clients] };
        assert_eq!(UsageReport::from_record(&of(MAX_CLIENTS).to_record()), Some(of(MAX_CLIENTS)));
        assert_eq!(UsageReport::from_record(&of(MAX_CLIENTS + 1).to_record()), None);
        let long = format!("{}1 2 3 4 5", "0".repeat(MAX_BYTES));
        for text in [
            "",
            "1 2 3 4",
            "1 2 3 4 5 6",
            "1 2 3 4 -5",
            "\u{e9}",
            "1 2 3 4 5\n",
            "1 2 3 4 5\n1 2 3 4 5",
            "1 2 3 4 5\n00000000000000FF 1 2 3 4",
            "1 2 3 4 5\n+0000000000000ff 1 2 3 4",
            "1 2 3 4 5\n00000000000000ff 1 2 3",
            &long,
        ] {
            assert_eq!(UsageReport::from_record(text.as_bytes()), None, "{text}");
        }
    }
}
