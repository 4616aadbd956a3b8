//! A token server with a few accounts and their rights.
//!
//! It follows distribution's token specification: unknown scopes are left out of the token, wrong
//! passwords are a 401, no password at all is the anonymous user. It remembers who asked, so that
//! a test can see whose name the product used.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::token::{LIFETIME, SERVICE, Signer};
use crate::Outcome;
use crate::http::{Body, Handler, Server, text};

/// Somebody who can log in, and the repositories (by prefix) open to them.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    pub user: &'static str,
    pub password: &'static str,
    pub repositories: &'static [&'static str],
    pub may_push: bool,
}

/// What everybody may pull.
const PUBLIC_PREFIXES: [&str; 2] = ["public/", "library/"];

/// A running token server.
pub struct TokenServer {
    server: Server,
    office: Arc<Office>,
}

struct Office {
    accounts: Vec<Account>,
    signer: Signer,
    asked: Mutex<Vec<String>>,
}

impl TokenServer {
    pub fn start(accounts: &[Account]) -> Outcome<Self> {
        let office =
            Arc::new(Office { accounts: accounts.to_vec(), signer: Signer::new()?, asked: Mutex::default() });
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&office))?;
        Ok(Self { server, office })
    }

    /// The URL that registries name in their challenges.
    pub fn realm(&self) -> String {
        format!("http://{}/auth/token", self.server.address())
    }

    /// Who has asked so far, in order: user names, `-` for anonymous, `!` for a refusal.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.office.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.office.signer.certificate_pem
    }
}

impl Handler for Office {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move { self.answer(&request) }.boxed()
    }
}

impl Office {
    fn answer(&self, request: &Request<Incoming>) -> Outcome<Response<Body>> {
        if request.method() != Method::GET || request.uri().path() != "/auth/token" {
            // Many token servers know no POST; clients then go on with GET.
            return Ok(text(StatusCode::NOT_FOUND, "no such page"));
        }
        let query = request.uri().query().unwrap_or_default();
        if !values(query, "service").any(|value| value == SERVICE) {
            return Ok(text(StatusCode::BAD_REQUEST, "another service"));
        }
        let Ok(account) = self.account(request) else {
            self.note("!");
            let details = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "wrong password" }] });
            return Ok(text(StatusCode::UNAUTHORIZED, details.to_string()));
        };
        let subject = account.map_or("", |account| account.user);
        self.note(if subject.is_empty() { "-" } else { subject });
        let scopes: Vec<_> = values(query, "scope").collect();
        let access: Vec<Value> =
            scopes.iter().flat_map(|value| value.split(' ')).filter_map(|scope| grant(account, scope)).collect();
        let token = self.signer.token(subject, &access)?;
        let answer = json!({
            "token": token,
            "access_token": token,
            "expires_in": LIFETIME.as_secs(),
        });
        let mut response = text(StatusCode::OK, answer.to_string());
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }

    /// The account that the request proves, none for anonymous, an error for a wrong password.
    fn account(&self, request: &Request<Incoming>) -> Result<Option<&Account>, ()> {
        let Some(value) = request.headers().get(header::AUTHORIZATION) else {
            return Ok(None);
        };
        let pair = value
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Basic "))
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(())?;
        let mut accounts = self.accounts.iter();
        let found = accounts.find(|account| pair == format!("{}:{}", account.user, account.password));
        found.map(Some).ok_or(())
    }

    fn note(&self, who: &str) {
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).push(who.to_owned());
    }
}

/// All values of a parameter: `scope` may be repeated.
fn values<'query>(query: &'query str, name: &str) -> impl Iterator<Item = Cow<'query, str>> {
    form_urlencoded::parse(query.as_bytes()).filter(move |(key, _)| key == name).map(|(_, value)| value)
}

/// The part of a scope that the account may have.
fn grant(account: Option<&Account>, scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, wanted) = rest.rsplit_once(':')?;
    if kind != "repository" {
        return None;
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let owned = account.is_some_and(|account| starts(account.repositories));
    let may_push = owned && account.is_some_and(|account| account.may_push);
    let actions: Vec<&str> = wanted
        .split(',')
        .filter(|action| match *action {
            "pull" => owned || starts(&PUBLIC_PREFIXES),
            _ => may_push,
        })
        .collect();
    (!actions.is_empty()).then(|| json!({ "type": kind, "name": name, "actions": actions }))
}
