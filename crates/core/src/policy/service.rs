//! The outside service of a rule (`verdict_url`), such as a scanner: what it is asked, and what its answer means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{PolicyRule, VerdictDefault};
use crate::error::without_controls;
use crate::outcome::Reason;

/// Longest answer that is read, in bytes.
pub(crate) const MAX_ANSWER_BYTES: u64 = 16 << 10;
/// Longest reason that is told, in characters.
const MAX_REASON_CHARS: usize = 500;
/// How long it is remembered that there was no answer: a service that is down is not asked by every request.
const UNANSWERED_LIFE: Duration = Duration::from_secs(10);

/// The service of a rule.
pub(crate) struct VerdictService {
    /// Where it is asked. A token may stand in it.
    pub(crate) uri: Uri,
    /// Its address as operators may see it; clients do not.
    pub(crate) shown: Box<str>,
    /// Its place among those that the transport knows.
    pub(crate) index: usize,
    /// How long it is waited for.
    pub(crate) timeout: Duration,
    life: Duration,
    default: VerdictDefault,
}

impl VerdictService {
    /// The service of a rule that has been checked; `None`: it has none.
    pub(super) fn new(rule: &PolicyRule, index: usize) -> Option<Self> {
        let url = rule.verdict_url.as_ref()?;
        Some(Self {
            uri: url.expose().as_str().parse().ok()?,
            shown: url.to_string().into(),
            index,
            timeout: rule.verdict_timeout.0,
            life: rule.verdict_life.0,
            default: rule.verdict_default,
        })
    }

    /// Tells it from another service, and from one whose silence means something else.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update([match self.default {
            VerdictDefault::Deny => 0,
            VerdictDefault::Allow => 1,
        }]);
        hash.update(self.uri.to_string());
        hash.finalize().into()
    }

    /// The verdict where there is no answer.
    pub(crate) const fn unanswered(&self, why: NoAnswer) -> ServiceVerdict {
        ServiceVerdict::Unanswered { why, default: self.default }
    }

    /// What an answer means: only 200 with a JSON object that has `allow` as a boolean is one.
    pub(crate) fn verdict_of(&self, status: StatusCode, body: &[u8]) -> ServiceVerdict {
        #[derive(Deserialize)]
        struct ServiceAnswer {
            allow: bool,
            #[serde(default)]
            reason: Option<String>,
        }
        if status != StatusCode::OK {
            return self.unanswered(NoAnswer::Status(status.as_u16()));
        }
        match serde_json::from_slice(body) {
            Ok(ServiceAnswer { allow: true, .. }) => ServiceVerdict::Allowed,
            Ok(ServiceAnswer { allow: false, reason }) => {
                let reason = without_controls(&reason.unwrap_or_default());
                ServiceVerdict::Denied { reason: reason.chars().take(MAX_REASON_CHARS).collect::<String>().into() }
            }
            Err(_) => self.unanswered(NoAnswer::NotAnAnswer),
        }
    }

    /// How long a verdict counts.
    pub(super) const fn life(&self, verdict: &ServiceVerdict) -> Duration {
        match verdict {
            ServiceVerdict::Allowed | ServiceVerdict::Denied { .. } => self.life,
            ServiceVerdict::Unanswered { .. } => UNANSWERED_LIFE,
        }
    }
}

/// What a service is asked about: its fields are those of the JSON object that it gets.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerdictQuestion<'a> {
    /// The upstream's name.
    pub(crate) registry: &'a str,
    /// As the upstream calls it.
    pub(crate) repository: &'a str,
    /// Of the manifest.
    pub(crate) digest: &'a str,
    /// Of the manifest.
    pub(crate) media_type: &'a str,
    /// By which the manifest was asked for, if it was by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<&'a str>,
}

/// What a service says of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceVerdict {
    /// It may be served.
    Allowed,
    /// It may not.
    Denied {
        /// In the service's words, without control characters and cut to size. May be empty.
        reason: Arc<str>,
    },
    /// There is no answer.
    Unanswered {
        /// Why.
        why: NoAnswer,
        /// What counts then.
        default: VerdictDefault,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// This build or platform asks no services.
    NoTransport,
    /// It did not come in time.
    TooLate,
    /// No connection, or one that broke.
    Unreachable,
    /// Another status than 200; redirects are not followed.
    Status(u16),
    /// It is longer than any answer is.
    TooLarge,
    /// It is something else.
    NotAnAnswer,
    /// The service has not been asked yet, and is not asked now.
    NotAsked,
}

impl ServiceVerdict {
    /// Whether the manifest may be served.
    pub(crate) const fn is_allowed(&self) -> bool {
        match self {
            Self::Allowed | Self::Unanswered { default: VerdictDefault::Allow, .. } => true,
            Self::Denied { .. } | Self::Unanswered { default: VerdictDefault::Deny, .. } => false,
        }
    }

    /// As a label of a metric.
    pub(crate) const fn as_label(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied { .. } => "denied",
            Self::Unanswered { .. } => "unanswered",
        }
    }

    /// Why an image with this verdict is refused.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Allowed | Self::Denied { .. } => Reason::ServiceDenied,
            Self::Unanswered { .. } => Reason::NoServiceVerdict,
        }
    }
}

impl fmt::Display for ServiceVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("the service allows it"),
            Self::Denied { reason } if reason.is_empty() => f.write_str("the service denies it"),
            Self::Denied { reason } => write!(f, "the service denies it: {reason}"),
            Self::Unanswered { why, default: VerdictDefault::Deny } => write!(f, "{why}; the default is to deny"),
            Self::Unanswered { why, default: VerdictDefault::Allow } => {
                write!(f, "{why}; the default is to allow")
            }
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTransport => f.write_str("this proxy asks no services here"),
            Self::TooLate => f.write_str("the service did not answer in time"),
            Self::Unreachable => f.write_str("the service cannot be reached"),
            Self::Status(status) => write!(f, "the service answered {status} instead of 200"),
            Self::TooLarge => write!(f, "the service's answer has more than {MAX_ANSWER_BYTES} bytes"),
            Self::NotAnAnswer => f.write_str("the service's answer is not {\"allow\": true} or false"),
            Self::NotAsked => f.write_str("the service has not been asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(default: VerdictDefault) -> VerdictService {
        let uri = Uri::from_static("https://scanner.test/v?t0k3n");
        let (timeout, life) = (Duration::from_secs(2), Duration::from_mins(10));
        VerdictService { uri, shown: "https://scanner.test/***".into(), index: 0, timeout, life, default }
    }

    #[test]
    fn only_200_with_a_boolean_is_an_answer() {
        let service = service(VerdictDefault::Deny);
        let denied = |reason: &str| ServiceVerdict::Denied { reason: reason.into() };
        let (no_answer, deny) = (NoAnswer::NotAnAnswer, VerdictDefault::Deny);
        let unanswered = |why| ServiceVerdict::Unanswered { why, default: deny };
        for (status, body, expected) in [
            (200, r#"{"allow":true}"#, ServiceVerdict::Allowed),
            (200, r#" {"scan":{"allow":false},"allow":true,"reason":"clean"} "#, ServiceVerdict::Allowed),
            (200, r#"{"allow":false,"reason":"CVE-2026-1"}"#, denied("CVE-2026-1")),
            (200, r#"{"allow":false,"reason":null}"#, denied("")),
            (200, r#"{"allow":false}"#, denied("")),
            (200, r#"{"allow":"true"}"#, unanswered(no_answer)),
            (200, r#"{"allow":1}"#, unanswered(no_answer)),
            (200, r#"{"allow":null}"#, unanswered(no_answer)),
            (200, r#"{"Allow":true}"#, unanswered(no_answer)),
            (200, r#"{"allow":false,"allow":true}"#, unanswered(no_answer)),
            (200, r#"{"allow":true,"reason":7}"#, unanswered(no_answer)),
            (200, r#"{"allow":true}x"#, unanswered(no_answer)),
            (200, "true", unanswered(no_answer)),
            (200, "[]", unanswered(no_answer)),
            (200, "", unanswered(no_answer)),
            (204, "", unanswered(NoAnswer::Status(204))),
            (201, r#"{"allow":true}"#, unanswered(NoAnswer::Status(201))),
            (302, r#"{"allow":true}"#, unanswered(NoAnswer::Status(302))),
            (500, r#"{"allow":true}"#, unanswered(NoAnswer::Status(500))),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(service.verdict_of(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_reason_is_told_without_control_characters_and_cut_to_size() {
        let body = format!(r#"{{"allow":false,"reason":"no\r\n\u001b[2J\u202e {}"}}"#, "x".repeat(2000));
        let told = service(VerdictDefault::Deny).verdict_of(StatusCode::OK, body.as_bytes()).to_string();
        assert!(told.starts_with("the service denies it: no[2J xxx"), "{told}");
        assert_eq!(told.len(), "the service denies it: ".len() + 500);
    }

    #[test]
    fn without_an_answer_the_default_counts_and_soon_it_is_asked_again() {
        for (default, allowed, told) in [
            (VerdictDefault::Deny, false, "the service did not answer in time; the default is to deny"),
            (VerdictDefault::Allow, true, "the service did not answer in time; the default is to allow"),
        ] {
            let service = service(default);
            let verdict = service.unanswered(NoAnswer::TooLate);
            assert_eq!((verdict.is_allowed(), verdict.to_string().as_str()), (allowed, told));
            assert_eq!(service.life(&verdict), Duration::from_secs(10));
            assert_eq!(service.life(&ServiceVerdict::Allowed), Duration::from_mins(10));
        }
    }

    #[test]
    fn a_question_names_the_tag_only_where_there_is_one() {
        let question = VerdictQuestion {
            registry: "ghcr.io",
            repository: "acme/app",
            digest: "sha256:00",
            media_type: "application/vnd.oci.image.index.v1+json",
            tag: Some("v1"),
        };
        let expected = r#"{"registry":"ghcr.io","repository":"acme/app","digest":"sha256:00","mediaType":"application/vnd.oci.image.index.v1+json","tag":"v1"}"#;
        assert_eq!(serde_json::to_string(&question).unwrap(), expected);
        let without = VerdictQuestion { tag: None, ..question };
        assert_eq!(serde_json::to_string(&without).unwrap(), expected.replace(r#","tag":"v1""#, ""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_permission(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let verdict = service(VerdictDefault::Deny).verdict_of(StatusCode::OK, &bytes);
            let is_an_answer = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|json| json["allow"] == true);
            prop_assert_eq!(verdict.is_allowed(), is_an_answer);
        }
    }
}
