//! The types of manifests that a registry is asked for: the four of today's images, so that one tag has the same answer for
//! all clients, followed by the types that only this client names (P-81).

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::media;

/// Most types of a client's own that are sent.
const MAX_TYPES: usize = 16;
/// The longest type that is sent, with its parameters: a restricted name of RFC 6838 section 4.2 has 127 letters.
const MAX_TYPE_BYTES: usize = 160;

/// The four types, the client's other types, and its wildcard if it has one.
pub(crate) fn accept_with(client: &HeaderMap) -> HeaderValue {
    let own = own_types(client);
    let wildcards = ["application/*", "*/*"].into_iter().filter(|wildcard| accepts(client, wildcard));
    let mut more = own.into_iter().chain(wildcards).peekable();
    if more.peek().is_none() {
        return HeaderValue::from_static(media::ACCEPT_EVERY_MANIFEST);
    }
    let mut list = media::ACCEPT_EVERY_MANIFEST.to_owned();
    for entry in more {
        list.push_str(", ");
        list.push_str(entry);
        if entry.ends_with('*') {
            list.push_str(";q=0.1");
        }
    }
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(media::ACCEPT_EVERY_MANIFEST))
}

/// The client's other types, with their parameters. Clients with other types do not share the answers of a registry.
pub(crate) fn own_types(client: &HeaderMap) -> Vec<&str> {
    let mut own: Vec<&str> = Vec::new();
    for entry in entries(client) {
        let essence_of_it = essence(entry);
        // Of most clients this is true of all types but a wildcard.
        if media::is_asked_of_everybody(essence_of_it) {
            continue;
        }
        let is_known = |named: &&str| essence(named).eq_ignore_ascii_case(essence_of_it);
        let is_legal = entry.len() <= MAX_TYPE_BYTES && is_of_documents(essence_of_it);
        if is_legal && own.len() < MAX_TYPES && !own.iter().any(is_known) {
            own.push(entry);
        }
    }
    own
}

/// The client's own list in one line, if it names manifest types and not this one.
pub(crate) fn narrow_accept(client: &HeaderMap, found: &str) -> Option<HeaderValue> {
    let lines = || client.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let covers =
        |named: &str| ["*/*", "application/*", found].iter().any(|known| named.eq_ignore_ascii_case(known));
    // Of most clients the first type covers it: the rest is not looked at.
    if entries(client).any(|entry| covers(essence(entry))) {
        return None;
    }
    let own: Vec<&str> = lines().collect();
    if own.is_empty() { None } else { HeaderValue::try_from(own.join(", ")).ok() }
}

/// Whether any `Accept` line names exactly this (P-83).
fn accepts(client: &HeaderMap, media_type: &str) -> bool {
    entries(client).any(|entry| essence(entry).eq_ignore_ascii_case(media_type))
}

/// The entries of all `Accept` lines, with their parameters (P-83).
fn entries(client: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = client.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn essence(entry: &str) -> &str {
    entry.split(';').next().unwrap_or_default().trim()
}

/// Whether this is a single type below `application/`. Pages and images, which a browser lists too, are no manifests.
fn is_of_documents(media_type: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let subtype = media_type.split_once('/').filter(|(top, _)| top.eq_ignore_ascii_case("application"));
    subtype.is_some_and(|(_, subtype)| !subtype.is_empty() && subtype.bytes().all(is_of_name))
}
