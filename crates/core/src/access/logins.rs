//! Whether a user name goes with a password: our password file says it, or the upstream. Both are slow, and strangers may
//! ask, so a login that was right lately goes first, the same login is checked once however many bring it at a time, and
//! guesses have limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use quick_cache::sync::Cache;

use super::guesses::{GuessLimits, Guesses, Pair};
use crate::client::Client;
use crate::config::Limits;
use crate::error::{Failure, UpstreamText};
use crate::name::RepositoryName;
use crate::platform::{Moment, Platform};
use crate::seal::Sealer;
use crate::secret::{Basic, Secret};
use crate::single_flight::SingleFlight;
use crate::upstream::{Login, LoginCheck, Upstream};

/// Logins of which it is remembered what was said of them.
const MAX_REMEMBERED: usize = 4096;
/// For how long that is no guess any more. A line of the password file is part of what is remembered, so a login that was
/// right is right until then.
const RIGHT_LIFE: Duration = Duration::from_hours(1);
/// For how long an upstream is not asked again about a login that is sent along with each request: as long as a grant.
const ACCEPTED_LIFE: Duration = Duration::from_mins(1);

/// For how long a refused login is refused again without a look at it: at first, doubled each time, and at most.
const FIRST_REFUSED: Duration = Duration::from_secs(1);
const LONGEST_REFUSED: Duration = Duration::from_mins(1);
/// One that was not refused for so long begins anew.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// What is said of a login.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It is right.
    Right,
    /// The registry takes any login, at least where it was asked: it will be seen when the login is used.
    Unchecked,
    /// It is wrong.
    Wrong(UpstreamText),
    /// Nobody was asked: there were too many wrong ones, or too many are being checked. When to come again.
    TooMany(Duration),
    /// The upstream limits how often it is asked.
    Limited(Duration),
    /// The upstream cannot be asked, or cannot say.
    Unknown(Failure, Duration),
}

impl From<LoginCheck> for Verdict {
    fn from(check: LoginCheck) -> Self {
        match check {
            LoginCheck::Accepted => Self::Right,
            LoginCheck::Unchecked => Self::Unchecked,
            LoginCheck::Refused(text) => Self::Wrong(text),
            LoginCheck::Limited(retry_after) => Self::Limited(retry_after),
            LoginCheck::Failed(failure, retry_after) => Self::Unknown(failure, retry_after),
        }
    }
}

/// The same login, from the same address, asked about the same repository.
type CheckKey = (Pair, [u8; 16], Option<RepositoryName>);

/// What was said of a login that was not refused.
#[derive(Debug, Clone, Copy)]
struct PastVerdict {
    when: Moment,
    /// Whether it was said to be right; else nobody could say.
    is_right: bool,
}

/// A login that was refused.
#[derive(Debug, Clone)]
struct Refused {
    text: UpstreamText,
    when: Moment,
    /// For how long it is not looked at again.
    life: Duration,
}

impl Refused {
    /// Refused now, and perhaps before.
    fn again(before: Option<&Self>, text: UpstreamText, now: Moment) -> Self {
        let before = before.filter(|before| now.since(before.when) < FORGOTTEN);
        let life = before.map_or(FIRST_REFUSED, |before| before.life.saturating_mul(2).min(LONGEST_REFUSED));
        Self { text, when: now, life }
    }
}

/// What is known of logins: the same for every configuration that a process has one after the other.
struct KnownLogins {
    heard: Cache<[u8; 16], PastVerdict>,
    /// By the whole question: what one repository refuses, another one may take.
    refused: Cache<CheckKey, Refused>,
    under_way: SingleFlight<CheckKey, Verdict>,
    guesses: Guesses,
}

/// Checks logins.
pub(super) struct Logins {
    known: Arc<KnownLogins>,
    limits: GuessLimits,
    sealer: Arc<Sealer>,
    platform: Platform,
}

impl Logins {
    pub(super) fn new(bounds: &Limits, sealer: &Arc<Sealer>, platform: &Platform) -> Self {
        let known = KnownLogins {
            heard: Cache::new(MAX_REMEMBERED),
            refused: Cache::new(MAX_REMEMBERED),
            under_way: SingleFlight::new(platform.capabilities.shares_io),
            guesses: Guesses::default(),
        };
        let limits = GuessLimits { at_once: bounds.logins, wrong_in_a_minute: bounds.wrong_logins };
        Self { known: Arc::new(known), limits, sealer: Arc::clone(sealer), platform: platform.clone() }
    }

    /// With what another one knows.
    pub(super) fn after(&mut self, previous: &Self) {
        self.known = Arc::clone(&previous.known);
    }

    /// What the password file has for a user, if it knows one of that name.
    pub(super) fn line_of(&self, username: &str) -> Option<Secret> {
        self.platform.passwords.as_ref()?.line(username)
    }

    /// Whether our password file has this login.
    pub(super) async fn check_user(&self, basic: &Basic, client: Option<IpAddr>) -> Verdict {
        let Some(passwords) = &self.platform.passwords else { return Verdict::Wrong(UpstreamText::default()) };
        let line = passwords.line(&basic.username);
        let line = line.as_ref().map_or("", Secret::expose);
        let mark = self.sealer.fingerprint(&["user", &basic.username, basic.password.expose(), line]);
        if self.was_right(&mark) {
            return Verdict::Right;
        }
        let work = || async {
            if passwords.verify(basic).await { Verdict::Right } else { Verdict::Wrong(UpstreamText::default()) }
        };
        self.check((self.pair(basic, client), mark, None), work).await
    }

    /// Whether this upstream accepts a login, for reading `repository` if one is named. It is asked in any case: a login
    /// that was right lately only goes before the others. `via` is what every question of ours carries.
    pub(super) async fn check_login(
        &self,
        upstream: &Upstream,
        login: &Arc<Login>,
        repository: Option<&RepositoryName>,
        client: Option<IpAddr>,
        via: &HeaderMap,
    ) -> Verdict {
        let mark = self.mark_at(upstream, login);
        let work = || async { Verdict::from(upstream.check_login(login, repository, via).await) };
        self.check((self.pair(&login.basic, client), mark, repository.cloned()), work).await
    }

    /// Whether this upstream has accepted a login, or could not say, so lately that it need not be asked again.
    pub(super) fn is_known(&self, upstream: &Upstream, login: &Login) -> bool {
        self.heard_lately(&self.mark_at(upstream, login), ACCEPTED_LIFE).is_some()
    }

    /// When to come again with a login that nobody has said to be right, where too many such ones were wrong.
    pub(super) fn pause(&self, upstream: &Upstream, login: &Login, client: Option<IpAddr>) -> Option<Duration> {
        if self.was_right(&self.mark_at(upstream, login)) {
            return None;
        }
        self.known.guesses.pause(self.pair(&login.basic, client), self.limits, self.now())
    }

    /// The registry has refused a login at the repository. One that was never said to be right was a guess.
    pub(super) fn refused(&self, upstream: &Upstream, login: &Login, client: Option<IpAddr>) {
        let mark = self.mark_at(upstream, login);
        if !self.was_right(&mark) {
            self.known.guesses.wrong(self.pair(&login.basic, client), mark, self.limits, self.now());
        }
    }

    async fn check<F: Future<Output = Verdict>>(&self, question: CheckKey, work: impl Fn() -> F) -> Verdict {
        let (pair, mark, _) = &question;
        let one = || async {
            // Right a while ago, it is nobody's guess; and refused now, it may be so for this repository only.
            if self.was_right(mark) {
                let verdict = work().await;
                if matches!(verdict, Verdict::Right) {
                    self.hear(*mark, true);
                }
                return verdict;
            }
            // The same wrong login again, as a machine sends it that was not told of a new one, costs nobody a look.
            let before = self.known.refused.get(&question);
            if let Some(before) = &before
                && self.now().since(before.when) < before.life
            {
                return Verdict::Wrong(before.text.clone());
            }
            let check = match self.known.guesses.begin(*pair, self.limits, self.now()) {
                Ok(check) => check,
                Err(pause) => return Verdict::TooMany(pause),
            };
            let verdict = work().await;
            match &verdict {
                Verdict::Right => {
                    self.hear(*mark, true);
                    check.right();
                }
                Verdict::Unchecked => {
                    self.hear(*mark, false);
                    check.unknown();
                }
                Verdict::Wrong(text) => {
                    let refused = Refused::again(before.as_ref(), text.clone(), self.now());
                    self.known.refused.insert(question.clone(), refused);
                    check.wrong(*mark, self.now());
                }
                // A registry that limits us has been asked too often: whoever goes on asking is counted.
                Verdict::Limited(_) => drop(check),
                Verdict::Unknown(..) | Verdict::TooMany(_) => check.unknown(),
            }
            verdict
        };
        self.known.under_way.join(&question, one).await
    }

    fn hear(&self, mark: [u8; 16], is_right: bool) {
        self.known.heard.insert(mark, PastVerdict { when: self.now(), is_right });
    }

    fn heard_lately(&self, mark: &[u8; 16], life: Duration) -> Option<PastVerdict> {
        self.known.heard.get(mark).filter(|heard| self.now().since(heard.when) < life)
    }

    fn was_right(&self, mark: &[u8; 16]) -> bool {
        self.heard_lately(mark, RIGHT_LIFE).is_some_and(|heard| heard.is_right)
    }

    fn mark_at(&self, upstream: &Upstream, login: &Login) -> [u8; 16] {
        self.sealer.fingerprint(&["login", upstream.name(), &login.basic.username, login.basic.password.expose()])
    }

    fn pair(&self, basic: &Basic, client: Option<IpAddr>) -> Pair {
        Pair { client: client.map(Client::from), name: self.sealer.fingerprint(&["name", &basic.username]) }
    }

    fn now(&self) -> Moment {
        self.platform.clock.now()
    }
}
