//! Tokens of upstreams: fetched once however many ask (P-64), kept in memory only, each for one credential at one
//! address and one scope, never longer than it lives.

use std::time::Duration;

use quick_cache::sync::Cache;
use serde::Deserialize;

use super::reply::Failure;
use super::said::UpstreamText;
use crate::flight::Flights;
use crate::platform::Moment;
use crate::secret::Secret;

/// Where the spec leaves the life of a token open, it is a minute (P-64).
const DEFAULT_LIFE_SECONDS: u64 = 60;
/// No token is trusted longer than a day, whatever it says.
const MAX_LIFE_SECONDS: u64 = 86_400;

/// Whose token, from where, for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Which upstream.
    pub upstream: usize,
    /// The token server, and what the registry is called there.
    pub realm: String,
    /// Whose credential; all zero for none.
    pub credential: [u8; 16],
    /// For what.
    pub scope: String,
}

/// A token of an upstream.
#[derive(Debug, Clone)]
pub struct Token {
    /// The bearer text.
    pub bearer: Secret,
    /// Until when it is used.
    pub expires: Moment,
}

/// Why there is no token. Cheap to clone: it is the answer to all who waited for it.
#[derive(Debug, Clone)]
pub enum NoToken {
    /// The token server refuses the credential.
    Refused(UpstreamText),
    /// 429.
    Limited(Duration),
    /// Anything else.
    Failed(Failure),
}

/// What a token server answers.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The token, its life counted from its receipt less a tenth: the server's own clock is not asked (P-58, P-64).
    pub(super) fn into_token(self, received: Moment) -> Option<Token> {
        let bearer = self.token.or(self.access_token).filter(|text| !text.expose().is_empty())?;
        let seconds =
            self.expires_in.filter(|life| *life > 0).unwrap_or(DEFAULT_LIFE_SECONDS).min(MAX_LIFE_SECONDS);
        Some(Token { bearer, expires: received.after(Duration::from_millis(seconds * 900)) })
    }
}

type Outcome = Result<Token, NoToken>;

/// All tokens of all upstreams.
pub struct Tokens {
    kept: Cache<TokenKey, Token>,
    fetches: Flights<TokenKey, Outcome>,
}

impl Tokens {
    /// At most `capacity` tokens. Where requests may not wait for each other each fetches its own.
    pub fn new(capacity: usize, shares_io: bool) -> Self {
        Self { kept: Cache::new(capacity), fetches: Flights::new(shares_io) }
    }

    /// The token, if it is here and still good.
    pub fn find(&self, key: &TokenKey, now: Moment) -> Option<Token> {
        self.kept.get(key).filter(|token| now < token.expires)
    }

    /// Drops a token that was refused.
    pub fn forget(&self, key: &TokenKey) {
        self.kept.remove(key);
    }

    /// The result of `fetch`, or of the same fetch that another began.
    pub async fn fetch<F>(&self, key: &TokenKey, fetch: impl Fn() -> F) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        let work = || async {
            let outcome = fetch().await;
            if let Ok(token) = &outcome {
                self.kept.insert(key.clone(), token.clone());
            }
            outcome
        };
        self.fetches.join(key, work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::{join_all, pending};

    use super::*;

    fn key(scope: &str) -> TokenKey {
        TokenKey { upstream: 0, realm: "r".into(), credential: [0; 16], scope: scope.into() }
    }

    fn token(text: &str) -> Token {
        Token { bearer: Secret::new(text), expires: Moment(Duration::from_secs(9)) }
    }

    #[tokio::test]
    async fn a_hundred_who_ask_at_once_make_one_fetch() {
        let tokens = Tokens::new(10, true);
        let fetches = AtomicUsize::new(0);
        let wanted = key("a");
        let one = || {
            tokens.fetch(&wanted, || async {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(token("t"))
            })
        };
        let all = join_all((0..100).map(|_| one())).await;
        assert!(all.iter().all(|outcome| outcome.as_ref().unwrap().bearer.expose() == "t"));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert!(tokens.find(&wanted, Moment::default()).is_some());
        assert!(tokens.find(&wanted, Moment(Duration::from_secs(9))).is_none(), "not longer than it lives");
    }

    #[tokio::test]
    async fn those_who_wait_hear_of_the_failure_too() {
        let tokens = Tokens::new(10, true);
        let fetches = AtomicUsize::new(0);
        let key = key("a");
        let one = || {
            tokens.fetch(&key, || async {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(NoToken::Failed(Failure::TimedOut))
            })
        };
        assert!(join_all((0..10).map(|_| one())).await.iter().all(Result::is_err));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert!(tokens.find(&key, Moment::default()).is_none());
    }

    #[tokio::test]
    async fn a_leader_who_goes_away_is_replaced() {
        let tokens = Tokens::new(10, true);
        let key = key("a");
        let mut leader = Box::pin(tokens.fetch(&key, pending::<Outcome>));
        assert!((&mut leader).now_or_never().is_none());
        let mut waiter = Box::pin(tokens.fetch(&key, || async { Ok(token("second")) }));
        assert!((&mut waiter).now_or_never().is_none());
        drop(leader);
        assert_eq!(waiter.await.unwrap().bearer.expose(), "second");
    }

    #[test]
    fn lives_are_read_with_care() {
        let life = |text: &str| {
            let answer: TokenAnswer = serde_json::from_str(text).unwrap();
            answer.into_token(Moment::default()).map(|token| token.expires.0.as_millis())
        };
        assert_eq!(life(r#"{"token":"t","expires_in":300}"#), Some(270_000));
        assert_eq!(life(r#"{"access_token":"t"}"#), Some(54_000));
        assert_eq!(life(r#"{"token":"t","expires_in":0}"#), Some(54_000));
        assert_eq!(life(r#"{"token":"t","expires_in":99999999999}"#), Some(77_760_000));
        assert_eq!(life(r#"{"token":""}"#), None);
        assert_eq!(life("{}"), None);
    }
}
