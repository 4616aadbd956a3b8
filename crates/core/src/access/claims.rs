//! The claims in a token of ours: whose it is, for what, until when, and what it depends on. The client carries the sealed claims,
//! so any replica with the same key can read them, and none has to remember them.

use serde::{Deserialize, Serialize};

use super::scope::{Scope, Use};

/// `expires_in` of our tokens, in seconds, and how long they allow writing: what clients expect and Docker Hub gives (P-42).
pub(super) const TOKEN_SECONDS: u64 = 300;

/// Scopes kept in one token: more than any client asks for at once.
const MAX_SCOPES: usize = 32;

/// What a token says.
#[derive(Serialize, Deserialize)]
pub(super) struct TokenClaims {
    /// Whose it is.
    #[serde(rename = "holder")]
    pub(super) subject: Subject,
    /// `repository:<the client's name>:<actions>`, as it was asked for.
    scopes: Vec<String>,
    /// Until when it allows writing, in seconds since 1970. It allows reading for longer.
    expires: u64,
    /// The fingerprint of what it depended on when it was given. Older versions wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basis: Option<String>,
}

/// Whose token it is.
#[derive(Serialize, Deserialize)]
pub(super) enum Subject {
    /// A user of our password file.
    User { name: String },
    /// Nobody in particular.
    Anonymous,
    /// A login for this upstream, and whether the upstream has confirmed it. Older versions did not write that.
    Login {
        upstream: String,
        username: String,
        password: Box<str>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_confirmed: bool,
    },
    /// Whom an OIDC issuer vouches for: its URL, the name that the rule gave, and the rule's fingerprint.
    Workload { issuer: String, name: String, rule: String },
}

impl Subject {
    /// The user name, if there is one.
    pub(super) fn name(&self) -> Option<Box<str>> {
        match self {
            Self::User { name } | Self::Login { username: name, .. } | Self::Workload { name, .. } => {
                Some(name.as_str().into())
            }
            Self::Anonymous => None,
        }
    }
}

/// What a token depends on, as it is now. Once that is gone or has changed, every replica that knows it refuses the token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Nothing that is kept here: everybody may have the token, or the upstream is asked each time.
    Nothing,
    /// Something with this fingerprint.
    Mark(String),
    /// Something that no longer exists.
    Gone,
}

impl TokenClaims {
    /// Claims of a token that is given now. A client without a login needs no scopes for what everybody may see.
    pub(super) fn new(subject: Subject, mut scopes: Vec<String>, basis: Basis, now: u64) -> Self {
        scopes.retain(|scope| scope.starts_with("repository") && !matches!(subject, Subject::Anonymous));
        scopes.truncate(MAX_SCOPES);
        let basis = match basis {
            Basis::Mark(mark) => Some(mark),
            Basis::Nothing | Basis::Gone => None,
        };
        Self { subject, scopes, expires: now.saturating_add(TOKEN_SECONDS), basis }
    }

    /// Whether the token is valid now for this use, if tokens allow reading for `read_life` seconds and this one depends on `basis`.
    pub(super) fn is_good(&self, wanted: Use, read_life: u64, basis: &Basis, now: u64) -> bool {
        let end = match wanted {
            Use::Write => self.expires,
            Use::Read => self.expires.saturating_sub(TOKEN_SECONDS).saturating_add(read_life),
        };
        let stands = match basis {
            Basis::Nothing => true,
            Basis::Mark(mark) => self.basis.as_ref() == Some(mark),
            Basis::Gone => false,
        };
        stands && now < end
    }

    /// Whether the token covers this repository and action; a broader scope does, too (P-48).
    pub(super) fn covers(&self, wanted: Scope<'_>) -> bool {
        self.scopes.iter().any(|scope| {
            let Some((name, actions)) = scope.split_once(':').and_then(|(_, rest)| rest.rsplit_once(':')) else {
                return false;
            };
            name == wanted.name && actions.split(',').any(|action| action == wanted.action || action == "*")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(basis: Basis) -> TokenClaims {
        TokenClaims::new(Subject::User { name: "alice".into() }, Vec::new(), basis, 1000)
    }

    #[test]
    fn a_token_writes_for_five_minutes_and_reads_for_longer() {
        let claims = claims(Basis::Nothing);
        for (wanted, now, is_good) in [
            (Use::Write, 1299, true),
            (Use::Write, 1300, false),
            (Use::Read, 1300, true),
            (Use::Read, 4599, true),
            (Use::Read, 4600, false),
        ] {
            assert_eq!(claims.is_good(wanted, 3600, &Basis::Nothing, now), is_good, "{wanted:?} {now}");
        }
        assert!(
            !claims.is_good(Use::Read, 600, &Basis::Nothing, 1600),
            "a shorter life counts for what was given before"
        );
    }

    #[test]
    fn a_token_ends_with_what_it_rests_on() {
        let mark = |text: &str| Basis::Mark(text.to_owned());
        for (given, now, is_good) in [
            (mark("a"), mark("a"), true),
            (mark("a"), mark("b"), false),
            (mark("a"), Basis::Gone, false),
            (Basis::Nothing, mark("a"), false),
            (Basis::Nothing, Basis::Nothing, true),
        ] {
            assert_eq!(claims(given).is_good(Use::Read, 3600, &now, 1000), is_good, "{now:?}");
        }
    }

    #[test]
    fn a_token_of_the_version_before_is_read_and_rests_on_nothing() {
        let text = r#"{"holder":{"User":{"name":"alice"}},"scopes":["repository:a/b:pull"],"expires":1300}"#;
        let old: TokenClaims = serde_json::from_str(text).unwrap();
        assert!(old.covers(Scope { name: "a/b", action: "pull" }));
        assert!(!old.is_good(Use::Read, 3600, &Basis::Mark("a".into()), 1000));
        let new = serde_json::to_string(&claims(Basis::Nothing)).unwrap();
        assert_eq!(new, r#"{"holder":{"User":{"name":"alice"}},"scopes":[],"expires":1300}"#, "and it reads ours");
    }
}
