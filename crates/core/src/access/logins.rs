//! Checks user names and passwords against our password file or at the upstream. Both are slow and open to strangers. So a login
//! that was right lately goes first, the same login is checked once for all requests that bring it at the same time, and guesses
//! are limited.

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

/// Logins whose last verdict is remembered.
const MAX_REMEMBERED: usize = 4096;
/// How long a login that was right is no guess. The line of the password file is part of the key, so a changed password ends it.
const RIGHT_LIFE: Duration = Duration::from_hours(1);
/// How long an upstream is not asked again about a login that comes with each request: as long as a grant.
const ACCEPTED_LIFE: Duration = Duration::from_mins(1);

/// How long a refused login is refused again without a check: the first time, then doubled up to the longest.
const FIRST_REFUSED: Duration = Duration::from_secs(1);
const LONGEST_REFUSED: Duration = Duration::from_mins(1);
/// A login that was not refused for this long begins at the first pause again.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// The verdict on a login.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It is right.
    Right,
    /// The registry accepts any login where it was asked; whether it is right shows when it is used.
    Unchecked,
    /// It is wrong.
    Wrong(UpstreamText),
    /// Not checked: too many were wrong, or too many are being checked. When to try again.
    TooMany(Duration),
    /// The upstream limits how often it is asked.
    Limited(Duration),
    /// The upstream could not be asked, or could not tell.
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

/// Client address and user name, the login, and the repository that it is checked for.
type CheckKey = (Pair, [u8; 16], Option<RepositoryName>);

/// The last verdict on a login that was not refused.
#[derive(Debug, Clone, Copy)]
struct PastVerdict {
    when: Moment,
    /// Whether it was right; otherwise it could not be checked.
    is_right: bool,
}

/// A login that was refused.
#[derive(Debug, Clone)]
struct Refused {
    text: UpstreamText,
    when: Moment,
    /// How long it is refused without a check.
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

/// What is remembered of logins. One table serves every configuration that a process has one after the other.
struct KnownLogins {
    heard: Cache<[u8; 16], PastVerdict>,
    /// By the whole key: a login that one repository refuses, another may accept.
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

    /// Takes over what `previous` remembers.
    pub(super) fn after(&mut self, previous: &Self) {
        self.known = Arc::clone(&previous.known);
    }

    /// The user's line of the password file, if there is one.
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

    /// Whether this upstream accepts a login, for reading `repository` if one is named. The upstream is always asked; a login that
    /// was right lately only goes first. `via` has the headers of requests to upstreams.
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

    /// Whether this upstream accepted a login, or could not check it, so lately that it need not be asked again: `Some`, and whether it
    /// accepted it.
    pub(super) fn is_known(&self, upstream: &Upstream, login: &Login) -> Option<bool> {
        self.heard_lately(&self.mark_at(upstream, login), ACCEPTED_LIFE).map(|heard| heard.is_right)
    }

    /// When to try again with a login that was never right, after too many wrong ones.
    pub(super) fn pause(&self, upstream: &Upstream, login: &Login, client: Option<IpAddr>) -> Option<Duration> {
        if self.was_right(&self.mark_at(upstream, login)) {
            return None;
        }
        self.known.guesses.pause(self.pair(&login.basic, client), self.limits, self.now())
    }

    /// Records that the registry refused a login at the repository. One that was never right counts as a guess.
    pub(super) fn refused(&self, upstream: &Upstream, login: &Login, client: Option<IpAddr>) {
        let mark = self.mark_at(upstream, login);
        if !self.was_right(&mark) {
            self.known.guesses.wrong(self.pair(&login.basic, client), mark, self.limits, self.now());
        }
    }

    async fn check<F: Future<Output = Verdict>>(&self, question: CheckKey, work: impl Fn() -> F) -> Verdict {
        let (pair, mark, _) = &question;
        let one = || async {
            // A login that was right lately is no guess, and it may be refused for this repository only.
            if self.was_right(mark) {
                let verdict = work().await;
                if matches!(verdict, Verdict::Right) {
                    self.hear(*mark, true);
                }
                return verdict;
            }
            // A machine with an old password repeats the same wrong login; that needs no check.
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
                // The registry limits us because it was asked too often, so this counts as a wrong login.
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
