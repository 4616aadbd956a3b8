//! One configured registry: its addresses, its login, its redirects. Every request to it ends in a [`Reply`].
//!
//! Only this module sees credentials. A request takes an address that is not resting (`ask`), an authorization that fits the
//! address's challenge (`exchange`), one request on the wire (`send`) and the redirects (`walk`); then its answer is
//! classified.

mod account_pool;
mod accounts;
mod ask;
mod authorize;
mod budget;
mod challenge;
mod check_login;
mod condition;
mod exchange;
mod follow;
mod heads;
mod latency;
mod limits;
mod location;
mod login;
mod memory;
mod outage;
mod ping;
mod public_suffix;
mod realm;
mod renewal;
mod renewed_login;
mod reply;
mod reports;
mod send;
mod slow_line;
mod token;
mod token_server;
mod walk;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use url::Url;

use self::account_pool::AccountPool;
pub use self::ask::{Redirected, WriteOutcome};
pub(crate) use self::budget::AccountBudget;
use self::budget::Budgets;
pub use self::challenge::UpstreamChallenge;
pub use self::check_login::LoginCheck;
pub(crate) use self::condition::UpstreamCondition;
pub use self::exchange::Payload;
pub use self::follow::reach_of_realm;
use self::heads::Heads;
pub(crate) use self::heads::{AskFirst, HeadId, HeadOf};
use self::latency::Latency;
use self::limits::RateLimits;
pub use self::location::Location;
pub use self::login::{Login, LoginSource};
use self::memory::{Health, RedirectHosts};
use self::outage::Outage;
pub use self::realm::is_private;
pub use self::reply::{Negative, Reply};
pub(crate) use self::reports::FailureKind;
use self::reports::Reports;
use self::slow_line::SlowLine;
pub use self::token::Tokens;
use crate::config::{Config, Redirects, Timeouts};
use crate::error::{Failure, UpstreamText};
use crate::name::RepositoryName;
use crate::platform::{Platform, RequestPurpose, Unconnected};
use crate::seal::Sealer;
use crate::telemetry::RequestCounters;
use crate::waiting::WaitingLimit;

/// The `User-Agent` of our requests.
pub const USER_AGENT: &str = concat!("registry-proxy/", env!("CARGO_PKG_VERSION"));

/// The failure of an address that cannot be asked.
const NO_URI: Failure = Failure::Nonsense("address");
/// The failure of an upstream without an address, which the configuration does not allow.
const NO_ADDRESS: Failure = Failure::Unreachable(Unconnected::Unknown);

/// A registry, as configured.
pub struct Upstream {
    index: usize,
    /// With its name.
    counters: Arc<RequestCounters>,
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
    /// How quickly it answers.
    latency: Latency,
    /// How its blobs came in parts.
    slow_line: SlowLine,
    /// The health of the hosts that its redirects lead to.
    redirect_hosts: RedirectHosts,
    /// Failures that are not in the log yet.
    reports: Reports,
    /// Whether any address answers.
    outage: Outage,
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
    /// Its place in the list of addresses.
    index: usize,
    url: Url,
    /// `https://host`, parsed once for all requests.
    root: Uri,
    /// Its path, without a slash at the end.
    path: String,
    /// `host`, or `host:port` where a port is written.
    host: String,
    challenge: Mutex<Option<UpstreamChallenge>>,
    /// Whether its `/v2/` has refused a request without a login.
    refuses_anonymous: AtomicBool,
    health: Health,
}

/// The identity with which the upstream is asked.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Our configured account; anonymous if there is none.
    Ours,
    /// The client's own login; anonymous if it has none (`clients.auth = "upstream"`).
    Client(Option<Arc<Login>>),
}

/// What a request does with a repository: the actions of its scope.
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

/// A request for an upstream.
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
    /// Headers to send: those that an allow-list lets through, never all of a client's.
    pub headers: HeaderMap,
    /// The identity to ask with.
    pub identity: Identity,
    /// What it does with the repository.
    pub actions: Actions,
    /// The other repository of a cross-repository mount, which is read.
    pub mount_from: Option<RepositoryName>,
    /// What is fetched.
    pub purpose: RequestPurpose,
    /// Whether it resumes a body that broke: the caller counts the tries itself.
    pub is_continuation: bool,
}

impl Upstream {
    /// Makes an upstream from its configuration.
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
            root: url[..url::Position::BeforePath].parse().unwrap_or_default(),
            path: url.path().trim_end_matches('/').to_owned(),
            host: url.authority().to_owned(),
            challenge: Mutex::new(None),
            refuses_anonymous: AtomicBool::new(false),
            health: Health::default(),
        });
        Some(Self {
            index,
            counters: RequestCounters::new(&upstream.name),
            addresses: addresses.collect(),
            accounts: AccountPool::new(index, &upstream, sealer, platform),
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
        self.counters.upstream()
    }

    /// The counters of its requests.
    pub(crate) fn counters(&self) -> &Arc<RequestCounters> {
        &self.counters
    }

    /// Whether its rules permit this repository.
    pub fn permits(&self, name: &RepositoryName) -> bool {
        self.config.repositories.permit(name.as_str())
    }

    /// Whether it has more than one address.
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

    /// A permit to fetch one more range beside others, of which there may be `most`.
    pub(crate) fn range_permit(self: &Arc<Self>, most: usize) -> Option<RangePermit> {
        let taken = self
            .ranges
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        taken.ok().map(|_| RangePermit(Arc::clone(self)))
    }

    /// Bytes a second of one connection, if its blobs came over a slow line lately, and came faster in parts.
    pub(crate) fn slow_line(&self) -> Option<u64> {
        self.learned.slow_line.rate(|| self.platform.clock.now())
    }

    /// Remembers that; `None`: a blob did not come so.
    pub(crate) fn note_slow_line(&self, rate: Option<u64>) {
        self.learned.slow_line.note(rate, self.platform.clock.now());
    }

    /// Whether to log a failure of this kind; if so, the number of earlier ones that were not logged.
    pub(crate) fn report(&self, kind: FailureKind) -> Option<u64> {
        self.learned.reports.note(kind, self.platform.clock.now())
    }

    /// The errors in the body of an answer, without the upstream's addresses.
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
    /// The address of an endpoint below its path, in pieces: `["/v2/"]`.
    fn uri(&self, endpoint: &[&str]) -> Result<Uri, Failure> {
        let length: usize = endpoint.iter().map(|piece| piece.len()).sum();
        let mut text = String::with_capacity(self.path.len() + length);
        text.push_str(&self.path);
        text.extend(endpoint.iter().copied());
        let mut parts = self.root.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(|_| NO_URI)?);
        Uri::from_parts(parts).map_err(|_| NO_URI)
    }

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
