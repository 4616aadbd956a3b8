//! Why an address was not reached, and what to do about it. Decided here, from what others saw.

use std::error::Error;
use std::io;
use std::time::Duration;

use registry_proxy_core::platform::{TransportError, Unconnected};
use rustls::CertificateError;

use super::finding::Finding;
use crate::transport::causes;

/// Differences that tokens and certificates survive.
const SLIGHT: Duration = Duration::from_mins(1);
/// Beyond it, signed links of storage and short tokens are refused.
const GRAVE: Duration = Duration::from_mins(5);

/// What stood in the way of a connection or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    NotResolved,
    Refused,
    TimedOut,
    /// What answers does not speak TLS.
    NotTls,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateUnknown,
    CertificateOfAnother,
    /// Another fault of the certificate.
    Certificate,
    /// The proxy on the way out.
    Egress,
    /// A private address that nothing allows.
    Private,
    /// Connected, and then no answer.
    Broken,
    /// Anything else.
    Unknown,
}

impl Obstacle {
    /// Of a request.
    pub(crate) fn of_request(error: &TransportError) -> Self {
        match error {
            TransportError::Connect { why, source } => match why {
                Unconnected::NotResolved => Self::NotResolved,
                Unconnected::Refused => Self::Refused,
                Unconnected::TimedOut => Self::TimedOut,
                Unconnected::Proxy => Self::Egress,
                Unconnected::Certificate | Unconnected::Unknown => Self::of_tls(&**source),
            },
            TransportError::AddressRefused { .. } => Self::Private,
            TransportError::Busy => Self::TimedOut,
            TransportError::Broken(_) => Self::Broken,
        }
    }

    /// Of a TCP connection.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Unknown,
        }
    }

    /// Of a TLS handshake.
    pub(crate) fn of_tls(error: &(dyn Error + 'static)) -> Self {
        match causes(error).find_map(|cause| cause.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(what)) => Self::of_certificate(what),
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(_) => Self::Unknown,
            None => Self::Broken,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::CertificateExpired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::CertificateNotYetValid
            }
            CertificateError::UnknownIssuer => Self::CertificateUnknown,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::CertificateOfAnother
            }
            _ => Self::Certificate,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotResolved => "its name is not resolved",
            Self::Refused => "the connection is refused",
            Self::TimedOut => "no answer in time",
            Self::NotTls => "what answers there does not speak TLS",
            Self::CertificateExpired => "its certificate has expired",
            Self::CertificateNotYetValid => "its certificate is not valid yet",
            Self::CertificateUnknown => "its certificate is of an authority that is not trusted here",
            Self::CertificateOfAnother => "its certificate is for another name",
            Self::Certificate => "its certificate is not accepted",
            Self::Egress => "the proxy on the way out gives no connection",
            Self::Private => "its name leads to a private address, which is not allowed",
            Self::Broken => "the connection broke before an answer",
            Self::Unknown => "no connection",
        }
    }

    fn cure(self, is_upstream: bool) -> &'static str {
        match self {
            Self::NotResolved => "check the name, and the name servers in /etc/resolv.conf",
            Self::Refused => {
                "check the port in the address; if it is right, the server is down or a firewall refuses"
            }
            Self::TimedOut => {
                "a firewall may drop it: allow the address, or go out by a proxy (upstream.proxy or HTTPS_PROXY)"
            }
            Self::NotTls => "check scheme and port: for plain http write http:// and insecure = true",
            Self::CertificateExpired => {
                "check the clock of this machine; if it is right, the server's certificate must be renewed there"
            }
            Self::CertificateNotYetValid => "set the clock of this machine: timedatectl set-ntp true",
            Self::CertificateUnknown if is_upstream => {
                "name the authority's certificate in upstream.ca_file; if you have none, something on the way intercepts TLS"
            }
            Self::CertificateUnknown => {
                "add the authority to the system's certificates, or to ca_file of the upstream"
            }
            Self::CertificateOfAnother => "use the name that the certificate is for",
            Self::Certificate => "look at it: openssl s_client -connect HOST:PORT -showcerts",
            Self::Egress => {
                "check upstream.proxy, HTTPS_PROXY and NO_PROXY, and whether that proxy allows this host"
            }
            Self::Private => "if that is meant, name the host in upstream.redirect_hosts",
            Self::Broken => "something on the way may cut it off: try curl -v from this machine",
            Self::Unknown => "try curl -v from this machine",
        }
    }

    /// The finding that an address is not reached.
    pub(crate) fn finding(self, subject: &str, what: &str, is_upstream: bool) -> Finding {
        Finding::error(subject, format!("{what}: {}", self.words()), self.cure(is_upstream))
    }
}

/// What `/v2/` answered.
pub(crate) fn of_ping(subject: &str, status: u16, has_challenge: bool) -> Option<Finding> {
    let what = |text: &str| format!("/v2/ answers {status}: {text}");
    match status {
        200 => None,
        401 if has_challenge => None,
        401 => Some(Finding::error(
            subject,
            what("it wants a login and does not say which"),
            "check that the address is that of a registry, and not of a page in front of it",
        )),
        403 => Some(Finding::error(
            subject,
            what("this machine may not use it"),
            "check whether the registry restricts addresses or countries; go out by a proxy (upstream.proxy)",
        )),
        429 => Some(Finding::warning(
            subject,
            what("its rate limit is reached"),
            "wait, or set username and password_file of an account",
        )),
        300..=499 => Some(Finding::error(
            subject,
            what("this is no registry"),
            "check the address: scheme, host, port, and no path unless the registry has one",
        )),
        _ => Some(Finding::error(
            subject,
            what("the registry has trouble"),
            "try again later; look at the status page of the registry",
        )),
    }
}

/// What the difference to another's clock means; `ahead`: we are.
pub(crate) fn of_clock(subject: &str, difference: Duration, ahead: bool, told_by: &str) -> Finding {
    let direction = if ahead { "ahead of" } else { "behind" };
    let what = format!("the clock of this machine is {} s {direction} that of {told_by}", difference.as_secs());
    let cure = "set the clock: timedatectl set-ntp true; signed links and tokens are refused with a wrong one";
    match difference {
        _ if difference <= SLIGHT => {
            Finding::ok(subject, format!("the clock of this machine is as that of {told_by}"))
        }
        _ if difference <= GRAVE => Finding::warning(subject, what, cure),
        _ => Finding::error(subject, what, cure),
    }
}

/// How long a certificate still lasts.
pub(crate) fn of_end(subject: &str, whose: &str, left_days: i64) -> Option<Finding> {
    let cure = "renew it; the proxy reads changed files by itself";
    match left_days {
        ..0 => Some(Finding::error(subject, format!("{whose} expired {} days ago", -left_days), cure)),
        0..=14 => Some(Finding::warning(subject, format!("{whose} expires in {left_days} days"), cure)),
        _ => None,
    }
}

/// Who answers at an address, compared with the server at the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The same process.
    Same,
    /// A registry-proxy, of which it cannot be said: the server here does not run, or a reverse proxy names its requests.
    Unknown,
    /// A registry-proxy, in another process.
    Another,
    /// No registry-proxy.
    Stranger,
    /// Nothing.
    Silent,
}

impl Identity {
    /// From the answers to `/v2/`, head and all. A request's id begins with a number that its process has drawn.
    pub(crate) fn of(there: &str, here: Option<&str>) -> Self {
        if there.is_empty() {
            return Self::Silent;
        }
        if header(there, "x-registry-proxy").is_none() {
            return Self::Stranger;
        }
        match (process(there), here.and_then(process)) {
            (Some(there), Some(here)) if there == here => Self::Same,
            (Some(_), Some(_)) => Self::Another,
            _ => Self::Unknown,
        }
    }
}

/// The process in the id of an answer, if it was the process that named it.
fn process(answer: &str) -> Option<&str> {
    let (process, count) = header(answer, "x-request-id")?.split_once('-')?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (process.len() == 16 && is_hex(process) && !count.is_empty() && is_hex(count)).then_some(process)
}

/// A header of an answer, which is its text, head and all.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let lines = answer.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(':'))
        .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// What it means who answers at the address that clients are told.
pub(crate) fn of_identity(subject: &str, address: &str, identity: Identity) -> Finding {
    match identity {
        Identity::Same => Finding::ok(subject, format!("{address}, and it is this server that answers")),
        Identity::Unknown => Finding::ok(subject, format!("{address}, and a registry-proxy answers")),
        Identity::Another => Finding::warning(
            subject,
            format!("{address}, but another registry-proxy answers than the one that runs here"),
            "right if several instances share this address; otherwise check the name and the reverse proxy",
        ),
        Identity::Stranger => Finding::error(
            subject,
            format!("{address}, but what answers there is no registry-proxy"),
            "check the name, and that the reverse proxy in front passes /v2/ on to this server",
        ),
        Identity::Silent => Finding::error(
            subject,
            format!("{address}, but /v2/ is not answered"),
            "check that the reverse proxy in front passes /v2/ on to this server",
        ),
    }
}

/// What a bucket says, and what to do about that.
pub(crate) fn of_bucket(what: &str) -> Finding {
    let says = |words: &[&str]| words.iter().any(|word| what.contains(word));
    let next = if says(&["RequestTimeTooSkewed", "RequestTimeSkewed", "RequestExpired"]) {
        "set the clock of this machine: timedatectl set-ntp true"
    } else if says(&["NoSuchBucket"]) {
        "check the bucket's name and region in cache.store, or create it"
    } else if says(&["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "permission"]) {
        "check the keys, and that their policy allows to read, write, list and delete: docs/how-to/object-stores.md"
    } else if says(&["credential"]) {
        "give it keys (AWS_ACCESS_KEY_ID and the like), or a role: docs/how-to/object-stores.md"
    } else {
        "check the bucket's name, region and permissions: docs/how-to/object-stores.md"
    };
    Finding::error("cache.store", what, next)
}

/// What a registry has left to an account.
pub(crate) fn of_budget(upstream: &str, credential: &str, remaining: u64) -> Finding {
    /// The proxy saves its last pulls for what is not cached, and somebody should know before.
    const FEW: u64 = 20;
    let subject = format!("upstream {upstream}");
    let what = format!("{remaining} pulls left ({credential})");
    if remaining >= FEW {
        return Finding::ok(subject, what);
    }
    Finding::warning(
        subject,
        what,
        "set username and password_file of an account with a higher limit: docs/how-to/docker-hub-limits.md",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn answer(headers: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nx-request-id: 0000000000000000-0\n")
    }

    #[test]
    fn a_server_is_known_by_the_ids_of_its_requests() {
        let ours = "x-registry-proxy: answered\r\nX-Request-Id: ";
        let here = answer(&format!("{ours}5f0c1e2d3b4a5968-1f"));
        for (there, expected) in [
            (answer(&format!("{ours}5f0c1e2d3b4a5968-20")), Identity::Same),
            (answer(&format!("{ours}0f0c1e2d3b4a5968-20")), Identity::Another),
            // Named by a reverse proxy.
            (answer(&format!("{ours}from-the-edge")), Identity::Unknown),
            (answer("x-registry-proxy: answered"), Identity::Unknown),
            (answer("server: nginx"), Identity::Stranger),
            (String::new(), Identity::Silent),
        ] {
            assert_eq!(Identity::of(&there, Some(&here)), expected, "{there}");
        }
        assert_eq!(Identity::of(&here, None), Identity::Unknown);
    }

    #[test]
    fn only_what_clients_cannot_use_is_an_error_of_the_public_address() {
        for (identity, severity) in [
            (Identity::Same, Severity::Ok),
            (Identity::Unknown, Severity::Ok),
            (Identity::Another, Severity::Warning),
            (Identity::Stranger, Severity::Error),
            (Identity::Silent, Severity::Error),
        ] {
            assert_eq!(of_identity("public_url", "https://p.test", identity).severity, severity, "{identity:?}");
        }
    }

    #[test]
    fn what_a_bucket_says_leads_to_its_own_cure() {
        for (what, cure) in [
            ("cache failed: RequestTimeTooSkewed: the difference is too large", "timedatectl"),
            ("cache not readable: AccessDenied", "their policy allows"),
            ("cache failed: NoSuchBucket", "create it"),
            ("no credentials: none found", "AWS_ACCESS_KEY_ID"),
            ("cache timed out", "name, region and permissions"),
        ] {
            assert!(of_bucket(what).next.is_some_and(|next| next.contains(cure)), "{what}");
        }
    }

    #[test]
    fn few_pulls_left_are_a_warning() {
        assert_eq!(of_budget("docker.io", "anonymous", 20).severity, Severity::Ok);
        let few = of_budget("docker.io", "anonymous", 19);
        assert!(few.severity == Severity::Warning && few.what == "19 pulls left (anonymous)", "{few:?}");
    }
}
