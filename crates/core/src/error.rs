//! Every way in which a request can fail, and its one mapping to status, OCI code and headers.
//!
//! Clients read `Display`; the log gets the source. An upstream's answer is a value (`upstream::Reply`) and becomes an error
//! only where nothing else can be made of it.
//!
//! - `answer`: the response of an error
//! - `causes`: why something is absent, not served, not deliverable, or needs a login
//! - `failure`: why an upstream gave no usable answer
//! - `upstream_text`: the errors that an upstream reported, made safe to repeat
//! - `exhausted`: a quota that is used up
//! - `token_refusal`: why a token of an OIDC issuer is not taken

mod answer;
mod causes;
mod exhausted;
mod failure;
mod token_refusal;
mod upstream_text;

use std::time::Duration;

use http::StatusCode;

pub use self::causes::{
    Absence, AccessDenied, Age, Blocked, LoginChallenge, NotStale, Obstacle, Unverified, Withheld,
};
pub use self::exhausted::Exhausted;
pub use self::failure::{Failure, Trouble};
pub use self::token_refusal::{BeyondRule, KeyFailure, RefusedToken, TokenRefusal};
pub use self::upstream_text::UpstreamText;
pub(crate) use self::upstream_text::{ReportedError, without_controls};
use crate::digest::InvalidDigest;
use crate::name::{InvalidName, InvalidReference};
use crate::outcome::{Action, Outcome, Reason};
use crate::profile::Profile;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path holds no legal repository name.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The path, or the `digest` parameter, holds no legal digest.
    #[error(transparent)]
    InvalidDigest(#[from] InvalidDigest),
    /// The path holds no legal tag.
    #[error("invalid tag: up to 128 letters, digits, dots, underscores and hyphens")]
    InvalidTag,
    /// Prefix or virtual host name one upstream, `ns` another.
    #[error("the path and the ns parameter name different registries")]
    NamespaceConflict,
    /// The registry is none of the configured ones: it is never dialled (P-06).
    #[error("this proxy does not serve that registry")]
    UnknownUpstream,
    /// No such path.
    #[error("no such endpoint")]
    NoSuchEndpoint,
    /// `_catalog` (P-144).
    #[error("the catalogue of repositories is not supported")]
    CatalogUnsupported,
    /// `repositories = { … }` does not let it through.
    #[error("this repository is not served by this proxy")]
    RepositoryDenied,
    /// `[[access]]`.
    #[error("{denied}{}", if *.is_unconfirmed { "; the registry could not confirm this login, so it counts as anonymous" } else { "" })]
    AccessDenied {
        /// Which rule says so.
        denied: AccessDenied,
        /// Whether the client has a login that nobody has confirmed.
        is_unconfirmed: bool,
    },
    /// `[[block]]`.
    #[error(transparent)]
    Blocked(Blocked),
    /// `[[policy]]`.
    #[error(transparent)]
    Unverified(Box<Unverified>),
    /// A rule of `cache.tags` holds it.
    #[error(transparent)]
    Withheld(Withheld),
    /// The client must log in, or log in again.
    #[error("{}", if .0.error.is_some() { "the token is not valid for this request" } else { "authentication required" })]
    Unauthorized(Box<LoginChallenge>),
    /// At the token endpoint: wrong user name or password.
    #[error("incorrect user name or password")]
    WrongLogin,
    /// A token of an OIDC issuer (`[[clients.issuer]]`) that does not count.
    #[error("{refused}")]
    TokenRefused {
        /// Why.
        #[source]
        refused: RefusedToken,
        /// How to log in; none at the token endpoint itself.
        challenge: Option<Box<LoginChallenge>>,
    },
    /// What the rule of an OIDC issuer does not allow.
    #[error("{0}")]
    BeyondIssuerRule(#[source] Box<BeyondRule>),
    /// At the token endpoint: the upstream cannot say now whether the login is right (P-44).
    #[error("the registry could not check the login: {failure}")]
    LoginUnknown {
        /// What kept it from saying.
        #[source]
        failure: Failure,
        /// When to come again.
        retry_after: Duration,
    },
    /// A login is not checked now: this address was wrong too often, or too many logins are being checked.
    #[error("too many logins are wrong or being checked; try again in {} s", .retry_after.as_secs_f64().ceil())]
    TooManyLogins {
        /// When to come again.
        retry_after: Duration,
    },
    /// At the token endpoint: scopes of two upstreams at once (P-56).
    #[error("one token cannot cover repositories of two registries")]
    TwoUpstreams,
    /// At the token endpoint: what was asked for does not fit into a token (P-47).
    #[error(
        "this login and these scopes need a token of {limit_bytes} bytes or more; ask for fewer repositories at once, or use a shorter password"
    )]
    TokenTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The form is not one.
    #[error("the form cannot be read")]
    UnreadableForm,
    /// A refresh token: we never give one, so it is not ours (P-43).
    #[error("unsupported grant: use grant_type=password, or GET with Basic credentials")]
    UnsupportedGrant,
    /// A rewritten redirect that is over, or is for another login, repository or blob.
    #[error("this link has expired, or is for another login, repository or blob; request the blob itself")]
    LinkOver,
    /// The upstream says no.
    #[error("the registry refuses access")]
    Refused(UpstreamText),
    /// There is no such manifest.
    #[error("manifest unknown: {0}")]
    ManifestUnknown(Absence),
    /// There is no such blob.
    #[error("blob unknown: {0}")]
    BlobUnknown(Absence),
    /// The upstream does not have the repository, or not this part of its API.
    #[error("not found")]
    NotFound(UpstreamText),
    /// Something else that is not here, where nobody is asked (`cache.offline`).
    #[error("not found: {}", Absence::Offline)]
    Offline,
    /// Pushing is off for this upstream, or this addressing cannot push.
    #[error("pushing through this proxy is not enabled for this registry")]
    PushDisabled,
    /// The method means nothing here.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// An upload session that is not ours, of another repository, or too old.
    #[error("unknown upload session")]
    UploadUnknown,
    /// Beyond the end, or ending before it begins.
    #[error("the range cannot be satisfied")]
    RangeNotSatisfiable {
        /// Length of the blob, in bytes.
        total: u64,
    },
    /// Several ranges of a blob that is not stored whole (P-102): clients switch to single ranges.
    #[error("several ranges in one request are not supported; ask for one at a time")]
    SeveralRanges,
    /// Larger than a named limit.
    #[error("larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// A pushed manifest is larger than `limits.manifest` (P-88).
    #[error("the manifest is larger than {limit_bytes} bytes")]
    ManifestTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// A body could not be read from the client.
    #[error("the request's body broke off")]
    ClientBody,
    /// `limits.waiting` is reached.
    #[error("too many requests are waiting for this registry; try again")]
    Overloaded,
    /// `[quota]`: a limit is reached.
    #[error(transparent)]
    Exhausted(Exhausted),
    /// `quota.mode = "closed"`.
    #[error("this proxy is closed for now (quota.mode)")]
    Closed,
    /// The upstream limits us.
    #[error("the registry limits the rate of requests")]
    Limited {
        /// When to come again.
        retry_after: Duration,
    },
    /// Any other 4xx of the upstream, as it is.
    #[error("the registry declined the request")]
    Declined(StatusCode, UpstreamText),
    /// The request passed through ourselves already (P-127).
    #[error("a loop: this request has already passed through this proxy")]
    Loop,
    /// Our own answer did not begin within `timeouts.head`.
    #[error("the registry did not answer in time")]
    DeadlinePassed,
    /// The platform does not carry it, and it is on its way into the store.
    #[error("still being fetched into this proxy's store; try again")]
    NotYet {
        /// Docker takes a 429 for final.
        is_for_docker: bool,
    },
    /// The platform does not carry it, and nothing else can be done.
    #[error(
        "{platform} sends responses of up to {limit_bytes} bytes, and this one has {}: {obstacle}",
        .length.map_or_else(|| "more, or an unknown number".to_owned(), |length| length.to_string())
    )]
    Undeliverable {
        /// Where we run.
        platform: Profile,
        /// The limit, in bytes.
        limit_bytes: u64,
        /// Length of the answer, in bytes.
        length: Option<u64>,
        /// Why it goes by no link either.
        obstacle: Obstacle,
    },
    /// The upstream could not answer.
    #[error("the registry gave no usable answer: {0}")]
    Upstream(#[source] Failure),
    /// The same, and the tag that is here may not be served in its place (P-87).
    #[error("{error}; the tag is cached, but not served stale: {why}")]
    NotStale {
        /// What the upstream did instead.
        error: Box<Error>,
        /// Why not.
        #[source]
        why: NotStale,
    },
}

impl From<InvalidReference> for Error {
    fn from(error: InvalidReference) -> Self {
        match error {
            InvalidReference::Digest(error) => Self::InvalidDigest(error),
            InvalidReference::Tag => Self::InvalidTag,
        }
    }
}

impl Error {
    /// Status, OCI error code, and what is said of it in header, log and metrics. Transient trouble of an upstream
    /// is 504: containerd does not try again after 502, and regclient drops a host for 503 (P-118).
    fn meaning(&self) -> (StatusCode, &'static str, Outcome) {
        const fn refused(reason: Reason) -> Outcome {
            Outcome::new(Action::Refused, reason)
        }
        const fn failed(reason: Reason) -> Outcome {
            Outcome::new(Action::Failed, reason)
        }
        match self {
            Self::InvalidName(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID", refused(Reason::InvalidName)),
            Self::InvalidDigest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", refused(Reason::InvalidDigest)),
            Self::InvalidTag => (StatusCode::BAD_REQUEST, "TAG_INVALID", refused(Reason::InvalidTag)),
            Self::NamespaceConflict => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID", refused(Reason::NamespaceConflict))
            }
            Self::UnknownUpstream => (StatusCode::NOT_FOUND, "NAME_UNKNOWN", refused(Reason::NotServed)),
            Self::NoSuchEndpoint => (StatusCode::NOT_FOUND, "UNSUPPORTED", refused(Reason::NoSuchEndpoint)),
            Self::CatalogUnsupported => (StatusCode::NOT_FOUND, "UNSUPPORTED", refused(Reason::NoCatalogue)),
            Self::RepositoryDenied => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::RepositoryDenied)),
            Self::AccessDenied { .. } => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::AccessDenied)),
            Self::Withheld(withheld @ Withheld::Gone { .. }) => {
                (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", refused(withheld.reason()))
            }
            Self::Unverified(unverified) => (StatusCode::FORBIDDEN, "DENIED", refused(unverified.reason)),
            Self::Blocked(_) => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::Blocked)),
            Self::Withheld(withheld) => (StatusCode::FORBIDDEN, "DENIED", refused(withheld.reason())),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", refused(Reason::LoginNeeded)),
            Self::WrongLogin => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", refused(Reason::WrongLogin)),
            Self::TokenRefused { refused: RefusedToken { why: TokenRefusal::NoKeys(_), .. }, .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", failed(Reason::NoIssuerKeys))
            }
            Self::TokenRefused { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", refused(Reason::TokenRefused)),
            Self::BeyondIssuerRule(_) => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::BeyondIssuerRule)),
            Self::TooManyLogins { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", refused(Reason::TooManyLogins))
            }
            // As storage answers where a signature is over: lazy snapshotters then ask the registry for a new address.
            Self::LinkOver => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::UnknownLink)),
            Self::TwoUpstreams => (StatusCode::BAD_REQUEST, "UNSUPPORTED", refused(Reason::TwoRegistries)),
            Self::TokenTooLarge { .. } => (StatusCode::BAD_REQUEST, "UNSUPPORTED", refused(Reason::TokenTooLarge)),
            Self::UnreadableForm => (StatusCode::BAD_REQUEST, "UNSUPPORTED", refused(Reason::UnreadableForm)),
            Self::UnsupportedGrant => (StatusCode::UNAUTHORIZED, "UNSUPPORTED", refused(Reason::UnsupportedGrant)),
            Self::Refused(_) => (StatusCode::FORBIDDEN, "DENIED", refused(Reason::RefusedUpstream)),
            Self::ManifestUnknown(absence) => {
                (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", refused(absence.reason()))
            }
            Self::BlobUnknown(absence) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", refused(absence.reason())),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND", refused(Reason::NotFound)),
            Self::Offline => (StatusCode::NOT_FOUND, "NOT_FOUND", refused(Reason::AbsentOffline)),
            Self::PushDisabled => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", refused(Reason::PushOff)),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", refused(Reason::MethodNotAllowed))
            }
            Self::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", refused(Reason::UnknownUpload)),
            Self::RangeNotSatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", refused(Reason::RangeNotSatisfiable))
            }
            Self::SeveralRanges => (StatusCode::BAD_REQUEST, "UNSUPPORTED", refused(Reason::SeveralRanges)),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", refused(Reason::TooLarge)),
            Self::ManifestTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", refused(Reason::ManifestTooLarge))
            }
            Self::ClientBody => (StatusCode::BAD_REQUEST, "UNKNOWN", refused(Reason::RequestBroke)),
            Self::Overloaded => {
                (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", refused(Reason::TooManyWaiting))
            }
            Self::Exhausted(exhausted) => {
                (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", refused(exhausted.reason))
            }
            Self::Closed => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", refused(Reason::Closed)),
            Self::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", failed(Reason::Limited)),
            Self::Declined(status, _) => (*status, "UNSUPPORTED", refused(Reason::Declined)),
            Self::NotYet { is_for_docker: true } => {
                (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", failed(Reason::NotYet))
            }
            Self::NotYet { is_for_docker: false } => {
                (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", failed(Reason::NotYet))
            }
            Self::Undeliverable { .. } => {
                (StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED", refused(Reason::Undeliverable))
            }
            Self::Loop => (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", refused(Reason::Loop)),
            Self::DeadlinePassed => (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", failed(Reason::HeadTimeout)),
            Self::Upstream(failure) | Self::LoginUnknown { failure, .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", failed(failure.reason()))
            }
            Self::NotStale { error, why } => {
                let (status, code, _) = error.meaning();
                (status, code, failed(why.reason()))
            }
        }
    }

    /// What is said of it in header, log and metrics.
    pub fn outcome(&self) -> Outcome {
        self.meaning().2
    }
}
