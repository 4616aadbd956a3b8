//! One configured registry: its addresses, its login, its redirects. Whoever asks gets a [`Reply`].
//!
//! Only this module sees credentials. The way of a request: an address that is not resting and an authorization that
//! fits its challenge (`ask`, `exchange`), one request (`send`), the redirects (`walk`), and then what the answer means.

mod accounts;
mod ask;
mod authorize;
mod budget;
pub mod catalogue;
mod challenge;
mod check_login;
mod exchange;
mod follow;
mod heads;
mod limits;
mod location;
mod login;
mod memory;
mod ping;
mod realm;
mod reply;
mod reports;
mod said;
mod send;
mod token;
mod token_server;
mod walk;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method};
use url::Url;

pub use self::ask::{Redirected, WriteOutcome};
use self::budget::Budgets;
pub(crate) use self::challenge::UpstreamChallenge;
pub use self::check_login::LoginCheck;
pub use self::exchange::Payload;
use self::heads::Heads;
pub(crate) use self::heads::{AskFirst, HeadId, HeadOf};
use self::limits::RateLimits;
pub use self::location::Location;
use self::login::AccountPool;
pub use self::login::{Login, LoginSource};
use self::memory::{Health, RedirectHosts};
pub use self::realm::is_private;
pub use self::reply::{Failure, Negative, Reply, Trouble};
pub(crate) use self::reports::FailureKind;
use self::reports::Reports;
pub use self::said::{SaidError, UpstreamText};
pub use self::token::Tokens;
use crate::config::{Config, Redirects, Timeouts};
use crate::name::RepositoryName;
use crate::platform::{Platform, Purpose, Unconnected};
use crate::seal::Sealer;
use crate::waiting::WaitingLimit;

/// What we call ourselves.
pub const USER_AGENT: &str = concat!("registry-proxy/", env!("CARGO_PKG_VERSION"));

/// It has none; the configuration does not let that happen.
const NO_ADDRESS: Failure = Failure::Unreachable(Unconnected::Unknown);

/// A registry, as configured.
pub struct Upstream {
    index: usize,
    label: Arc<str>,
    config: crate::config::UpstreamConfig,
    addresses: Vec<Address>,
    /// Our own accounts there.
    accounts: AccountPool,
    tokens: Arc<Tokens>,
    learned: Learned,
    sealer: Arc<Sealer>,
    platform: Platform,
    timeouts: Timeouts,
    /// Ranges of blobs that are being fetched beside their first connection.
    ranges: AtomicUsize,
    /// For requests that wait for it.
    waiting_limit: WaitingLimit,
}

/// What the proxy has learned from an upstream's answers.
#[derive(Default)]
struct Learned {
    rate_limits: RateLimits,
    budgets: Budgets,
    heads: Heads,
    /// The health of the hosts that its redirects lead to.
    redirect_hosts: RedirectHosts,
    /// Failures that are not in the log yet.
    reports: Reports,
}

/// A range that is being fetched beside others.
pub(crate) struct RangePermit(Arc<Upstream>);

impl Drop for RangePermit {
    fn drop(&mut self) {
        self.0.ranges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One address of a registry, and what is known of it.
struct Address {
    /// Which of them.
    index: usize,
    url: Url,
    /// `https://host/path`, without a slash at the end.
    base: String,
    /// `host`, or `host:port` where a port is written.
    host: String,
    challenge: Mutex<Option<UpstreamChallenge>>,
    /// Whether its `/v2/` has turned away somebody without a login.
    is_door_closed: AtomicBool,
    health: Health,
}

/// As whom the upstream is asked.
#[derive(Debug, Clone)]
pub enum Identity {
    /// With our configured account, or as nobody where there is none.
    Ours,
    /// With the client's own login; as nobody where it has none (`clients.auth = "upstream"`).
    Client(Option<Arc<Login>>),
}

/// What is done with a repository: the actions of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actions {
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Deleting.
    Delete,
}

impl Actions {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// A question for an upstream.
#[derive(Debug, Clone)]
pub struct Ask {
    /// GET, HEAD, or what a push does.
    pub method: Method,
    /// The repository, as the upstream calls it.
    pub name: RepositoryName,
    /// What follows the name: `manifests/latest`.
    pub endpoint: String,
    /// The query, already reduced to what the upstream may see.
    pub query: Option<String>,
    /// Headers that go along: an allow-list's work, never a client's whole set.
    pub headers: HeaderMap,
    /// As whom.
    pub identity: Identity,
    /// To do what.
    pub actions: Actions,
    /// A repository that is read besides, for a cross-repository mount.
    pub mount_from: Option<RepositoryName>,
    /// What is fetched.
    pub purpose: Purpose,
    /// Whether it goes on with a body that broke: whoever asks so counts the tries.
    pub is_continuation: bool,
}

impl Upstream {
    /// Makes one of its configuration.
    pub fn new(
        index: usize,
        config: &Config,
        tokens: &Arc<Tokens>,
        sealer: &Arc<Sealer>,
        platform: &Platform,
    ) -> Option<Self> {
        let upstream = config.upstream.get(index)?.clone();
        let addresses = upstream.urls.iter().enumerate().map(|(index, url)| Address {
            index,
            url: url.clone(),
            base: url.as_str().trim_end_matches('/').to_owned(),
            host: url.authority().to_owned(),
            challenge: Mutex::new(None),
            is_door_closed: AtomicBool::new(false),
            health: Health::default(),
        });
        Some(Self {
            index,
            label: upstream.name.as_str().into(),
            addresses: addresses.collect(),
            accounts: AccountPool::new(&upstream, sealer),
            tokens: Arc::clone(tokens),
            learned: Learned::default(),
            sealer: Arc::clone(sealer),
            platform: platform.clone(),
            timeouts: config.timeouts.clone(),
            ranges: AtomicUsize::new(0),
            waiting_limit: WaitingLimit::new(config.limits.waiting),
            config: upstream,
        })
    }

    /// Its place in the configuration.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name: path prefix, `ns` value, label.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its name, shared: for log lines and metrics, of which there are many.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Whether its rules let this repository through.
    pub fn permits(&self, name: &RepositoryName) -> bool {
        self.config.repositories.permit(name.as_str())
    }

    /// Whether it is asked at more than one address.
    pub(crate) fn has_several_addresses(&self) -> bool {
        self.addresses.len() > 1
    }

    /// Whether pushes pass.
    pub fn push_enabled(&self) -> bool {
        self.config.push
    }

    /// What becomes of its redirects of blobs.
    pub fn redirects(&self) -> Redirects {
        self.config.redirects
    }

    /// What its answers to HEAD are worth.
    pub(crate) fn heads(&self) -> &Heads {
        &self.learned.heads
    }

    /// Places for requests that wait for it.
    pub(crate) fn waiting_limit(&self) -> &WaitingLimit {
        &self.waiting_limit
    }

    /// Leave to fetch one more range beside others, of which there may be `most`.
    pub(crate) fn range_permit(self: &Arc<Self>, most: usize) -> Option<RangePermit> {
        let taken = self
            .ranges
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        taken.ok().map(|_| RangePermit(Arc::clone(self)))
    }

    /// Whether a failure of this kind is written to the log: with how many before it were not.
    pub(crate) fn report(&self, kind: FailureKind) -> Option<u64> {
        self.learned.reports.note(kind, self.platform.clock.now())
    }

    /// What it said in the body of an error, without its addresses.
    fn said(&self, body: &[u8]) -> UpstreamText {
        let hosts = self
            .addresses
            .iter()
            .flat_map(|address| [Some(address.host.as_str()), address.url.host_str()].into_iter().flatten());
        UpstreamText::parse(body).without_hosts(hosts, self.name())
    }

    /// Where its storage is, with `REGISTRY_BACKEND`.
    pub fn storage(&self) -> Option<&Url> {
        self.config.backend.as_ref().map(|backend| &backend.storage)
    }
}

impl Address {
    fn challenge(&self) -> Option<UpstreamChallenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, challenge: Option<UpstreamChallenge>) {
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = challenge;
    }
}

/// A value for a header that came from our own text.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
