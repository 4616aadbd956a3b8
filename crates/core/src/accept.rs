//! The types of manifests that a registry is asked for: the four of today's images, so that one tag has the same answer for
//! all clients, followed by the types that only this client names (P-81).

use std::sync::OnceLock;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::media;

/// Most types of a client's own that are sent.
const MAX_TYPES: usize = 16;
/// The longest type that is sent, with its parameters: a restricted name of RFC 6838 section 4.2 has 127 letters.
const MAX_TYPE_BYTES: usize = 160;

/// Most lists that are remembered: clients of one kind send the same one with each request.
const MAX_LISTS: usize = 8;
/// The longest list that is remembered, in bytes.
const MAX_LIST_BYTES: usize = 1024;

/// What follows from the lists that clients send. The first few are remembered for good: to read one takes longer than to route
/// its request. Any other is read each time.
#[derive(Default)]
pub(crate) struct AcceptLists([OnceLock<AcceptList>; MAX_LISTS]);

struct AcceptList {
    /// The client's lines.
    lines: Vec<HeaderValue>,
    sent: HeaderValue,
    /// The types in them, without parameters.
    named: Vec<Box<str>>,
}

impl AcceptLists {
    /// The four types, the client's other types, and its wildcard if it has one.
    pub(crate) fn accept_with(&self, client: &HeaderMap) -> HeaderValue {
        self.known(client).map_or_else(|| accept_with(client), |list| list.sent.clone())
    }

    /// The client's own list in one line, if it names manifest types and not this one.
    pub(crate) fn narrow_accept(&self, client: &HeaderMap, found: &str) -> Option<HeaderValue> {
        match self.known(client) {
            Some(list) if list.named.iter().any(|named| covers(named, found)) => None,
            Some(_) | None => narrow_accept(client, found),
        }
    }

    fn known(&self, client: &HeaderMap) -> Option<&AcceptList> {
        let lines = || client.get_all(ACCEPT).iter();
        for place in &self.0 {
            let list = match place.get() {
                Some(list) => list,
                None if lines().map(HeaderValue::len).sum::<usize>() > MAX_LIST_BYTES => return None,
                // Another request may put another list there meanwhile.
                None => place.get_or_init(|| AcceptList::of(client)),
            };
            if lines().eq(&list.lines) {
                return Some(list);
            }
        }
        None
    }
}

impl AcceptList {
    fn of(client: &HeaderMap) -> Self {
        // A copy: the client's own lies in what was read from its connection.
        let copy = |line: &HeaderValue| HeaderValue::from_bytes(line.as_bytes()).ok();
        Self {
            lines: client.get_all(ACCEPT).iter().filter_map(copy).collect(),
            sent: accept_with(client),
            named: entries(client).map(|entry| essence(entry).into()).collect(),
        }
    }
}

fn accept_with(client: &HeaderMap) -> HeaderValue {
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

fn narrow_accept(client: &HeaderMap, found: &str) -> Option<HeaderValue> {
    let lines = || client.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    // Of most clients the first type covers it: the rest is not looked at.
    if entries(client).any(|entry| covers(essence(entry), found)) {
        return None;
    }
    let own: Vec<&str> = lines().collect();
    if own.is_empty() { None } else { HeaderValue::try_from(own.join(", ")).ok() }
}

/// Whether what a client names includes this type.
fn covers(named: &str, found: &str) -> bool {
    ["*/*", "application/*", found].iter().any(|known| named.eq_ignore_ascii_case(known))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (ACCEPT, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_list_that_is_remembered_means_the_same_as_one_that_is_read() {
        let long = "application/vnd.example.long+json, ".repeat(40);
        let mut all = vec![
            client(&[]),
            client(&[""]),
            client(&["*/*"]),
            client(&["text/html,application/xhtml+xml;q=0.9", "*/*;q=0.8"]),
            client(&[media::OCI_INDEX]),
            client(&[media::OCI_INDEX, media::OCI_MANIFEST]),
            client(&[&format!("{},{}", media::OCI_INDEX, media::OCI_MANIFEST)]),
            client(&["Application/VND.oci.image.index.v1+JSON ; q=0.5"]),
            client(&[&long]),
        ];
        // More than are remembered.
        all.extend((0..MAX_LISTS).map(|number| client(&[&format!("application/vnd.example.{number}+json")])));
        let lists = AcceptLists::default();
        for _ in 0..2 {
            for client in &all {
                assert_eq!(lists.accept_with(client), accept_with(client), "{client:?}");
                for found in [media::OCI_INDEX, media::OCI_MANIFEST] {
                    assert_eq!(lists.narrow_accept(client, found), narrow_accept(client, found), "{client:?}");
                }
            }
        }
        assert!(lists.known(&client(&[&long])).is_none(), "it is too long");
        assert!(lists.known(&client(&["*/*"])).is_some());
        assert!(lists.known(&client(&["application/vnd.example.new+json"])).is_none(), "there is no room");
    }
}
