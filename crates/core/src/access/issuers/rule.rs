//! Whom the tokens of an issuer let in, and as whom: the whole decision but for the signature. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::json_object::JsonObject;
use super::token::UnverifiedToken;
use crate::config::{IssuerConfig, NamePart, NameTemplate};
use crate::error::{Age, RefusedToken, TokenRefusal};
use crate::pattern;
use crate::seal::Sealer;

/// How far an issuer's clock may be from ours, in seconds.
pub(super) const SKEW_SECONDS: u64 = 60;
/// The last second that counts as a time: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;
/// Longest name of a client, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A `[[clients.issuer]]`.
pub(in crate::access) struct IssuerRule {
    pub(in crate::access) url: Box<str>,
    audience: Box<str>,
    claims: Vec<(Box<str>, Box<str>)>,
    name: NameTemplate,
    allow: Vec<String>,
    /// Its fingerprint: tokens of ours end with the rule that they were given by.
    pub(in crate::access) mark: String,
}

/// A token whose rule lets it in, if its signature is right.
pub(super) struct Candidate {
    pub(super) rule: Arc<IssuerRule>,
    pub(super) name: Box<str>,
    /// The second, since 1970, at which it is over.
    pub(super) until: u64,
}

impl IssuerRule {
    /// Takes it from the configuration, which was checked; `None`: it was not.
    pub(super) fn new(config: &IssuerConfig, sealer: &Sealer) -> Option<Self> {
        let (claims, allowed) = (config.claims.len().to_string(), config.allow.len().to_string());
        let mut all = vec!["issuer", &config.url, &config.audience, &config.name, &claims, &allowed];
        all.extend(config.claims.iter().flat_map(|(claim, wanted)| [claim.as_str(), wanted]));
        all.extend(config.allow.iter().map(String::as_str));
        all.extend(config.jwks_file.as_deref());
        Some(Self {
            url: config.url.as_str().into(),
            audience: config.audience.as_str().into(),
            claims: config
                .claims
                .iter()
                .map(|(claim, wanted)| (claim.as_str().into(), wanted.as_str().into()))
                .collect(),
            name: NameTemplate::parse(&config.name).ok()?,
            allow: config.allow.clone(),
            mark: sealer.mark(&all),
        })
    }

    /// Whether its clients may pull from a repository, by its name in full: `ghcr.io/acme/app`.
    pub(in crate::access) fn allows(&self, repository: &str) -> bool {
        self.allow.iter().any(|allowed| pattern::matches(allowed, repository))
    }

    fn name_of(&self, token: &JsonObject) -> Result<Box<str>, TokenRefusal> {
        let mut name = String::new();
        for part in self.name.parts() {
            match part {
                NamePart::Text(text) => name.push_str(text),
                NamePart::Claim(claim) => {
                    let refused = || TokenRefusal::Name { claim: claim.clone() };
                    let value = token.get(claim).and_then(scalar).ok_or_else(refused)?;
                    let is_printable = |c: char| !c.is_control() && !c.is_whitespace();
                    if value.is_empty()
                        || !value.chars().all(is_printable)
                        || name.len() + value.len() > MAX_NAME_BYTES
                    {
                        return Err(refused());
                    }
                    name.push_str(&value);
                }
            }
        }
        Ok(name.into())
    }

    fn lets_in(&self, token: &JsonObject) -> Result<Box<str>, TokenRefusal> {
        if !is_for(token.get("aud"), &self.audience) {
            return Err(TokenRefusal::Audience { wanted: self.audience.clone() });
        }
        let fits = |claim: &str, wanted: &str| {
            token.get(claim).and_then(scalar).is_some_and(|value| pattern::matches(wanted, &value))
        };
        match self.claims.iter().find(|(claim, wanted)| !fits(claim, wanted)) {
            Some((claim, _)) => Err(TokenRefusal::Claim { claim: claim.clone() }),
            None => self.name_of(token),
        }
    }
}

/// Which rule lets a token in, and as whom, at this second since 1970. Of several rules of its issuer the first one that lets it in
/// counts; if none does, what the last of them says is told.
pub(super) fn judge(
    rules: &[Arc<IssuerRule>],
    token: &UnverifiedToken<'_>,
    now: u64,
) -> Result<Candidate, RefusedToken> {
    let claims = &token.claims;
    let mut of_issuer = rules.iter().filter(|rule| claims.text("iss") == Some(&*rule.url)).peekable();
    let Some(first) = of_issuer.peek() else {
        return Err(RefusedToken { issuer: None, why: TokenRefusal::ForeignIssuer });
    };
    let issuer = first.url.clone();
    let refused = |why| RefusedToken { issuer: Some(issuer.clone()), why };
    let until = valid_until(claims, now).map_err(&refused)?;
    let mut why = TokenRefusal::ForeignIssuer;
    for rule in of_issuer {
        match rule.lets_in(claims) {
            Ok(name) => return Ok(Candidate { rule: Arc::clone(rule), name, until }),
            Err(error) => why = error,
        }
    }
    Err(refused(why))
}

/// Until when a token is valid, if it is now (RFC 7519 section 4.1.4 to 4.1.6).
fn valid_until(claims: &JsonObject, now: u64) -> Result<u64, TokenRefusal> {
    let end = time(claims, "exp", "its claim exp")?.ok_or(TokenRefusal::Endless)?;
    for (claim, part) in [("nbf", "its claim nbf"), ("iat", "its claim iat")] {
        if let Some(begin) = time(claims, claim, part)?
            && begin > now.saturating_add(SKEW_SECONDS)
        {
            return Err(TokenRefusal::NotYetValid { wait: Age { seconds: begin.saturating_sub(now) }, claim });
        }
    }
    let until = end.saturating_add(SKEW_SECONDS);
    if now >= until {
        return Err(TokenRefusal::Expired { ago: Age { seconds: now.saturating_sub(end) } });
    }
    Ok(until)
}

/// A time (RFC 7519 section 2, `NumericDate`), in whole seconds since 1970.
fn time(claims: &JsonObject, claim: &str, part: &'static str) -> Result<Option<u64>, TokenRefusal> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        // It may have a fraction; its end counts as that of the second before.
        let text = value.as_f64().filter(|seconds| *seconds >= 0.0)?.floor();
        format!("{text:.0}").parse().ok()
    });
    match whole.filter(|second| *second <= LAST_SECOND) {
        Some(second) => Ok(Some(second)),
        None => Err(TokenRefusal::Unreadable { part, fault: "is no time" }),
    }
}

/// Whether an audience is one of those of the token: text, or a list (RFC 7519 section 4.1.3).
fn is_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(wanted)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// A claim as text, if it is one value: GitLab writes numbers and booleans as text, others do not.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
