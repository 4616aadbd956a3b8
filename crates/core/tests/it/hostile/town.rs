//! An honest upstream, `reg.example`, where alice may read `team/secret` and everybody `team/public`; a liar,
//! `liar.example`; and the clients of both.

use std::fmt;
use std::sync::Arc;

use http::Method;
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::platform::{Profile, Store};
use registry_proxy_core::testing::{Answer, Fault, Gate, NativeBodies, PassingStore, Registry, Sent};

use crate::clock::TokioClock;
use crate::fixture::{Call, Fixture, REALM, Seen, Setup, noise, upstream};

/// Where the liar is.
pub(super) const LIAR: &str = "https://origin.liar.test";
/// Where links into the store lead.
pub(super) const LINKS: &str = "https://store.example/";

/// How clients and upstreams know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nobody logs in anywhere.
    Open,
    /// We have an account at the honest upstream, and everybody may use it.
    OpenWithAccount,
    /// Clients log in to us, and the upstreams are open.
    Users,
    /// Clients log in to us, and we have an account.
    UsersWithAccount,
    /// Clients log in with their accounts at the upstreams, which give tokens.
    UpstreamTokens,
    /// The same, and the upstreams take Basic.
    UpstreamBasic,
}

impl Mode {
    pub(super) const ALL: [Self; 6] = [
        Self::Open,
        Self::OpenWithAccount,
        Self::Users,
        Self::UsersWithAccount,
        Self::UpstreamTokens,
        Self::UpstreamBasic,
    ];

    /// Whether the honest upstream gives to nobody in particular.
    pub(super) fn is_anonymous(self) -> bool {
        matches!(self, Self::Open | Self::Users)
    }

    /// Whether the honest upstream tells bob from alice.
    pub(super) fn tells_clients_apart(self) -> bool {
        matches!(self, Self::UpstreamTokens | Self::UpstreamBasic)
    }

    fn text(self, more: &str) -> String {
        let clients = match self {
            Self::Open | Self::OpenWithAccount => "",
            Self::Users | Self::UsersWithAccount => "[clients]\nauth='users'\nusers_file='u'",
            Self::UpstreamTokens | Self::UpstreamBasic => "[clients]\nauth='upstream'",
        };
        let account = match self {
            Self::OpenWithAccount | Self::UsersWithAccount => "username='robot'\npassword='s3cret'",
            Self::Open | Self::Users | Self::UpstreamTokens | Self::UpstreamBasic => "",
        };
        let liar = format!("[[upstream]]\nname='liar.example'\nurls=['{LIAR}']\npush=true");
        format!("{more}\n{clients}\n{}{liar}\n", upstream(account))
    }
}

/// How blobs are delivered: each is a way of its own through the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As a server does it.
    Usual,
    /// As where no request may wait for another's work, and the platform keeps a copy of what passes.
    Isolated,
    /// By links into the store.
    Links,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Usual, Self::Isolated, Self::Links];
}

/// A repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Of the honest upstream, for alice only where it tells clients apart.
    Secret,
    /// Of the honest upstream, for everybody.
    Public,
    /// Of the liar, for everybody.
    Liar,
}

impl At {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "team/secret",
            Self::Public => "team/public",
            Self::Liar => "liar.example/x/y",
        }
    }
}

pub(super) struct Town {
    pub(super) lab: Fixture,
    pub(super) liar: Registry,
    mode: Mode,
    text: String,
}

impl fmt::Debug for Town {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mode.fmt(f)
    }
}

impl Town {
    pub(super) fn new(mode: Mode, way: Way, extra: &str) -> Self {
        let memory = MemoryStore::new(1 << 30, Arc::new(TokioClock::start()));
        let (store, extra): (Arc<dyn Store>, _) = match way {
            Way::Usual => (Arc::new(memory), extra.to_owned()),
            Way::Isolated => (Arc::new(PassingStore::new(memory)), extra.to_owned()),
            Way::Links => {
                let bucket = memory.shared().in_parts_of(1 << 20);
                let bucket = bucket.linking(LINKS.parse().expect("an address"));
                (Arc::new(bucket), format!("{extra}\n[delivery]\nlinks='always'"))
            }
        };
        let text = mode.text(&extra);
        let is_isolated = way == Way::Isolated;
        let profile = if is_isolated { Profile::CloudflareWorkers } else { Profile::default() };
        let setup = Setup { text: &text, isolated: is_isolated, profile, store: Some(store), ..Setup::default() };
        let mut lab = Fixture::set_up(&setup);
        if is_isolated {
            lab.platform.transport = Arc::new(NativeBodies(lab.net.clone()));
            lab.restart(&text);
        }
        let liar = Registry::default();
        lab.net.serve(LIAR, liar.clone());
        for (registry, realm) in [(&lab.registry, REALM.to_owned()), (&liar, format!("{LIAR}/token"))] {
            for (name, password) in [("alice", "wonder"), ("bob", "builder"), ("robot", "s3cret")] {
                registry.add_user(name, password);
            }
            registry.guard(match mode {
                Mode::Open | Mode::Users => Gate::Open,
                Mode::UpstreamBasic => Gate::Basic,
                Mode::OpenWithAccount | Mode::UsersWithAccount | Mode::UpstreamTokens => {
                    Gate::Bearer { realm, service: None }
                }
            });
        }
        lab.registry.make_private("team/secret", &["alice", "robot"]);
        Self { lab, liar, mode, text }
    }

    /// As after a restart: nothing in memory, everything in the store.
    pub(super) fn restart(&mut self) {
        self.lab.restart(&self.text);
    }

    /// With a blob that only the honest upstream has, and that alice has pulled: it is in the store.
    pub(super) async fn with_secret(mode: Mode, way: Way) -> (Self, String) {
        let town = Self::new(mode, way, "");
        let digest = town.lab.registry.put_blob("team/secret", secret());
        let seen = town.get("alice", At::Secret, &format!("blobs/{digest}")).await;
        assert!(seen.status == 200 || seen.status == 307, "{mode:?} {way:?}: {seen:?}");
        town.lab.wait(1).await;
        (town, digest)
    }

    /// The liar says this, whoever asks, to requests whose address contains `part`.
    pub(super) fn says(&self, method: &'static str, part: &str, answer: Answer) {
        self.lab.net.fault(method, &format!("{LIAR}/v2/x/y/{part}"), usize::MAX, Fault::Say(answer));
    }

    /// The liar answers so to all that is asked of an address, whoever asks.
    pub(super) fn answers(&self, rest: &str, server: impl Fn(&Sent) -> Answer + Send + Sync + 'static) {
        self.lab.net.serve(&format!("{LIAR}/v2/x/y/{rest}"), server);
    }

    pub(super) async fn get(&self, who: &str, at: At, rest: &str) -> Seen {
        self.call(who, Method::GET, at, rest).await.await
    }

    pub(super) async fn head(&self, who: &str, at: At, rest: &str) -> Seen {
        self.call(who, Method::HEAD, at, rest).await.await
    }

    pub(super) async fn range(&self, who: &str, at: At, rest: &str, range: &str) -> Seen {
        self.call(who, Method::GET, at, rest).await.header("range", &format!("bytes={range}")).await
    }

    /// A request with whatever login this mode wants of `who`.
    pub(super) async fn call(&self, who: &str, method: Method, at: At, rest: &str) -> Call {
        let call = self.lab.call(method, &format!("/v2/{}/{rest}", at.name()));
        if matches!(self.mode, Mode::Open | Mode::OpenWithAccount) {
            return call;
        }
        let password = if who == "alice" { "wonder" } else { "builder" };
        let scope = format!("repository:{}:pull,push", at.name());
        call.bearer(&self.lab.login_for(who, password, &scope).await)
    }

    /// How often the liar was asked for this with GET.
    pub(super) fn gets_of_liar(&self, digest: &str) -> usize {
        let sent = self.lab.net.sent("GET", LIAR);
        sent.iter().filter(|sent| sent.path().ends_with(digest)).count()
    }
}

/// What only the honest upstream has.
pub(super) fn secret() -> bytes::Bytes {
    noise(5000)
}

/// What did not come out as the table has it: all of it is told at the end, not only the first.
#[derive(Default)]
pub(super) struct Cases {
    checked: usize,
    failed: Vec<String>,
}

impl Cases {
    pub(super) fn check(&mut self, holds: bool, why: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.failed.push(why());
        }
    }

    /// An answer of this status that has all these bytes and came to its end.
    pub(super) fn check_body(&mut self, seen: &Seen, status: u16, body: &[u8], why: impl FnOnce() -> String) {
        let is_right = seen.status == status && seen.end.is_ok() && seen.body == body;
        self.check(is_right, || format!("{}: {} {} bytes, {:?}", why(), seen.status, seen.body.len(), seen.end));
    }

    pub(super) fn end(self) {
        let Self { checked, failed } = self;
        let shown = failed.iter().take(2000).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(failed.is_empty() && checked > 0, "{} of {checked}:\n  {shown}", failed.len());
    }
}
