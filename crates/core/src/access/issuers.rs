//! Tokens of OIDC issuers (`[[clients.issuer]]`): jobs and pods log in with what GitHub, GitLab or Kubernetes gives them.
//!
//! - [`token`] `o`: a token as it is written · [`json_object`] `o`: which member stands twice
//! - [`rule`] `o`: whom a token lets in
//! - [`discovery`] `o`: where an issuer has its keys · [`key_life`] `o`: for how long they count
//! - [`keys`]: the keys of an issuer

mod discovery;
mod json_object;
mod key_life;
mod keys;
mod rule;
mod token;

use std::sync::Arc;

use quick_cache::sync::Cache;

use self::keys::IssuerKeys;
pub(super) use self::rule::IssuerRule;
use self::rule::{Candidate, judge};
pub(super) use self::token::looks_like_token;
use crate::config::IssuerConfig;
use crate::error::{KeyFailure, RefusedToken, TokenRefusal};
use crate::platform::{Moment, Platform};
use crate::seal::Sealer;

/// Tokens that were verified and are still valid.
const MAX_REMEMBERED: usize = 4096;

/// Who has sent a token of an issuer.
#[derive(Clone)]
pub(super) struct Workload {
    /// By which rule.
    pub(super) rule: Arc<IssuerRule>,
    /// As the rule makes it of the claims.
    pub(super) name: Arc<str>,
}

/// A token that was verified.
#[derive(Clone)]
struct VerifiedToken {
    workload: Workload,
    /// The second, since 1970, at which it is over.
    until: u64,
    /// When the keys came that it was verified with: with newer ones it is verified again.
    keys: Moment,
}

/// The issuers whose tokens count.
pub(super) struct Issuers {
    rules: Vec<Arc<IssuerRule>>,
    /// One for each URL.
    keys: Vec<IssuerKeys>,
    /// By fingerprint: verifying a signature takes much longer than finding that it was verified.
    verified: Cache<[u8; 16], VerifiedToken>,
    sealer: Arc<Sealer>,
    platform: Platform,
}

impl Issuers {
    /// Takes them from the configuration; `None`: it has none.
    pub(super) fn new(configs: &[IssuerConfig], sealer: &Arc<Sealer>, platform: &Platform) -> Option<Self> {
        if configs.is_empty() {
            return None;
        }
        let mut keys: Vec<IssuerKeys> = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            if keys.iter().all(|known| *known.url != config.url) {
                let files = platform.token_issuers.as_ref().map(|issuers| issuers.key_files.as_slice());
                let file = files.and_then(|files| files.get(index)?.clone());
                keys.push(IssuerKeys::new(&config.url, index, file, platform.capabilities.shares_io));
            }
        }
        let rules = configs.iter().filter_map(|config| IssuerRule::new(config, sealer)).map(Arc::new).collect();
        let verified = Cache::new(MAX_REMEMBERED);
        Some(Self { rules, keys, verified, sealer: Arc::clone(sealer), platform: platform.clone() })
    }

    /// Takes over the keys that `previous` has. What it has verified is verified again, by the rules of now.
    pub(super) fn after(&mut self, previous: &Self) {
        for keys in &mut self.keys {
            if let Some(before) = previous.keys.iter().find(|before| before.url == keys.url) {
                keys.after(before);
            }
        }
    }

    /// The rule with this fingerprint, if there is such a rule now.
    pub(super) fn rule(&self, issuer: &str, mark: &str) -> Option<&Arc<IssuerRule>> {
        self.rules.iter().find(|rule| *rule.url == *issuer && rule.mark == mark)
    }

    /// Who has sent a token, or why it does not count.
    pub(super) async fn check(&self, text: &str) -> Result<Workload, RefusedToken> {
        let mark = self.sealer.fingerprint(&["issuer", text]);
        let seconds = self.platform.clock.unix_seconds();
        if let Some(known) = self.verified.get(&mark)
            && seconds < known.until
            && self.keys_of(&known.workload.rule).and_then(|keys| keys.fresh_since(self.platform.clock.now()))
                == Some(known.keys)
        {
            return Ok(known.workload);
        }
        let token = token::read(text).map_err(|why| RefusedToken { issuer: None, why })?;
        let Candidate { rule, name, until } = judge(&self.rules, &token, seconds)?;
        let refused = |why| RefusedToken { issuer: Some(rule.url.clone()), why };
        let not_built = || refused(TokenRefusal::NoKeys(KeyFailure::NotBuilt));
        let issuers = self.platform.token_issuers.as_ref().ok_or_else(not_built)?;
        let keys = self.keys_of(&rule).ok_or_else(not_built)?;
        let (key, fetched) =
            keys.key(token.kid.as_deref(), token.algorithm, &self.platform).await.map_err(&refused)?;
        if !issuers.signatures.verifies(&key, token.signed, &token.signature) {
            return Err(refused(TokenRefusal::Signature));
        }
        let workload = Workload { rule: Arc::clone(&rule), name: name.into() };
        self.verified.insert(mark, VerifiedToken { workload: workload.clone(), until, keys: fetched });
        Ok(workload)
    }

    fn keys_of(&self, rule: &IssuerRule) -> Option<&IssuerKeys> {
        self.keys.iter().find(|keys| keys.url == rule.url)
    }
}
