//! Names of headers, `Via`, what limits caches, and copying by an allow-list. Each handler has its own list.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, VARY, VIA,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response};

use crate::body::Body;
use crate::digest::Digest;
use crate::media;

/// `Docker-Content-Digest`
pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Distribution-API-Version`, on every answer below `/v2/` (P-16).
pub const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// `Docker-Upload-UUID`
pub const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// `OCI-Namespace`, where `ns` chose the upstream (P-08).
pub const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// `OCI-Filters-Applied` (P-141).
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// `OCI-Subject`: without it clients write fallback tags (P-135).
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// `OCI-Tag`: one line for each tag that a push by digest has set.
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// `OCI-Chunk-Min-Length`
pub const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// What was done with a request, and why.
pub const X_REGISTRY_PROXY: HeaderName = HeaderName::from_static("x-registry-proxy");

/// The request's name, which the log has, too.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that a request to an upstream usually has: room for them is made at once.
pub(crate) const MOST_SENT: usize = 6;

/// Headers of an upstream's rate limit. On a shared proxy they would describe somebody else's budget (P-121).
pub const RATE_LIMITS: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("docker-ratelimit-source"),
];

/// How `Via` names the deployment with this mark.
pub(crate) fn via_name(mark: &str) -> HeaderValue {
    HeaderValue::try_from(format!("1.1 registry-proxy-{mark}"))
        .unwrap_or(HeaderValue::from_static("1.1 registry-proxy"))
}

/// `Via` with our name at its end, by which a loop is detected (P-127).
fn via(incoming: &HeaderMap, name: &HeaderValue) -> HeaderValue {
    if !incoming.contains_key(VIA) {
        return name.clone();
    }
    let name = name.to_str().unwrap_or_default();
    let before = incoming.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = before.chain([name]).collect();
    // A chain that is too long for a header is a loop of other proxies; only our name is kept.
    let text = all.join(", ");
    let text = if text.len() > 1024 { name } else { &text };
    HeaderValue::from_str(&format!("{}{name}", text.strip_suffix(name).unwrap_or_default()))
        .unwrap_or_else(|_| HeaderValue::from_static("1.1 registry-proxy"))
}

/// The headers of every request to an upstream that is made for this one: `Via`.
pub(crate) fn of_upstream_request(incoming: &HeaderMap, name: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(MOST_SENT);
    headers.insert(VIA, via(incoming, name));
    headers
}

/// Whether a request has passed through this deployment before.
pub(crate) fn has_passed(incoming: &HeaderMap, name: &HeaderValue) -> bool {
    let mut all = incoming.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
    all.any(|value| value.split(',').any(|part| part.trim() == name))
}

/// Copies the named headers, of each its first line: for fields that have one value. Two would contradict each other
/// (RFC 9110 section 5.3).
pub fn copy(from: &HeaderMap, into: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        into.extend(from.get(name).map(|value| (name.clone(), value.clone())));
    }
}

/// Copies every line of the named headers: for fields that are lists.
pub fn copy_lists(from: &HeaderMap, into: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        into.extend(from.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
}

/// The values of the headers that name content by its digest. Content in memory has them ready: its requests are many.
#[derive(Debug)]
pub(crate) struct DigestHeaders {
    digest: HeaderValue,
    etag: HeaderValue,
}

impl DigestHeaders {
    /// Of this digest.
    pub(crate) fn of(digest: &Digest) -> Self {
        let quoted = Bytes::from(["\"", digest.as_str(), "\""].concat());
        let bare = quoted.slice(1..=digest.as_str().len());
        // A digest has none of the bytes that a header cannot have.
        let value = |text| HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""));
        Self { digest: value(bare), etag: value(quoted) }
    }
}

/// Fields of an answer with content, and some more. A map with room for them is not moved while it is filled.
const CONTENT_FIELDS: usize = 12;

/// An answer with room for the headers of content.
pub(crate) fn content_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = HeaderMap::with_capacity(CONTENT_FIELDS);
    response
}

/// Adds what content with a digest carries (P-78, P-95): a strong validator, and how long caches may keep it. That is for ever
/// where everybody may see the content, and not at all elsewhere (P-94).
pub(crate) fn describe_content(headers: &mut HeaderMap, named: &DigestHeaders, is_open: bool, is_immutable: bool) {
    headers.insert(DOCKER_CONTENT_DIGEST, named.digest.clone());
    headers.insert(ETAG, named.etag.clone());
    headers.insert(VARY, HeaderValue::from_static("Accept, Authorization"));
    // A browser must not run a blob as a page of ours, whatever its publisher made it look like.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(if is_open && is_immutable {
            "max-age=31536000, immutable, no-transform"
        } else {
            "private, no-cache, no-transform"
        }),
    );
}

/// Forbids caches on the way to keep an answer that does not say otherwise: they would give one client's answer to the next. Where
/// the answer depends on the login it says so, for caches that keep it all the same (RFC 9111 sections 3.5 and 4.1).
pub fn limit_caches(headers: &mut HeaderMap, login_decides: bool) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if login_decides {
        headers.entry(VARY).or_insert(HeaderValue::from_static("Authorization"));
    }
}

/// Adds what a blob carries besides.
pub fn describe_blob(headers: &mut HeaderMap, length: Option<u64>) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::OCTET_STREAM));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

/// Whether `If-None-Match` names this digest, so that a 304 answers the request.
pub fn is_known_to_client(request: &HeaderMap, digest: &Digest) -> bool {
    let mut tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.any(|tags| {
        tags.split(',').any(|tag| {
            let tag = tag.trim().trim_start_matches("W/");
            tag == "*" || tag.trim_matches('"') == digest.as_str()
        })
    })
}

/// A 304 with the headers of the content, without its length and type.
pub fn not_modified(mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = http::StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().remove(CONTENT_TYPE);
    response.map(|_| Body::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_seen_and_a_chain_is_not_one() {
        let [aa, bb] = ["1.1 registry-proxy-aa", "1.1 registry-proxy-bb"].map(HeaderValue::from_static);
        let mut headers = HeaderMap::new();
        headers.insert(VIA, via(&HeaderMap::new(), &aa));
        assert!(has_passed(&headers, &aa));
        assert!(!has_passed(&headers, &bb));
        let chained = via(&headers, &bb);
        assert_eq!(chained, "1.1 registry-proxy-aa, 1.1 registry-proxy-bb");
        headers.insert(VIA, chained);
        assert!(has_passed(&headers, &aa) && has_passed(&headers, &bb));
    }

    #[test]
    fn a_list_is_copied_with_all_its_lines_and_a_single_value_with_its_first() {
        let mut from = HeaderMap::new();
        for (name, value) in [(OCI_TAG, "v1"), (CONTENT_TYPE, "a/b"), (OCI_TAG, "v2"), (CONTENT_TYPE, "c/d")] {
            from.append(name, HeaderValue::from_static(value));
        }
        let mut into = HeaderMap::new();
        copy_lists(&from, &mut into, &[OCI_TAG, OCI_FILTERS_APPLIED]);
        copy(&from, &mut into, &[CONTENT_TYPE]);
        assert_eq!(into.get_all(OCI_TAG).iter().collect::<Vec<_>>(), ["v1", "v2"]);
        assert_eq!(into.get_all(CONTENT_TYPE).iter().collect::<Vec<_>>(), ["a/b"]);
        assert_eq!(into.len(), 3);
    }

    #[test]
    fn a_via_too_long_is_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(VIA, HeaderValue::from_str(&"x".repeat(5000)).unwrap());
        assert_eq!(via(&headers, &HeaderValue::from_static("1.1 us")), "1.1 us");
    }

    #[test]
    fn validators_are_compared_weakly() {
        let digest = Digest::sha256(b"");
        let known = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(text).unwrap());
            is_known_to_client(&headers, &digest)
        };
        assert!(known(&format!("\"{digest}\"")) && known(&format!("\"x\", W/\"{digest}\"")) && known("*"));
        assert!(!known("\"x\""));
    }
}
