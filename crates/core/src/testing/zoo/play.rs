//! A registry that behaves as a row says: the plain one of these tests behind the row's behaviours, with a record of what
//! it was asked and answered.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::steps::{OCI_MANIFEST, Things};
use super::table::{Behaviour, LoginScheme, Placement, Row, When};
use crate::testing::{Answer, Gate, Registry, Sent, Server};

/// The registry's own address.
pub(super) const ORIGIN: &str = "https://origin.up.example.com";
/// Where its blobs are, if not there.
pub(super) const CDN: &str = "https://cdn.up.example.com/store";
/// Another registry, to which it redirects.
pub(super) const ELSEWHERE: &str = "https://elsewhere.up.example.com";
/// Its token server.
pub(super) const REALM: &str = "https://auth.up.example.com/token";

/// The account of ours, and that of a client.
pub(super) const ROBOT: (&str, &str) = ("robot", "s3cret");
pub(super) const ALICE: (&str, &str) = ("alice", "wonder");

/// What was asked, in the words of the table, and what was answered.
pub(super) type RequestLog = Vec<(String, StatusCode)>;

/// The registry of a row. Clones are the same registry.
#[derive(Clone)]
pub(super) struct Player(Arc<Shared>);

struct Shared {
    registry: Registry,
    row: Row,
    asked: Mutex<RequestLog>,
    given: Mutex<HashSet<String>>,
}

impl Player {
    pub(super) fn new(row: &Row, things: &Things) -> Self {
        let registry = Registry::default();
        for name in ["layer", "config"] {
            registry.put_blob("team/app", things.bytes(name));
            registry.put_blob("team/other", things.bytes(name));
        }
        registry.put_manifest("team/other", "v1", OCI_MANIFEST, things.bytes("other"));
        let tags = row.tags.iter().map(|tag| things.fill(tag));
        for tag in ["v1".to_owned(), "v2".to_owned(), "v3".to_owned()].into_iter().chain(tags) {
            registry.put_manifest("team/app", &tag, OCI_MANIFEST, things.bytes("image"));
        }
        for (name, password) in [ROBOT, ALICE] {
            registry.add_user(name, password);
        }
        registry.guard(match row.login {
            LoginScheme::Open => Gate::Open,
            LoginScheme::Basic => Gate::Basic,
            LoginScheme::Bearer => Gate::Bearer { realm: REALM.to_owned(), service: Some("up".to_owned()) },
        });
        registry.set_upload_location("/v2/team/app/blobs/uploads/u1?_state=a%2Fb");
        match row.placement {
            Placement::Own | Placement::Elsewhere => {}
            Placement::Cdn => registry.redirect_blobs(CDN),
        }
        let shared = Shared { registry, row: row.clone(), asked: Mutex::default(), given: Mutex::default() };
        Self(Arc::new(shared))
    }

    /// What was asked since this was called last.
    pub(super) fn take_asked(&self) -> RequestLog {
        std::mem::take(&mut *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn behaviour(&self, sent: &Sent, kind: &str) -> Option<&Behaviour> {
        let fits = |behaviour: &&Behaviour| {
            let is_meant = behaviour.request.iter().any(|request| {
                let (method, of) = request.split_once(' ').unwrap_or((request, "*"));
                (method == "*" || sent.method == method) && (of == "*" || of == kind)
            });
            is_meant && self.applies(behaviour.when, sent)
        };
        self.0.row.behaviours.iter().find(fits)
    }

    fn applies(&self, when: When, sent: &Sent) -> bool {
        let is_later_page = ["last=", "next_page="].iter().any(|of| sent.path_and_query().contains(of));
        match when {
            When::Always => true,
            When::UntilGiven => {
                !self.0.given.lock().unwrap_or_else(PoisonError::into_inner).contains(sent.path())
                    && self.0.registry.has(sent.path())
            }
            When::WithoutLogin => !sent.headers.contains_key("authorization"),
            When::OfUnknownRepository => sent.url.contains("team/missing") || sent.url.contains("team%2Fmissing"),
            When::OfFirstPage => !is_later_page,
            When::OfLaterPages => is_later_page,
        }
    }

    fn play(&self, sent: &Sent, kind: &str) -> Answer {
        let Some(behaviour) = self.behaviour(sent, kind) else { return self.0.registry.answer(sent) };
        let mut plain = sent.clone();
        for name in &behaviour.ignores {
            plain.headers.remove(name);
        }
        let refuses = behaviour.status.is_some_and(|status| status >= 400);
        if refuses && kind != "token" {
            // Only its login is looked at.
            plain.method = Method::GET;
        }
        let mut answer = self.0.registry.answer(&plain);
        // Who has no login hears that first, whatever else there is to be said.
        if answer.status == StatusCode::UNAUTHORIZED && behaviour.when != When::WithoutLogin && kind != "ping" {
            return answer;
        }
        behave(behaviour, &mut answer);
        answer
    }
}

fn behave(behaviour: &Behaviour, answer: &mut Answer) {
    match behaviour.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) if status.is_client_error() => {
            *answer = Answer::new(status.as_u16()).header("content-type", "application/json");
        }
        Some(status) => answer.status = status,
        None => {}
    }
    for name in &behaviour.without {
        answer.headers.remove(name);
    }
    for (name, cut) in &behaviour.cuts {
        let cut = answer.headers.get(name).and_then(|value| value.to_str().ok()).map(|text| text.replace(cut, ""));
        set(answer, name, cut.as_deref());
    }
    for (name, value) in &behaviour.headers {
        set(answer, name, Some(value));
    }
    if let Some(body) = &behaviour.body {
        let token = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
        let token = token.as_ref().and_then(|answer| answer.get("token")?.as_str()).unwrap_or_default();
        *answer = answer.clone().body(Bytes::from(body.replace("{token}", token)));
    }
    if behaviour.chunked {
        answer.length = None;
    }
}

fn set(answer: &mut Answer, name: &str, value: Option<&str>) {
    let name = HeaderName::try_from(name).ok();
    let value = value.map(|value| value.replace("{realm}", REALM).replace("{elsewhere}", ELSEWHERE));
    if let (Some(name), Some(value)) = (name, value.and_then(|value| HeaderValue::try_from(value).ok())) {
        answer.headers.insert(name, value);
    }
}

impl Server for Player {
    fn answer(&self, sent: &Sent) -> Answer {
        let (kind, word) = words(sent);
        let answer = if sent.url.starts_with(ELSEWHERE) {
            let mut plain = sent.clone();
            plain.url = plain.url.replace(ELSEWHERE, ORIGIN);
            self.0.registry.answer(&plain)
        } else if self.0.row.placement == Placement::Elsewhere
            && self.behaviour(sent, kind).is_none()
            && kind != "ping"
        {
            let location = format!("{ELSEWHERE}{}", sent.path_and_query());
            Answer::new(307).header("location", &location)
        } else {
            self.play(sent, kind)
        };
        if sent.method == Method::GET && answer.status.is_success() {
            let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
            given.insert(sent.path().to_owned());
        }
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).push((word, answer.status));
        answer
    }
}

/// Of what kind a request is, and how the table writes it.
fn words(sent: &Sent) -> (&'static str, String) {
    let path = sent.path();
    let is_digest = |rest: &str| rest.contains(':');
    let kind = if sent.url.starts_with(REALM) {
        "token"
    } else if sent.url.starts_with(CDN) {
        "cdn"
    } else if path == "/v2/" {
        "ping"
    } else if let Some((_, rest)) = path.split_once("/blobs/uploads/") {
        if rest.is_empty() { "uploads" } else { "session" }
    } else if let Some((_, rest)) = path.split_once("/manifests/") {
        if is_digest(rest) { "manifest" } else { "tag" }
    } else if path.contains("/blobs/") {
        "blob"
    } else if path.ends_with("/tags/list") {
        "tags"
    } else if path.contains("/referrers/") {
        "referrers"
    } else {
        "page"
    };
    let mut word = format!("{} {kind}", sent.method);
    if sent.url.starts_with(ELSEWHERE) {
        word = format!("{} elsewhere {kind}", sent.method);
    }
    let query = sent.path_and_query().split_once('?').filter(|_| matches!(kind, "tags" | "uploads"));
    if let Some((_, query)) = query {
        let shown = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        word = format!("{word} ?{}", shown.collect::<Vec<_>>().join("&"));
    }
    let range = sent.header("range");
    if !range.is_empty() {
        word = format!("{word} {range}");
    }
    (kind, word)
}
