//! When a certificate ends. No parser is needed: verified at the end of time, it says when it expired.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

/// 31 December 9999: RFC 5280 section 4.1.2.5 knows no later end.
const END_OF_TIME: u64 = 253_402_300_799;

/// Seconds since 1970; `None`: it has no end, or cannot be read.
pub(crate) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    // Which authority is trusted does not matter: the time is checked first.
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::tls::provider()).build().ok()?;
    let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(END_OF_TIME));
    let name = ServerName::try_from("localhost").ok()?;
    match verifier.verify_server_cert(certificate, &[], &name, &[], then) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        Ok(_) | Err(_) => None,
    }
}

/// Whole days from now until then; negative: it is over.
pub(crate) fn days_until(end: u64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(end).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(i64::MAX);
    seconds.div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends_whoever_signed_it() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(end(certificate.der()), Some(1_609_459_200));
        assert!(days_until(1_609_459_200) < 0);
        assert_eq!(end(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
