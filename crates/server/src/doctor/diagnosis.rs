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

/// What the difference to a registry's clock means; `ahead`: we are.
pub(crate) fn of_clock(difference: Duration, ahead: bool, told_by: &str) -> Finding {
    let direction = if ahead { "ahead of" } else { "behind" };
    let what = format!("{} s {direction} that of {told_by}", difference.as_secs());
    let cure = "set the clock: timedatectl set-ntp true; signed links and tokens are refused with a wrong one";
    match difference {
        _ if difference <= SLIGHT => Finding::ok("clock", format!("as that of {told_by}")),
        _ if difference <= GRAVE => Finding::warning("clock", what, cure),
        _ => Finding::error("clock", what, cure),
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
