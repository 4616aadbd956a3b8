//! A tally for each client, and one for all whom there is no room to tell apart.
//!
//! Whoever has used something of this hour or day stays until that is over, so that nobody gets rid of their count by
//! sending many others after themselves. Newcomers to a full table share one count instead.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::window::{Tally, Usage, Window};

/// Whom a limit is for: an IPv4 address, or the /64 that an IPv6 client has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6(u64::try_from(ip.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: Mutex<Known>,
    others: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Known {
    tallies: BTreeMap<Client, Arc<Tally>>,
    /// In which hour those were last let go whose hour and day are over.
    swept: Option<u64>,
}

impl Clients {
    /// Where a client is counted, of at most `most` that are told apart. Whose address is not known is one of the
    /// others.
    pub(crate) fn tally(&self, address: Option<IpAddr>, most: usize, now: u64) -> Arc<Tally> {
        let Some(client) = address.map(Client::from) else { return Arc::clone(&self.others) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = known.tallies.get(&client) {
            return Arc::clone(tally);
        }
        // Nobody's time is up before the hour is: looking once is enough, however many knock.
        let hour = Window::Hour.number(now);
        if known.tallies.len() >= most && known.swept != Some(hour) {
            known.swept = Some(hour);
            // What is still being sent counts on, and where it is looked for.
            known.tallies.retain(|_, tally| Arc::strong_count(tally) > 1 || tally.usage(now) != Usage::default());
        }
        if known.tallies.len() >= most {
            return Arc::clone(&self.others);
        }
        Arc::clone(known.tallies.entry(client).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::window::What;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_one_client() {
        let of = |text: &str| Client::from(address(text));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::1"), of("0.0.0.1"));
    }

    #[test]
    fn a_full_table_lets_nobody_go_before_their_day_is_over() {
        let clients = Clients::default();
        let use_one = |text: &str, now: u64| {
            let tally = clients.tally(Some(address(text)), 2, now);
            tally.add(What::Requests, 1, now);
            tally.usage(now).requests[1]
        };
        assert_eq!(use_one("192.0.2.1", 0), 1);
        assert_eq!(use_one("192.0.2.2", 0), 1);
        assert_eq!((use_one("192.0.2.3", 0), use_one("192.0.2.4", 1)), (1, 2), "newcomers share");
        assert_eq!(clients.tally(None, 2, 0).usage(0).requests, [2; 2], "with those whose address nobody knows");
        // The hour is over, the day is not.
        assert_eq!((use_one("192.0.2.5", 4000), use_one("192.0.2.1", 4000)), (3, 2));
        // The next day there is room again, for two.
        assert_eq!((use_one("192.0.2.5", 90_000), use_one("192.0.2.6", 90_000)), (1, 1));
        assert_eq!((use_one("192.0.2.7", 90_000), use_one("192.0.2.1", 90_000)), (1, 2));
        assert_eq!(clients.known.lock().unwrap().tallies.len(), 2);
    }
}
