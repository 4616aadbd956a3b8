//! Checks request heads: rules of RFC 9112 that hyper does not enforce, and limits on what ends up in the log.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use registry_proxy_core::Body;

use crate::text_response::text;

/// Longest method; the longest registered at IANA has 17 bytes.
const METHOD_BYTES: usize = 32;

/// Why a request is refused by its head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Line and header fields are longer than `limits.request_head`.
    TooLarge,
    /// Host is missing, repeated or invalid (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
    Host,
    /// `chunked` more than once: parsers disagree where such a request ends (RFC 9112 section 7).
    TransferEncodings,
    /// Another coding than `chunked` (RFC 9112 section 6.1).
    TransferEncoding,
    /// The method is longer than any known one.
    Method,
}

/// What is wrong with the head, if anything is.
pub(super) fn check<B>(request: &Request<B>, head_bytes: usize) -> Option<HeadError> {
    let (method, headers) = (request.method().as_str(), request.headers());
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if fields + target + method.len() > head_bytes {
        return Some(HeadError::TooLarge);
    }
    if method.len() > METHOD_BYTES {
        return Some(HeadError::Method);
    }
    if !is_host_right(request) {
        return Some(HeadError::Host);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(_), Some(_)) => Some(HeadError::TransferEncodings),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        (Some(list), None) => {
            Some(if counts_chunked(list) > 1 { HeadError::TransferEncodings } else { HeadError::TransferEncoding })
        }
    }
}

fn counts_chunked(list: &HeaderValue) -> usize {
    let codings = list.as_bytes().split(|byte| *byte == b',');
    codings.filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked")).count()
}

fn is_host_right<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        // HTTP/1.0 does not require one, and HTTP/2 has `:authority`.
        return request.version() != Version::HTTP_11;
    };
    if hosts.next().is_some() || (!host.is_empty() && !is_authority(host)) {
        return false;
    }
    match request.uri().authority() {
        Some(authority) if request.version() == Version::HTTP_2 => {
            host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        _ => true,
    }
}

/// Whether this is a host with an optional port, and without a user name.
fn is_authority(host: &HeaderValue) -> bool {
    Authority::try_from(host.as_bytes()).is_ok() && !host.as_bytes().contains(&b'@')
}

impl HeadError {
    /// The response. The connection closes after it, since the following bytes may not be a request.
    pub(super) fn to_response(self) -> Response<Body> {
        let (status, line) = match self {
            Self::TooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large\n"),
            Self::Host => (StatusCode::BAD_REQUEST, "a request needs one Host header that names a host\n"),
            Self::TransferEncodings => (StatusCode::BAD_REQUEST, "more than one Transfer-Encoding\n"),
            Self::TransferEncoding => {
                (StatusCode::NOT_IMPLEMENTED, "chunked is the only Transfer-Encoding known here\n")
            }
            Self::Method => (StatusCode::NOT_IMPLEMENTED, "unknown method\n"),
        };
        let mut response = text(status, line);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(version: Version, target: &str, fields: &[(&str, &str)]) -> Option<HeadError> {
        let mut request = Request::get(target).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), 8192)
    }

    #[test]
    fn http_1_1_wants_one_host_and_nobody_may_send_two() {
        let (old, new, two) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        let once = [("host", "p.test:5000")];
        let twice = [("host", "p.test"), ("host", "p.test")];
        for (version, fields, expected) in [
            (new, &once[..], None),
            (new, &[][..], Some(HeadError::Host)),
            (new, &twice[..], Some(HeadError::Host)),
            (old, &[][..], None),
            (old, &once[..], None),
            (old, &twice[..], Some(HeadError::Host)),
            (two, &[][..], None),
            (two, &twice[..], Some(HeadError::Host)),
        ] {
            assert_eq!(fault(version, "/v2/", fields), expected, "{version:?} {fields:?}");
        }
    }

    #[test]
    fn a_host_names_one_host() {
        for right in ["p.test", "p.test:5000", "10.0.0.1", "[::1]:3000", ""] {
            assert_eq!(fault(Version::HTTP_11, "/v2/", &[("host", right)]), None, "{right}");
        }
        for wrong in ["a.test, b.test", "a.test/b", "user@a.test", "a test", "a.test:port:1"] {
            assert_eq!(fault(Version::HTTP_11, "/v2/", &[("host", wrong)]), Some(HeadError::Host), "{wrong}");
        }
    }

    #[test]
    fn in_http_2_host_and_authority_are_the_same() {
        let at = |host| fault(Version::HTTP_2, "http://p.test/v2/", &[("host", host)]);
        assert_eq!((at("P.test"), at("other.test")), (None, Some(HeadError::Host)));
    }

    #[test]
    fn bodies_are_chunked_once_or_not_at_all() {
        let te = |values: &[&str]| {
            let fields = values.iter().map(|value| ("transfer-encoding", *value));
            let fields: Vec<_> = std::iter::once(("host", "p.test")).chain(fields).collect();
            fault(Version::HTTP_11, "/v2/", &fields)
        };
        assert_eq!(te(&["chunked"]), None);
        assert_eq!(te(&["Chunked"]), None);
        assert_eq!(te(&["chunked", "chunked"]), Some(HeadError::TransferEncodings));
        assert_eq!(te(&["chunked, chunked"]), Some(HeadError::TransferEncodings));
        assert_eq!(te(&["gzip", "chunked"]), Some(HeadError::TransferEncodings));
        assert_eq!(te(&["gzip, chunked"]), Some(HeadError::TransferEncoding));
    }

    #[test]
    fn a_method_has_a_bound_and_so_has_the_head() {
        let of = |method: &str| {
            let request = Request::builder().method(method).uri("/").header("host", "p").body(()).unwrap();
            check(&request, 8192)
        };
        assert_eq!(of("UPDATEREDIRECTREF"), None);
        assert_eq!(of(&"M".repeat(33)), Some(HeadError::Method));
        assert_eq!(of(&"M".repeat(9000)), Some(HeadError::TooLarge));
        let long = [("host", "p"), ("x", &*"y".repeat(8192))];
        assert_eq!(fault(Version::HTTP_11, "/", &long), Some(HeadError::TooLarge));
    }
}
