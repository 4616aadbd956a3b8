//! Our own logins at an upstream: the accounts of the configuration, or the login that its cloud issues.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::login::{Login, LoginSource};
use super::renewed_login::RenewedLogin;
use crate::config::UpstreamConfig;
use crate::platform::Platform;
use crate::seal::Sealer;
use crate::secret::{Basic, Secret};

/// Our own accounts at an upstream.
pub(super) struct AccountPool {
    pub(super) accounts: Vec<Account>,
    /// Whose turn it is, where several accounts are for the same repositories.
    pub(super) turn: AtomicUsize,
    /// The login that the upstream's cloud issues; there are no accounts beside it.
    pub(super) renewed: Option<Arc<RenewedLogin>>,
}

impl AccountPool {
    pub(super) fn new(index: usize, upstream: &UpstreamConfig, sealer: &Arc<Sealer>, platform: &Platform) -> Self {
        let renewed = upstream.login.and_then(|_| RenewedLogin::new(index, &upstream.name, sealer, platform));
        Self { accounts: configured(upstream, sealer), turn: AtomicUsize::new(0), renewed }
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
