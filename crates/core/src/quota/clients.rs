//! One tally for each client, and one for all clients that the full table does not tell apart.
//!
//! A client stays in the table until the hour and the day in which it used something are over, so that nobody resets their count
//! by sending requests from many other addresses. New clients share one tally while the table is full.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit::share;
use super::window::{QuotaWindow, Tally, Usage};
use crate::client::Client;
use crate::config::Quota;
use crate::seal::derive;
use crate::secret::Secret;

/// A client's name in reports: valid for one day, and not its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alias(u64);

impl Alias {
    /// Reads what `Display` writes, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_alias = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_alias.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Makes aliases. Instances that share the signing key, or have none, make the same ones. Without a key, whoever reads the store
/// can find the address by trying all of them.
#[derive(Clone)]
pub(crate) struct Aliases([u8; 32]);

impl Aliases {
    pub(crate) fn new(signing_key: Option<&Secret>) -> Self {
        let key = signing_key.map_or(&b""[..], |key| key.expose().as_bytes());
        Self(derive(key, b"registry-proxy client v1"))
    }

    /// A client's alias on that day.
    pub(crate) fn of(&self, client: Client, day: u64) -> Alias {
        let (kind, network) = match client {
            Client::V4(address) => (4, u64::from(address)),
            Client::V6(network) => (6, network),
        };
        let hash = derive(&self.0, [day, kind, network].map(u64::to_be_bytes).as_flattened());
        Alias(hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    known: Mutex<ClientTallies>,
    others: Arc<Tally>,
}

#[derive(Debug, Default)]
struct ClientTallies {
    tallies: BTreeMap<Client, Arc<Tally>>,
    /// The hour in which tallies that are over were last removed.
    swept: Option<u64>,
}

impl ClientTable {
    /// A client's tally, in a table of at most `most` clients. Clients without a known address share one tally.
    pub(crate) fn tally(&self, address: Option<IpAddr>, most: usize, now: u64) -> Arc<Tally> {
        let Some(client) = address.map(Client::from) else { return Arc::clone(&self.others) };
        let mut known = self.known();
        if let Some(tally) = known.tallies.get(&client) {
            return Arc::clone(tally);
        }
        // No tally is over before the hour is, so one sweep an hour is enough.
        let hour = QuotaWindow::Hour.number(now);
        if known.tallies.len() >= most && known.swept != Some(hour) {
            known.swept = Some(hour);
            // A tally that a response still counts into must stay in the table.
            known.tallies.retain(|_, tally| Arc::strong_count(tally) > 1 || tally.usage(now) != Usage::default());
        }
        if known.tallies.len() >= most {
            return Arc::clone(&self.others);
        }
        Arc::clone(known.tallies.entry(client).or_default())
    }

    /// The clients that have used the largest share of what a client may have.
    pub(crate) fn foremost(&self, quota: &Quota, most: usize, now: u64) -> Vec<(Client, Usage)> {
        let used = |(client, tally): (&Client, &Arc<Tally>)| (*client, tally.usage(now));
        let mut clients: Vec<(Client, Usage)> = self.known().tallies.iter().map(used).collect();
        clients.retain(|(_, usage)| *usage != Usage::default());
        clients.sort_by_key(|(_, usage)| Reverse(share(quota, *usage)));
        clients.truncate(most);
        clients
    }

    fn known(&self) -> MutexGuard<'_, ClientTallies> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;
    use crate::quota::window::Resource;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_table_lets_nobody_go_before_their_day_is_over() {
        let clients = ClientTable::default();
        let use_one = |text: &str, now: u64| {
            let tally = clients.tally(Some(address(text)), 2, now);
            tally.add(Resource::Requests, 1, now);
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

    #[test]
    fn others_are_told_of_those_who_have_used_most_of_what_they_may() {
        let clients = ClientTable::default();
        let quota = Quota { requests_per_hour: Some(100), bytes_per_day: Some(Bytes(1000)), ..Quota::default() };
        for (text, requests, bytes) in
            [("192.0.2.1", 1, 0), ("192.0.2.2", 2, 900), ("192.0.2.3", 50, 10), ("192.0.2.4", 0, 0)]
        {
            let tally = clients.tally(Some(address(text)), 10, 0);
            tally.add(Resource::Requests, requests, 0);
            tally.add(Resource::Bytes, bytes, 0);
        }
        let foremost = |most: usize| -> Vec<Client> {
            clients.foremost(&quota, most, 0).into_iter().map(|(client, _)| client).collect()
        };
        let named = ["192.0.2.2", "192.0.2.3", "192.0.2.1"].map(|text| Client::from(address(text)));
        assert_eq!(foremost(9), named);
        assert_eq!(foremost(2), named[..2]);
        assert_eq!(clients.foremost(&quota, 9, 90_000), [], "the day is over");
    }

    #[test]
    fn an_alias_is_one_of_a_client_a_day_and_a_key() {
        let key = |text: &str| Aliases::new(Some(&Secret::new(text)));
        let of = |aliases: &Aliases, text: &str, day: u64| aliases.of(Client::from(address(text)), day);
        let alias = of(&key("k"), "192.0.2.1", 1);
        assert_eq!(of(&key("k"), "192.0.2.1", 1), alias);
        assert_eq!(Alias::parse(&alias.to_string()), Some(alias));
        let others = [
            of(&key("k"), "192.0.2.2", 1),
            of(&key("k"), "192.0.2.1", 2),
            of(&key("l"), "192.0.2.1", 1),
            of(&key("k"), "0:0:c000:201::", 1),
            of(&Aliases::new(None), "192.0.2.1", 1),
        ];
        assert!(!others.contains(&alias));
    }
}
