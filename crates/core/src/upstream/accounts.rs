//! Which login an upstream is asked with: the client's, or that of an account of ours. Several accounts for the same
//! repositories form a pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;

use super::budget::{Budget, Payer, order};
use super::limits::Limited;
use super::login::{Login, LoginSource};
use super::{Actions, Address, Ask, Identity, Upstream};
use crate::error::Failure;
use crate::evidence::Provenance;
use crate::name::RepositoryName;
use crate::platform::RequestPurpose;

/// No account can pay for a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scarcity {
    /// When one can.
    pub(crate) left: Duration,
    /// Whether an account has pulls left that are kept for manifests that clients want and that are not cached; otherwise all
    /// are limited.
    pub(crate) is_reserve: bool,
}

impl Upstream {
    /// The logins that an address may be asked with for this repository: the client's, or our accounts for the longest
    /// prefix, or the login that its cloud issues, or the login in `docker_config`, or none. Never empty.
    ///
    /// # Errors
    ///
    /// [`Failure::NotLoggedIn`] if its cloud issues no login.
    pub(super) async fn logins(
        &self,
        identity: &Identity,
        name: &RepositoryName,
        address: &Address,
    ) -> Result<Vec<Option<Arc<Login>>>, Failure> {
        if let Identity::Client(login) = identity {
            return Ok(vec![login.clone()]);
        }
        if let Some(renewed) = &self.accounts.renewed {
            return Ok(vec![Some(renewed.current().await?)]);
        }
        let pool: Vec<_> = self.pool(name).map(|login| Some(Arc::clone(login))).collect();
        Ok(if pool.is_empty() { vec![self.stored_login(address, name).await] } else { pool })
    }

    /// Our accounts for the longest prefix of this repository's name.
    pub(crate) fn pool(&self, name: &RepositoryName) -> impl Iterator<Item = &Arc<Login>> {
        let first = self.accounts.accounts.iter().find(|account| name.as_str().starts_with(&account.prefix));
        let prefix = first.map(|account| &account.prefix);
        self.accounts
            .accounts
            .iter()
            .filter(move |account| Some(&account.prefix) == prefix)
            .map(|account| &account.login)
    }

    /// Whether it is asked without a login. If a Docker configuration might have one, that is not known beforehand.
    pub(crate) fn is_asked_anonymously(&self, identity: &Identity, name: &RepositoryName) -> bool {
        let by_login = match identity {
            Identity::Client(login) => login.is_some(),
            Identity::Ours => {
                self.pool(name).next().is_some()
                    || self.config.login.is_some()
                    || self.platform.credentials.is_some()
            }
        };
        !by_login && self.config.client_cert_file.is_none()
    }

    /// The source of an answer to this identity, in this generation of the cache.
    pub(crate) fn provenance(&self, identity: &Identity, name: &RepositoryName, since: u64) -> Provenance {
        Provenance {
            upstream: Arc::clone(self.label()),
            repository: name.clone(),
            anonymous: self.is_asked_anonymously(identity, name),
            since,
        }
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &crate::config::UpstreamConfig {
        &self.config
    }

    /// The login that is stored under the upstream's name, for its first address, or under the address as `docker login` would
    /// store it. A login for one address is sent to no other.
    async fn stored_login(&self, address: &Address, name: &RepositoryName) -> Option<Arc<Login>> {
        let store = self.platform.credentials.as_ref()?;
        let mut basic = match address.index {
            0 => store.find(self.index, &self.config.name, name).await,
            _ => None,
        };
        if basic.is_none() {
            basic = store.find(self.index, &address.host, name).await;
        }
        Some(Arc::new(Login { origin: LoginSource::DockerConfig, ..Login::new(basic?, &self.sealer) }))
    }

    /// The upstream refused this login. If it came from the Docker configuration, it may have been replaced there.
    pub(super) fn disown(&self, login: Option<&Login>) {
        let stored = login.filter(|login| login.origin == LoginSource::DockerConfig);
        if let Some((store, login)) = self.platform.credentials.as_ref().zip(stored) {
            store.refused(&login.basic);
        }
    }

    /// Another login, after this one was refused: only a cloud issues another.
    pub(super) async fn login_after_refusal(&self, refused: Option<&Arc<Login>>) -> Option<Arc<Login>> {
        let refused = refused.filter(|login| login.origin == LoginSource::Cloud)?;
        self.accounts.renewed.as_ref()?.after_refusal(refused).await
    }

    /// The logins to ask with, in this order, until one is not limited.
    pub(super) async fn logins_in_turn(
        &self,
        ask: &Ask,
        address: &Address,
    ) -> Result<Vec<Option<Arc<Login>>>, Failure> {
        let mut logins = self.logins(&ask.identity, &ask.name, address).await?;
        if logins.len() == 1 {
            return Ok(logins);
        }
        if ask.actions != Actions::Pull {
            // Another account may not be able to continue what one has begun.
            logins.truncate(1);
            return Ok(logins);
        }
        // Only counted requests take turns, or a HEAD and its GET would always get the same two accounts.
        let turn = if counts(ask) {
            self.accounts.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            self.accounts.turn.load(Ordering::Relaxed)
        };
        let now = self.platform.clock.now();
        let left: Vec<Option<u64>> = logins
            .iter()
            .map(|login| self.learned.budgets.remaining(&payer(address, login.as_ref()), now))
            .collect();
        Ok(order(&left, turn).into_iter().filter_map(|at| logins.get(at).cloned()).collect())
    }

    /// Notes the rest of the pull budget, if an answer says it.
    pub(super) fn note_budget(
        &self,
        address: &Address,
        ask: &Ask,
        login: Option<&Arc<Login>>,
        headers: &http::HeaderMap,
    ) {
        if !ask.endpoint.starts_with("manifests/") {
            return;
        }
        let Some(budget) = Budget::parse(headers) else { return };
        let account = login.map(|login| login.origin);
        self.learned.budgets.told(payer(address, login), account, budget, self.platform.clock.now());
        let credential = match account {
            // A client's name must not become a label of a metric.
            Some(LoginSource::Client) => return,
            None => "anonymous".into(),
            Some(LoginSource::Account) => "account".into(),
            Some(LoginSource::Entry(index)) => index.to_string().into(),
            Some(LoginSource::DockerConfig) => "docker_config".into(),
            Some(LoginSource::Cloud) => "login".into(),
        };
        crate::telemetry::budget_told(self.label(), credential, budget.remaining);
    }

    /// Whether every budget that could pay for a manifest of this repository is nearly used up.
    pub(crate) async fn is_scarce(&self, identity: &Identity, name: &RepositoryName) -> bool {
        self.scarcity(identity, name).await.is_some()
    }

    /// Whether no budget should pay for a manifest of this repository, as far as is known, and for how long: each is nearly
    /// used up, or its account is limited. `None`: one can pay now.
    pub(crate) async fn scarcity(&self, identity: &Identity, name: &RepositoryName) -> Option<Scarcity> {
        let now = self.platform.clock.now();
        let mut all: Option<Scarcity> = None;
        for address in &self.addresses {
            if address.health.is_resting(now) {
                continue;
            }
            for login in self.logins(identity, name, address).await.ok()? {
                let who = payer(address, login.as_ref());
                let limited =
                    Limited { address: address.index, credential: who.credential, purpose: RequestPurpose::Api };
                let scarce = self.learned.budgets.scarce_for(&who, now);
                let left = scarce.max(self.learned.rate_limits.remaining(limited, name, now))?;
                let (others, is_reserve) = all.map_or((left, false), |all| (all.left, all.is_reserve));
                all = Some(Scarcity { left: left.min(others), is_reserve: is_reserve || scarce.is_some() });
            }
        }
        all
    }
}

/// Whether Docker Hub counts it as a pull.
fn counts(ask: &Ask) -> bool {
    ask.method == Method::GET && ask.endpoint.starts_with("manifests/")
}

fn payer(address: &Address, login: Option<&Arc<Login>>) -> Payer {
    Payer { address: address.index, credential: login.map_or([0; 16], |login| login.id) }
}
