//! What types of manifests a registry is asked for: the four of today's images, so that one tag has one answer whoever
//! asks, and behind them what the client names besides (P-81).

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::media;

/// Most types of a client's own that go along.
const MAX_TYPES: usize = 16;
/// The longest type that goes along, with its parameters: a restricted name of RFC 6838 section 4.2 has 127 letters.
const MAX_TYPE_BYTES: usize = 160;

/// The four types, those that the client names besides, and its wildcard if it has one.
pub(crate) fn accept_with(client: &HeaderMap) -> HeaderValue {
    let mut list = media::ACCEPT_EVERY_MANIFEST.to_owned();
    let own = own_types(client);
    let wildcards = ["application/*", "*/*"].into_iter().filter(|wildcard| accepts(client, wildcard));
    for entry in own.into_iter().chain(wildcards) {
        list.push_str(", ");
        list.push_str(entry);
        if entry.ends_with('*') {
            list.push_str(";q=0.1");
        }
    }
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(media::ACCEPT_EVERY_MANIFEST))
}

/// What the client names besides the four, with its parameters. What a registry says to others is no answer to this client.
pub(crate) fn own_types(client: &HeaderMap) -> Vec<&str> {
    let mut own: Vec<&str> = Vec::new();
    for entry in entries(client).filter(|entry| entry.len() <= MAX_TYPE_BYTES && is_of_documents(essence(entry))) {
        let is_named = |named: &&str| essence(named).eq_ignore_ascii_case(essence(entry));
        if own.len() < MAX_TYPES && !media::is_asked_of_everybody(essence(entry)) && !own.iter().any(is_named) {
            own.push(entry);
        }
    }
    own
}

/// The client's own list, merged into one line, where it names manifest types and this is none of them.
pub(crate) fn narrow_accept(client: &HeaderMap, found: &str) -> Option<HeaderValue> {
    let lines: Vec<&str> = client.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let excludes = !lines.is_empty()
        && !accepts(client, "*/*")
        && !accepts(client, "application/*")
        && !accepts(client, found);
    excludes.then(|| HeaderValue::try_from(lines.join(", ")).ok()).flatten()
}

/// Whether any `Accept` line names exactly this (P-83).
fn accepts(client: &HeaderMap, media_type: &str) -> bool {
    entries(client).any(|entry| essence(entry).eq_ignore_ascii_case(media_type))
}

/// What the client lists, with parameters, in all of its lines (P-83).
fn entries(client: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = client.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn essence(entry: &str) -> &str {
    entry.split(';').next().unwrap_or_default().trim()
}

/// Whether this names one type of documents. Pages and images, which a browser lists too, are no manifests.
fn is_of_documents(media_type: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let subtype = media_type.split_once('/').filter(|(top, _)| top.eq_ignore_ascii_case("application"));
    subtype.is_some_and(|(_, subtype)| !subtype.is_empty() && subtype.bytes().all(is_of_name))
}
