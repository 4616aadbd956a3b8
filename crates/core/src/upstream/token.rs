//! Tokens of upstreams: fetched once for all requests (P-64), in memory only, each for one credential, token server and scope,
//! never longer than it lives. The table is limited in bytes, as an upstream decides how long its tokens are.

use std::time::Duration;

use http::HeaderValue;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use serde::Deserialize;

use crate::config::Limits;
use crate::error::{Failure, UpstreamText};
use crate::platform::Moment;
use crate::secret::Secret;
use crate::single_flight::SingleFlight;

/// The life of a token whose answer does not name one (P-64).
const DEFAULT_LIFE_SECONDS: u64 = 60;
/// Longest token that is accepted. Those of clouds have a few KiB, and servers accept no longer header.
pub(super) const MAX_TOKEN_BYTES: usize = 64 << 10;
/// About how many bytes an entry takes besides its texts.
const ENTRY_BYTES: usize = 300;
/// Most parts of the table: in more parts the longest token would not fit into one.
const SHARDS: usize = 16;
/// No token is trusted longer than a day, whatever it says.
const MAX_LIFE_SECONDS: u64 = 86_400;

/// What tells tokens apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The upstream's place in the configuration.
    pub upstream: usize,
    /// The token server, and the name of the registry there.
    pub realm: String,
    /// Whose credential; all zero for none.
    pub credential: [u8; 16],
    /// The scope.
    pub scope: String,
}

/// A token of an upstream.
#[derive(Debug, Clone)]
pub struct Token {
    /// `Authorization`, made once: tokens are long, and each request carries one. It is marked as sensitive, so it is not printed.
    pub header: HeaderValue,
    /// When it is no longer used.
    pub expires: Moment,
    /// Whether the server that gave it saw the login; it did not behind a redirect to another origin.
    pub knows_login: bool,
}

impl Token {
    fn new(bearer: &Secret, expires: Moment, knows_login: bool) -> Self {
        let header = HeaderValue::from_str(&format!("Bearer {}", bearer.expose()));
        let mut header = header.unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        Self { header, expires, knows_login }
    }
}

/// Why there is no token. Cheap to clone: it is the answer to all requests that waited for it.
#[derive(Debug, Clone)]
pub enum NoToken {
    /// The token server refuses the credential.
    Refused(UpstreamText),
    /// 429.
    Limited(Duration),
    /// Anything else.
    Failed(Failure),
}

/// The answer of a token server.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<serde_json::Value>,
}

impl TokenAnswer {
    /// The token. Its life is counted from its receipt, less a tenth: the server's own clock is not trusted (P-58, P-64).
    ///
    /// # Errors
    ///
    /// There is none, or it is longer than 64 KiB.
    pub(super) fn into_token(self, received: Moment, knows_login: bool) -> Result<Token, Failure> {
        let given = |text: &Secret| !text.expose().is_empty();
        let bearer = self.token.filter(given).or(self.access_token.filter(given));
        let bearer = bearer.ok_or(Failure::Nonsense("no token in the token server's response"))?;
        if bearer.expose().len() > MAX_TOKEN_BYTES {
            return Err(Failure::TooLarge);
        }
        let said = self.expires_in.as_ref().and_then(whole_seconds).filter(|life| *life > 0);
        let seconds = said.unwrap_or(DEFAULT_LIFE_SECONDS).min(MAX_LIFE_SECONDS);
        Ok(Token::new(&bearer, received.after(Duration::from_millis(seconds * 900)), knows_login))
    }
}

/// A number of seconds, which some servers write as a text or with a fraction.
fn whole_seconds(value: &serde_json::Value) -> Option<u64> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok().map(|life| life.as_secs())
}

type TokenResult = Result<Token, NoToken>;

/// The weight of a token with its key: at least its share of the memory, so that the number of tokens is limited, too.
#[derive(Clone)]
struct TokenBytes {
    least: u64,
}

impl Weighter<TokenKey, Token> for TokenBytes {
    fn weight(&self, key: &TokenKey, token: &Token) -> u64 {
        let bytes = token.header.len() + key.realm.len() + key.scope.len() + ENTRY_BYTES;
        self.least.max(bytes as u64)
    }
}

/// All tokens of all upstreams.
pub struct Tokens {
    kept: Cache<TokenKey, Token, TokenBytes>,
    fetches: SingleFlight<TokenKey, TokenResult>,
}

impl Tokens {
    /// At most `limits.tokens` tokens, of `limits.token_memory` bytes together. Where requests may not wait for each other
    /// each fetches its own.
    pub fn new(bounds: &Limits, shares_io: bool) -> Self {
        let (number, bytes) = (bounds.tokens, bounds.token_memory.0);
        let weighter = TokenBytes { least: bytes / u64::try_from(number).unwrap_or(u64::MAX).max(1) };
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(number).weight_capacity(bytes).shards(SHARDS);
        let kept = match options.build() {
            Ok(options) => {
                Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(number, bytes, weighter),
        };
        Self { kept, fetches: SingleFlight::new(shares_io) }
    }

    /// The token, if it is in the table and still valid.
    pub fn find(&self, key: &TokenKey, now: Moment) -> Option<Token> {
        self.kept.get(key).filter(|token| now < token.expires)
    }

    /// Drops a token that was refused.
    pub fn forget(&self, key: &TokenKey) {
        self.kept.remove(key);
    }

    /// The result of `fetch`, or of the same fetch that another began.
    pub async fn fetch<F>(&self, key: &TokenKey, fetch: impl Fn() -> F) -> TokenResult
    where
        F: Future<Output = TokenResult>,
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

    fn tokens() -> Tokens {
        Tokens::new(&Limits::default(), true)
    }

    fn token(text: &str) -> Token {
        Token::new(&Secret::new(text), Moment(Duration::from_secs(9)), false)
    }

    #[tokio::test]
    async fn a_hundred_who_ask_at_once_make_one_fetch() {
        let tokens = tokens();
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
        assert!(all.iter().all(|outcome| outcome.as_ref().unwrap().header == "Bearer t"));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert!(tokens.find(&wanted, Moment::default()).is_some());
        assert!(tokens.find(&wanted, Moment(Duration::from_secs(9))).is_none(), "not longer than it lives");
    }

    #[tokio::test]
    async fn those_who_wait_hear_of_the_failure_too() {
        let tokens = tokens();
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
        let tokens = tokens();
        let key = key("a");
        let mut leader = Box::pin(tokens.fetch(&key, pending::<TokenResult>));
        assert!((&mut leader).now_or_never().is_none());
        let mut waiter = Box::pin(tokens.fetch(&key, || async { Ok(token("second")) }));
        assert!((&mut waiter).now_or_never().is_none());
        drop(leader);
        assert_eq!(waiter.await.unwrap().header, "Bearer second");
    }

    #[test]
    fn a_token_is_not_printed() {
        assert!(!format!("{:?}", token("s3cret")).contains("s3cret"));
    }

    #[test]
    fn lives_are_read_with_care() {
        let life = |text: &str| {
            let answer: TokenAnswer = serde_json::from_str(text).unwrap();
            answer.into_token(Moment::default(), false).ok().map(|token| token.expires.0.as_millis())
        };
        assert_eq!(life(r#"{"token":"t","expires_in":300}"#), Some(270_000));
        assert_eq!(life(r#"{"access_token":"t"}"#), Some(54_000));
        assert_eq!(life(r#"{"token":"t","expires_in":0}"#), Some(54_000));
        assert_eq!(life(r#"{"token":"t","expires_in":99999999999}"#), Some(77_760_000));
        assert_eq!(life(r#"{"token":""}"#), None);
        assert_eq!(life("{}"), None);
    }

    #[tokio::test]
    async fn tokens_are_weighed_and_only_so_many_of_them_are_cached() {
        let bounds = Limits { tokens: 1000, token_memory: crate::config::Bytes(16 << 20), ..Limits::default() };
        for (length, most) in [(64 << 10, 255), (900, 1000)] {
            let tokens = Tokens::new(&bounds, true);
            for number in 0..3000 {
                let key = key(&format!("repository:{number}:pull"));
                tokens.fetch(&key, || async { Ok(token(&"x".repeat(length))) }).await.unwrap();
            }
            assert!(tokens.kept.weight() <= 16 << 20, "{length}: {}", tokens.kept.weight());
            assert!((most / 2..=most).contains(&tokens.kept.len()), "{length}: {}", tokens.kept.len());
        }
    }

    #[test]
    fn a_token_over_64_kib_is_refused() {
        for (length, is_taken) in [(65_536, true), (65_537, false)] {
            for name in ["token", "access_token"] {
                let text = format!(r#"{{"{name}":"{}"}}"#, "x".repeat(length));
                let answer: TokenAnswer = serde_json::from_str(&text).unwrap();
                assert_eq!(answer.into_token(Moment::default(), false).is_ok(), is_taken, "{name} of {length}");
            }
        }
    }
}
