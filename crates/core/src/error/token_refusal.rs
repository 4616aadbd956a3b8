//! Why a token of an OIDC issuer (`[[clients.issuer]]`) is not taken.

use super::causes::Age;
use crate::jwks::InvalidKeySet;

/// A token that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token{} is not accepted: {why}", .issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default())]
pub struct RefusedToken {
    /// The issuer that it names, if the configuration has that one.
    pub issuer: Option<Box<str>>,
    /// Why not.
    pub why: TokenRefusal,
}

/// What the rule of its issuer does not allow a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{client} may not {action} {repository} here: [[clients.issuer]] does not allow it")]
pub struct BeyondRule {
    /// The client's name.
    pub client: Box<str>,
    /// `pull`, `push` or `delete`.
    pub action: &'static str,
    /// In full.
    pub repository: Box<str>,
}

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is longer than any token.
    #[error("it has more than {limit_bytes} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// It is not as RFC 7515 and RFC 7519 say.
    #[error("{part} {fault}")]
    Unreadable {
        /// Which part, or which claim.
        part: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// It may mean something that we do not know (RFC 7515 section 4.1.11).
    #[error("its header has extensions that must be understood (crit), and this proxy knows none")]
    Critical,
    /// It is signed in no way that counts, or not at all.
    #[error("its algorithm (alg) is not RS256, ES256 or EdDSA")]
    Algorithm,
    /// Its issuer is none of ours.
    #[error("its issuer (iss) is none of [[clients.issuer]]")]
    ForeignIssuer,
    /// It is for somebody else.
    #[error("its audience (aud) is not {wanted}")]
    Audience {
        /// Whom it would have to be for.
        wanted: Box<str>,
    },
    /// Its time is over.
    #[error("it expired {ago} ago (exp)")]
    Expired {
        /// Since when.
        ago: Age,
    },
    /// Its time has not come.
    #[error("it is not valid yet, but in {wait} ({claim})")]
    NotYetValid {
        /// When it will be.
        wait: Age,
        /// `nbf`, or `iat`.
        claim: &'static str,
    },
    /// It would be valid for ever.
    #[error("it does not say when it expires (exp)")]
    Endless,
    /// Its rule does not let it in.
    #[error("its claim {claim} does not match the rule")]
    Claim {
        /// The first one that does not fit.
        claim: Box<str>,
    },
    /// It makes no name.
    #[error("its claim {claim} is not there or cannot be a part of a name")]
    Name {
        /// The first one that cannot be.
        claim: Box<str>,
    },
    /// Nobody has signed it, as far as we know.
    #[error("the issuer has no key of its name (kid) for its algorithm")]
    UnknownKey,
    /// Who has signed it cannot be told.
    #[error("it names no key (kid), and the issuer has several for its algorithm")]
    NoKeyNamed,
    /// It was changed, or somebody else has signed it.
    #[error("its signature is not by the issuer's key")]
    Signature,
    /// It cannot be verified now.
    #[error("the issuer's keys are not here: {0}")]
    NoKeys(KeyFailure),
}

/// Why the keys of an issuer are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFailure {
    /// This build or platform verifies no tokens.
    #[error("this build or platform verifies no tokens of issuers")]
    NotBuilt,
    /// The issuer failed a moment ago, and is not asked again yet.
    #[error("it could not give them a moment ago")]
    Resting,
    /// An answer did not come in time.
    #[error("it did not answer in time")]
    TooLate,
    /// No connection, or one that broke.
    #[error("it cannot be reached")]
    Unreachable,
    /// Another status than 200; redirects are not followed.
    #[error("it answered {0} instead of 200")]
    Status(u16),
    /// A document is longer than any of its kind.
    #[error("its answer has more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// `/.well-known/openid-configuration` is something else.
    #[error("its /.well-known/openid-configuration has no issuer and jwks_uri")]
    NotDiscovery,
    /// OpenID Connect Discovery 1.0 section 4.3.
    #[error("its /.well-known/openid-configuration is of another issuer")]
    OtherIssuer,
    /// The keys are at an address that anybody on the way could answer for.
    #[error("its jwks_uri is neither https nor on the issuer's own host and port")]
    KeysAddress,
    /// The keys are none.
    #[error("of its keys: {0}")]
    Keys(InvalidKeySet),
}
