//! User names and passwords: where they come from, and the accounts of the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::config::UpstreamConfig;
use crate::seal::Sealer;
use crate::secret::{Basic, Secret};

/// A user name and password, and the mark by which tables know them.
#[derive(Debug)]
pub struct Login {
    /// The login.
    pub basic: Basic,
    /// Its fingerprint.
    pub id: [u8; 16],
    /// Where it comes from.
    pub origin: LoginSource,
}

impl Login {
    /// A login that a client brought.
    pub fn new(basic: Basic, sealer: &Sealer) -> Self {
        let id = sealer.fingerprint(&[&basic.username, basic.password.expose()]);
        Self { basic, id, origin: LoginSource::Client }
    }
}

/// Where a login comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSource {
    /// The client brought it.
    Client,
    /// `username` and `password`.
    Account,
    /// This entry of `credentials`.
    Entry(usize),
    /// `docker_config`.
    DockerConfig,
}

/// Our own accounts at an upstream.
pub(super) struct AccountPool {
    pub(super) accounts: Vec<Account>,
    /// Whose turn it is, where several accounts are for the same repositories.
    pub(super) turn: AtomicUsize,
}

impl AccountPool {
    pub(super) fn new(upstream: &UpstreamConfig, sealer: &Sealer) -> Self {
        Self { accounts: configured(upstream, sealer), turn: AtomicUsize::new(0) }
    }
}

/// An account of ours for repositories that begin so.
pub(super) struct Account {
    pub(super) prefix: String,
    pub(super) login: Arc<Login>,
}

/// The accounts of an upstream's configuration: the longest prefix first, and in the order of the file.
fn configured(upstream: &UpstreamConfig, sealer: &Sealer) -> Vec<Account> {
    let account = |prefix: &str, username: &str, password: &Secret, origin| {
        let basic = Basic { username: username.to_owned(), password: password.clone() };
        Account { prefix: prefix.to_owned(), login: Arc::new(Login { origin, ..Login::new(basic, sealer) }) }
    };
    let default = upstream.username.as_ref().zip(upstream.password.as_ref());
    let entries = upstream.credentials.iter().enumerate();
    let mut accounts: Vec<Account> = default
        .map(|(username, password)| account("", username, password, LoginSource::Account))
        .into_iter()
        .chain(entries.filter_map(|(index, entry)| {
            Some(account(&entry.prefix, &entry.username, entry.password.as_ref()?, LoginSource::Entry(index)))
        }))
        .collect();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.prefix.len()));
    accounts
}
