//! The keys of one issuer: from a file, or from the issuer itself, asked once for all who wait.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use url::Url;

use super::discovery;
use super::key_life::{KeyPlan, KeyTimes};
use crate::body::{Body, BodyError};
use crate::error::{KeyFailure, TokenRefusal};
use crate::jwks::{IssuerKey, KeyFound, KeySet, TokenAlgorithm};
use crate::platform::{Moment, Outgoing, Platform, Reach, RequestPurpose, within};
use crate::single_flight::SingleFlight;
use crate::sync::{Mutex, MutexGuard};
use crate::upstream;

/// How long each of the two documents of an issuer is waited for.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest configuration of an issuer, in bytes. They have a few KiB.
const MAX_CONFIGURATION_BYTES: u64 = 64 << 10;
/// The largest key set, in bytes: a hundred keys with their certificates.
const MAX_KEYS_BYTES: u64 = 512 << 10;

/// What is known of an issuer's keys.
#[derive(Default)]
struct KnownKeys {
    keys: Option<Arc<KeySet>>,
    times: KeyTimes,
    why_failed: Option<KeyFailure>,
}

/// The keys of one issuer.
pub(super) struct IssuerKeys {
    pub(super) url: Box<str>,
    /// Its place among those that the transport knows.
    index: usize,
    /// From `jwks_file`: then nobody is asked.
    file: Option<Arc<KeySet>>,
    known: Arc<Mutex<KnownKeys>>,
    under_way: SingleFlight<(), ()>,
}

impl IssuerKeys {
    pub(super) fn new(url: &str, index: usize, file: Option<KeySet>, shares_io: bool) -> Self {
        Self {
            url: url.into(),
            index,
            file: file.map(Arc::new),
            known: Arc::default(),
            under_way: SingleFlight::new(shares_io),
        }
    }

    /// Takes over the keys of the previous configuration: a reload while the issuer is down locks nobody out.
    pub(super) fn after(&mut self, previous: &Self) {
        self.known = Arc::clone(&previous.known);
    }

    /// When the keys came, if they count without asking: what was verified with them is still right.
    pub(super) fn fresh_since(&self, now: Moment) -> Option<Moment> {
        if self.file.is_some() {
            return Some(Moment::default());
        }
        let known = self.known();
        known.times.fetched.filter(|_| known.times.is_fresh(now))
    }

    /// The key of this name for this algorithm, and when the keys came.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: TokenAlgorithm,
        platform: &Platform,
    ) -> Result<(IssuerKey, Moment), TokenRefusal> {
        if let Some(file) = &self.file {
            return found(file, kid, algorithm)
                .and_then(|key| key.ok_or(TokenRefusal::UnknownKey))
                .map(|key| (key, Moment::default()));
        }
        for is_last in [false, true] {
            let now = platform.clock.now();
            let (keys, times, why_failed) = {
                let known = self.known();
                (known.keys.clone(), known.times, known.why_failed)
            };
            let key = keys.as_ref().map_or(Ok(None), |keys| found(keys, kid, algorithm))?;
            match (times.plan(key.is_some(), now), key) {
                (KeyPlan::Use, Some(key)) => return Ok((key, times.fetched.unwrap_or_default())),
                (KeyPlan::Lacks | KeyPlan::Use, _) => return Err(TokenRefusal::UnknownKey),
                (KeyPlan::Fetch, _) if !is_last => {
                    self.under_way.join(&(), || self.refresh(kid, algorithm, platform)).await;
                }
                // They have just come.
                (KeyPlan::Fetch, _) if times.is_fresh(now) => return Err(TokenRefusal::UnknownKey),
                (KeyPlan::Fetch | KeyPlan::Wait, _) => {
                    return Err(TokenRefusal::NoKeys(why_failed.unwrap_or(KeyFailure::Resting)));
                }
            }
        }
        Err(TokenRefusal::NoKeys(KeyFailure::Resting))
    }

    /// Asks the issuer for the sake of a token by this key, and keeps what comes.
    async fn refresh(&self, kid: Option<&str>, algorithm: TokenAlgorithm, platform: &Platform) {
        let fetched = self.fetch(platform).await;
        let now = platform.clock.now();
        let mut known = self.known();
        match fetched {
            Ok(keys) => {
                if !matches!(keys.find(kid, algorithm), KeyFound::Key(_)) {
                    known.times.looked_for = Some(now);
                }
                tracing::info!(issuer = %self.url, keys = keys.len(), "the keys of an issuer were fetched");
                known.keys = Some(Arc::new(keys));
                (known.times.fetched, known.times.failed, known.why_failed) = (Some(now), None, None);
            }
            Err(error) => {
                tracing::warn!(issuer = %self.url, %error, has_old_keys = known.keys.is_some(), "the keys of an issuer cannot be fetched");
                (known.times.failed, known.why_failed) = (Some(now), Some(error));
            }
        }
    }

    async fn fetch(&self, platform: &Platform) -> Result<KeySet, KeyFailure> {
        let address = discovery::address(&self.url).ok_or(KeyFailure::KeysAddress)?;
        // The configuration names the issuer, which may be at a private address; where the issuer leads may not.
        let document = self.get(address, Reach::Configured, MAX_CONFIGURATION_BYTES, platform).await?;
        let keys = discovery::keys_address(&document, &self.url)?;
        let reach = if keys.is_own { Reach::Configured } else { Reach::Public };
        let document = self.get(keys.url, reach, MAX_KEYS_BYTES, platform).await?;
        KeySet::parse(&document).map_err(KeyFailure::Keys)
    }

    async fn get(
        &self,
        url: Url,
        reach: Reach,
        limit_bytes: u64,
        platform: &Platform,
    ) -> Result<bytes::Bytes, KeyFailure> {
        let issuers = platform.token_issuers.as_ref().ok_or(KeyFailure::NotBuilt)?;
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = url.as_str().parse().map_err(|_| KeyFailure::KeysAddress)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(upstream::USER_AGENT));
        let outgoing = Outgoing { request, upstream: self.index, reach, purpose: RequestPurpose::Api };
        let answered = within(&*platform.clock, DEADLINE, async {
            let answer = issuers.transport.send(outgoing).await.map_err(|error| {
                tracing::debug!(issuer = %self.url, %error, "an issuer cannot be asked");
                KeyFailure::Unreachable
            })?;
            if answer.status() != StatusCode::OK {
                return Err(KeyFailure::Status(answer.status().as_u16()));
            }
            answer.into_body().collect(limit_bytes).await.map_err(|error| match error {
                BodyError::TooLarge { limit_bytes } => KeyFailure::TooLarge { limit_bytes },
                _ => KeyFailure::Unreachable,
            })
        });
        answered.await.unwrap_or(Err(KeyFailure::TooLate))
    }

    fn known(&self) -> MutexGuard<'_, KnownKeys> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key in a set; `None`: it has none of this name.
fn found(keys: &KeySet, kid: Option<&str>, algorithm: TokenAlgorithm) -> Result<Option<IssuerKey>, TokenRefusal> {
    match keys.find(kid, algorithm) {
        KeyFound::Key(key) => Ok(Some(key.clone())),
        KeyFound::Absent => Ok(None),
        KeyFound::Several => Err(TokenRefusal::NoKeyNamed),
    }
}
