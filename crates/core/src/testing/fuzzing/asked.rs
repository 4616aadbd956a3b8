//! What clients, upstreams and operators write.

use std::sync::LazyLock;

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use crate::config::{Config, Sources};
use crate::digest::Digest;
use crate::name::{Reference, RepositoryName, Tag};
use crate::range::{ContentRange, RangeRequest, RangeSpec};
use crate::route::{Endpoint, RequestTarget, Route, Routes};
use crate::testing::stored_nowhere;
use crate::upstream::UpstreamChallenge;

/// Lines of `text`, as many as are asked for; missing ones are empty.
fn lines<const N: usize>(text: &str) -> [&str; N] {
    let mut lines = text.split('\n');
    [(); N].map(|()| lines.next().unwrap_or_default())
}

static ROUTES: LazyLock<[Routes; 3]> = LazyLock::new(|| {
    let hub = "[[upstream]]\nname='docker.io'\ndefault=true\nhosts=['hub.example']\n";
    let secret = "[clients]\npath_secret_file='long-enough-for-anybody'\n";
    let routes = |text: &str, variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let read = |path: &str| Ok(path.to_owned());
        Routes::new(&Config::load(&Sources { text: Some(text), variables, read: &read }).expect("a configuration"))
    };
    [
        routes(&format!("catalogue=true\n{hub}"), &[]),
        routes(&format!("catalogue=true\n{secret}{hub}"), &[]),
        routes("", &[("REGISTRY_BACKEND", "https://far.example")]),
    ]
});

/// Three lines: host, path, query.
pub(super) fn route(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let [host, path, query] = lines(text);
    for routes in &*ROUTES {
        let query = (!query.is_empty()).then_some(query);
        let Ok(Route::Repository(target)) = routes.route(RequestTarget { host, path, query }) else { continue };
        assert_eq!(RepositoryName::parse(target.name.as_str()).as_ref(), Ok(&target.name), "a legal name");
        assert!(path.starts_with(&target.client_path), "the client's own path");
        assert!(target.client_path.ends_with(&target.client_name), "which ends with the client's own name");
        match &target.endpoint {
            Endpoint::Manifest(reference) => {
                assert_eq!(Reference::parse(reference.as_str()).as_ref(), Ok(reference));
            }
            Endpoint::Blob(digest) | Endpoint::Referrers(digest) => {
                assert_eq!(Digest::parse(digest.as_str()).as_ref(), Ok(digest));
            }
            Endpoint::Uploads | Endpoint::Upload | Endpoint::Tags => {}
        }
        if query.is_none() {
            // A token for the client's own name is one for this repository.
            let scope = routes.identify_scope(&target.entry, &target.client_name);
            assert_eq!(
                scope,
                Some((target.upstream, target.name.clone())),
                "the scope leads to the same repository"
            );
        }
    }
}

/// A repository's name, a tag, a reference.
pub(super) fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = RepositoryName::parse(text) {
        assert_eq!(name.as_str(), text, "nothing is folded or decoded");
        assert!(text.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '_', '-'])));
        if let Ok(name) = name.with_library() {
            assert!(name.as_str().contains('/') && RepositoryName::parse(name.as_str()).is_ok());
        }
    }
    if let Some(tag) = Tag::parse(text) {
        assert_eq!(tag.as_str(), text);
        assert!(Digest::parse(text).is_err(), "no tag is a digest");
    }
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(reference.as_str()), Ok(reference.clone()));
        assert!(!(reference.is_attachment() && matches!(reference, Reference::Digest(_))));
    }
}

/// A digest.
pub(super) fn digest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(digest) = Digest::parse(text) else { return };
    assert_eq!(Digest::parse(digest.as_str()).as_ref(), Ok(&digest), "what prints reads back");
    assert_eq!(format!("{}:{}", digest.algorithm(), digest.encoded()), digest.as_str());
    assert!(text.contains('%') || text == digest.as_str(), "one spelling, but for the colon's");
    assert!(!digest.as_str().contains(['/', '\\', '%', ' ']), "it can be a part of a path");
    assert_eq!(digest.matches(b"").is_some(), digest.is_computable());
}

/// Eight bytes of a length, then two lines: `Range`, `Content-Range`.
pub(super) fn range(bytes: &[u8]) {
    let Some((total, text)) = bytes.split_first_chunk::<8>() else { return };
    let total = u64::from_le_bytes(*total);
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| HeaderValue::from_bytes(line).ok());
    let (asked, sent) = (lines.next().flatten(), lines.next().flatten());
    if let RangeRequest::One(spec) = RangeRequest::parse(asked.as_ref()) {
        assert_eq!(
            RangeRequest::parse(Some(&spec.to_header())),
            RangeRequest::One(spec),
            "what prints reads back"
        );
        if let Some(range) = spec.within(total) {
            assert!(range.first < range.end && range.end <= total && range.total == total, "it stays within");
            assert!(range.length() <= total);
            let (first, end) = (range.first, range.end);
            let printed = ContentRange::parse(Some(&range.to_content_range()));
            assert_eq!(printed, Some(ContentRange::Bytes { first, end, total: Some(total) }));
            let exact = RangeSpec::Between(first, end - 1).within(total);
            assert_eq!(exact, Some(range), "asked for exactly, it is the same");
        }
    }
    match ContentRange::parse(sent.as_ref()) {
        Some(ContentRange::Bytes { first, end, total }) => {
            assert!(first < end && total.is_none_or(|total| end <= total), "it stays within");
        }
        Some(ContentRange::Unsatisfied { .. }) | None => {}
    }
    let has_sign = |header: &HeaderValue| header.as_bytes().contains(&b'+');
    assert!(!sent.as_ref().is_some_and(|sent| has_sign(sent) && ContentRange::parse(Some(sent)).is_some()));
}

/// One `WWW-Authenticate` a line.
pub(super) fn challenge(bytes: &[u8]) {
    let base = Url::parse("https://reg.example/v2/").expect("an address");
    let headers = |lines: &mut dyn Iterator<Item = &[u8]>| -> HeaderMap {
        lines.filter_map(|line| Some((WWW_AUTHENTICATE, HeaderValue::from_bytes(line).ok()?))).collect()
    };
    let headers = headers(&mut bytes.split(|byte| *byte == b'\n'));
    let Some(UpstreamChallenge::Bearer { realm, service }) = UpstreamChallenge::choose(&headers, &base) else {
        return;
    };
    assert!(service.as_deref() != Some(""), "no service rather than an empty one");
    // Printed as it should have been, it is the same.
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let named = service.as_deref().map(|service| format!(",service=\"{}\"", quoted(service))).unwrap_or_default();
    let printed = format!("Bearer realm=\"{}\"{named}", quoted(realm.as_str()));
    let printed = HeaderValue::from_str(&printed).expect("a header");
    let again = UpstreamChallenge::choose(&HeaderMap::from_iter([(WWW_AUTHENTICATE, printed)]), &base);
    assert_eq!(again, Some(UpstreamChallenge::Bearer { realm, service }));
}

/// A file, and behind a line of `#env` a variable a line.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, variables) = text.split_once("#env\n").unwrap_or((text, ""));
    let variables: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let load = |text: &str, variables: &[(String, String)]| {
        Config::load(&Sources { text: Some(text), variables: variables.to_vec(), read: &stored_nowhere })
    };
    match load(text, &variables) {
        Err(error) => assert!(!error.place.is_empty() && !error.what.is_empty(), "{error:?}"),
        Ok(config) => {
            let _ = (config.warnings(), Routes::new(&config));
            let printed = toml::to_string(&config).expect("it can be printed");
            assert_eq!(toml::to_string(&load(text, &variables).expect("as before")), Ok(printed));
        }
    }
}
