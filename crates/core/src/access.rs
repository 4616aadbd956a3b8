//! Who asks, and what they may: our challenge, our tokens, and the token endpoint (P-28 … P-60).
//!
//! A token is a sealed note in the client's hands. For `auth = "users"` it says who logged in. For
//! `auth = "upstream"` it carries the client's own login, bound to the one upstream that has accepted it, so that
//! any replica can ask that upstream on the client's behalf, and no other upstream ever sees it. Either way it opens
//! only the repositories it was asked for, by the names that the client uses (P-47).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::body::Body;
use crate::config::{Auth, Config};
use crate::error::{Challenge, Error};
use crate::name::RepositoryName;
use crate::outside::Outside;
use crate::platform::Platform;
use crate::route::{Door, Place, Routes};
use crate::seal::{Purpose, Sealer};
use crate::secret::{Basic, Secret};
use crate::upstream::{Identity, Login, LoginCheck, Upstream};

/// Life of our tokens: what clients expect, and what Docker Hub gives (P-42).
const TOKEN_SECONDS: u64 = 300;

/// A token's length, below which every client and every proxy on the way takes it (P-47).
const TOKEN_BYTES: usize = 4096;

/// Scopes kept in one token: more than any client asks for at once.
const MAX_SCOPES: usize = 32;

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Note {
    holder: Holder,
    /// `repository:<the client's name>:<actions>`, as it was asked for.
    scopes: Vec<String>,
    expires: u64,
}

/// Whose token it is.
#[derive(Serialize, Deserialize)]
enum Holder {
    /// A user of our password file.
    User { name: String },
    /// Nobody in particular.
    Anonymous,
    /// A login that this upstream has accepted.
    Login { upstream: String, username: String, password: Box<str> },
}

impl Note {
    /// Whether it was asked for this repository and action; a broader one does too (P-48).
    fn covers(&self, wanted: Scope<'_>) -> bool {
        self.scopes.iter().any(|scope| {
            let Some((name, actions)) = scope.split_once(':').and_then(|(_, rest)| rest.rsplit_once(':')) else {
                return false;
            };
            name == wanted.name && actions.split(',').any(|action| action == wanted.action || action == "*")
        })
    }
}

/// What a request needs: one action on one repository, by the client's name for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The repository, as the client calls it.
    pub(crate) name: &'a str,
    /// `pull`, `push` or `delete`.
    pub(crate) action: &'static str,
}

impl std::fmt::Display for Scope<'_> {
    /// As a challenge says it: whoever pushes reads, too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let actions = if self.action == "push" { "pull,push" } else { self.action };
        write!(f, "repository:{}:{actions}", self.name)
    }
}

/// What a request's `Authorization` says.
enum Presented {
    Nothing,
    Note(Note),
    /// Expired, forged, or meant for somebody else.
    Unusable,
    Basic(Basic),
}

/// The rules for clients.
pub(crate) struct Access {
    auth: Auth,
    sealer: Arc<Sealer>,
    platform: Platform,
    form_bytes: u64,
}

impl Access {
    /// Takes the rules from the configuration.
    pub(crate) fn new(config: &Config, sealer: &Arc<Sealer>, platform: &Platform) -> Self {
        Self {
            auth: config.clients.auth,
            sealer: Arc::clone(sealer),
            platform: platform.clone(),
            form_bytes: config.limits.form_body.0,
        }
    }

    /// As whom the upstream is asked for a client that has not logged in, or would be, had it done so as a user.
    pub(crate) fn identity_of_nobody(&self) -> Identity {
        match self.auth {
            Auth::Open | Auth::Users => Identity::Ours,
            Auth::Upstream => Identity::Client(None),
        }
    }

    /// Whether everybody sees the same, so that shared caches may keep answers (P-94).
    pub(crate) fn is_open(&self) -> bool {
        self.auth == Auth::Open
    }

    /// The door whose token endpoint serves a request. Where `ns` alone says the registry and each login is for one
    /// registry, it is that registry's own: a token request carries no `ns` (P-09), and a login must go nowhere else.
    pub(crate) fn door_of(&self, place: &Place, upstream: &Upstream) -> Door {
        match (self.auth, &place.namespace) {
            (Auth::Upstream, Some(_)) => Door {
                prefix: format!("{}/{}", place.door.prefix, upstream.name()),
                upstream: Some(upstream.index()),
            },
            _ => place.door.clone(),
        }
    }

    /// Lets a client ping, or tells it how to log in (P-17, P-18).
    pub(crate) async fn ping(&self, headers: &HeaderMap, door: &Door, outside: &Outside) -> Result<(), Error> {
        let challenge = |error| Err(Self::challenge(door, outside, None, error));
        match (self.auth, self.presented(headers)) {
            (Auth::Open, _)
            | (Auth::Users, Presented::Note(Note { holder: Holder::User { .. }, .. }))
            | (
                Auth::Upstream,
                Presented::Note(Note { holder: Holder::Anonymous | Holder::Login { .. }, .. })
                | Presented::Basic(_),
            ) => Ok(()),
            (Auth::Users, Presented::Basic(basic)) if self.is_user(&basic).await => Ok(()),
            (Auth::Users | Auth::Upstream, Presented::Nothing | Presented::Basic(_)) => challenge(None),
            (Auth::Users | Auth::Upstream, Presented::Unusable | Presented::Note(_)) => {
                challenge(Some("invalid_token"))
            }
        }
    }

    /// As whom the upstream is asked for this client, and its name, or how the client is to log in first.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        upstream: &Upstream,
        door: &Door,
        outside: &Outside,
        scope: Scope<'_>,
    ) -> Result<(Identity, Option<Box<str>>), Error> {
        let challenge = |error| Err(Self::challenge(door, outside, Some(scope), error));
        let ours = |user: Option<String>| Ok((Identity::Ours, user.map(Into::into)));
        let client = |basic: Option<Basic>| {
            let user = basic.as_ref().map(|basic| basic.username.as_str().into());
            let login = basic.map(|basic| Arc::new(Login::new(basic, &self.sealer)));
            Ok((Identity::Client(login), user))
        };
        match (self.auth, self.presented(headers)) {
            // What everybody may see needs no scope.
            (Auth::Upstream, Presented::Note(Note { holder: Holder::Anonymous, .. })) => client(None),
            (Auth::Users, Presented::Note(note @ Note { holder: Holder::User { .. }, .. }))
            | (Auth::Upstream, Presented::Note(note @ Note { holder: Holder::Login { .. }, .. }))
                if !note.covers(scope) =>
            {
                challenge(Some("insufficient_scope"))
            }
            (Auth::Open, _) => ours(None),
            (Auth::Users, Presented::Note(Note { holder: Holder::User { name }, .. })) => ours(Some(name)),
            (Auth::Users, Presented::Basic(basic)) if self.is_user(&basic).await => ours(Some(basic.username)),
            (
                Auth::Upstream,
                Presented::Note(Note { holder: Holder::Login { upstream: bound, username, password }, .. }),
            ) => {
                // A login for another registry is nobody's here: it is not shown around.
                let is_here = bound == upstream.name();
                client(is_here.then(|| Basic { username, password: Secret::new(password) }))
            }
            (Auth::Upstream, Presented::Basic(basic)) => client(Some(basic)),
            (Auth::Users | Auth::Upstream, Presented::Nothing | Presented::Basic(_)) => challenge(None),
            (Auth::Users | Auth::Upstream, Presented::Unusable | Presented::Note(_)) => {
                challenge(Some("invalid_token"))
            }
        }
    }

    /// What a refusal of the upstream is to this client: one who has not said who they are may say it now (P-36).
    pub(crate) fn refusal(
        error: Error,
        identity: &Identity,
        door: &Door,
        outside: &Outside,
        scope: Scope<'_>,
    ) -> Error {
        match (error, identity) {
            (Error::Refused(_), Identity::Client(None)) => {
                Self::challenge(door, outside, Some(scope), Some("insufficient_scope"))
            }
            (error, _) => error,
        }
    }

    /// Exactly one challenge, constant for the door but for scope and error (P-28, P-33).
    fn challenge(door: &Door, outside: &Outside, scope: Option<Scope<'_>>, error: Option<&'static str>) -> Error {
        Error::Unauthorized(Box::new(Challenge {
            realm: format!("{}{}/token", outside.base(), door.prefix),
            service: outside.host.clone(),
            scope: scope.map(|scope| scope.to_string()),
            error,
        }))
    }

    fn presented(&self, headers: &HeaderMap) -> Presented {
        let Some(value) = headers.get(AUTHORIZATION) else { return Presented::Nothing };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            return Presented::Unusable;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            let note: Option<Note> = self.sealer.open(Purpose::Token, rest.trim());
            let now = self.platform.clock.unix_seconds();
            return note.filter(|note| now < note.expires).map_or(Presented::Unusable, Presented::Note);
        }
        match basic_of(scheme, rest) {
            Some(Some(basic)) => Presented::Basic(basic),
            Some(None) => Presented::Nothing,
            None => Presented::Unusable,
        }
    }

    async fn is_user(&self, basic: &Basic) -> bool {
        match &self.platform.passwords {
            Some(passwords) => passwords.verify(basic).await,
            None => false,
        }
    }

    /// The token endpoint: GET with Basic, or POST with a form (P-38).
    pub(crate) async fn token(
        &self,
        request: Request<Body>,
        door: &Door,
        routes: &Routes,
        upstreams: &[Arc<Upstream>],
    ) -> Result<Response<Body>, Error> {
        let wish = self.read_wish(request).await?;
        let expires = self.platform.clock.unix_seconds().saturating_add(TOKEN_SECONDS);
        let holder = match (self.auth, wish.login) {
            // Uninvited credentials on a host that needs none are not looked at (P-46).
            (Auth::Open, _) | (Auth::Upstream, None) => Holder::Anonymous,
            (Auth::Users, Some(basic)) if self.is_user(&basic).await => Holder::User { name: basic.username },
            (Auth::Users, _) => return Err(Error::WrongLogin),
            (Auth::Upstream, Some(basic)) => {
                let (upstream, repository) = whose(&wish.scopes, door, routes, upstreams)?;
                let login = Arc::new(Login::new(basic, &self.sealer));
                match upstream.check_login(&login, repository.as_ref()).await {
                    LoginCheck::Accepted => Holder::Login {
                        upstream: upstream.name().to_owned(),
                        username: login.basic.username.clone(),
                        password: login.basic.password.expose().into(),
                    },
                    LoginCheck::Refused(_) => return Err(Error::WrongLogin),
                    LoginCheck::Limited(retry_after) => return Err(Error::Limited { retry_after }),
                    LoginCheck::Failed(failure, retry_after) => {
                        return Err(Error::LoginUnknown { failure, retry_after });
                    }
                }
            }
        };
        let mut scopes = wish.scopes;
        // What everybody may see needs no scope.
        scopes.retain(|scope| scope.starts_with("repository") && !matches!(holder, Holder::Anonymous));
        scopes.truncate(MAX_SCOPES);
        let note = Note { holder, scopes, expires };
        let token = self.sealer.seal(Purpose::Token, &note);
        if token.len() >= TOKEN_BYTES {
            return Err(Error::TokenTooLarge { limit_bytes: TOKEN_BYTES });
        }
        let answer = json!({ "token": token, "access_token": token, "expires_in": TOKEN_SECONDS });
        let mut response = Response::new(Body::from(Bytes::from(answer.to_string())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    async fn read_wish(&self, request: Request<Body>) -> Result<Wish, Error> {
        let (head, body) = request.into_parts();
        let header = head.headers.get(AUTHORIZATION).map(|value| {
            let (scheme, rest) =
                value.to_str().ok().and_then(|text| text.trim().split_once(' ')).unwrap_or_default();
            basic_of(scheme, rest).flatten()
        });
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let mut wish = Wish { login: header.flatten(), scopes: Vec::new() };
        match head.method {
            Method::GET => wish.add_pairs(query),
            Method::POST => {
                let form = body.collect(self.form_bytes).await.map_err(|error| match error {
                    crate::body::BodyError::TooLarge { limit_bytes } => Error::TooLarge { limit_bytes },
                    _ => Error::ClientBody,
                })?;
                if std::str::from_utf8(&form).is_err() {
                    return Err(Error::UnreadableForm);
                }
                wish.add_pairs(query);
                wish.add_pairs(&form);
                let field = |name: &str| crate::route::parameter(std::str::from_utf8(&form).ok(), name);
                if field("grant_type").as_deref() == Some("refresh_token") {
                    return Err(Error::UnsupportedGrant);
                }
                if let (Some(username), Some(password)) = (field("username"), field("password")) {
                    wish.login = nonempty(Basic { username, password: Secret::new(password) });
                }
            }
            // The one status that makes every client try another way (P-39).
            _ => return Err(Error::NoSuchEndpoint),
        }
        Ok(wish)
    }
}

/// What a client wants of the token endpoint.
struct Wish {
    login: Option<Basic>,
    scopes: Vec<String>,
}

impl Wish {
    /// `scope` may come once, several times, or several in one (P-41).
    fn add_pairs(&mut self, text: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(text) {
            if name == "scope" {
                self.scopes.extend(value.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned));
            }
        }
    }
}

/// The one upstream that a client's login is for, and the repository it wants first. Unknown scopes are dropped.
fn whose<'a>(
    scopes: &[String],
    door: &Door,
    routes: &Routes,
    upstreams: &'a [Arc<Upstream>],
) -> Result<(&'a Arc<Upstream>, Option<RepositoryName>), Error> {
    let mut found: Option<(usize, RepositoryName)> = None;
    for scope in scopes {
        let Some((kind, rest)) = scope.split_once(':') else { continue };
        let Some((name, _actions)) = rest.rsplit_once(':').filter(|_| kind.starts_with("repository")) else {
            continue;
        };
        let Some((upstream, name)) = routes.identify_scope(door, name) else { continue };
        match &found {
            Some((other, _)) if *other != upstream => return Err(Error::TwoUpstreams),
            Some(_) => {}
            None => found = Some((upstream, name)),
        }
    }
    // A repository that we do not serve is nobody's: its login does not go to the default instead.
    if found.is_none() && scopes.iter().any(|scope| scope.starts_with("repository")) {
        return Err(Error::UnknownUpstream);
    }
    let only = (upstreams.len() == 1).then_some(0);
    let index =
        found.as_ref().map(|(upstream, _)| *upstream).or(door.upstream).or(routes.default_upstream()).or(only);
    let upstream = index.and_then(|index| upstreams.get(index)).ok_or(Error::UnknownUpstream)?;
    Ok((upstream, found.map(|(_, name)| name)))
}

/// `None`: no Basic at all; `Some(None)`: an empty one, which means nobody (P-45).
#[expect(clippy::option_option, reason = "absent, anonymous and named are three different things")]
fn basic_of(scheme: &str, rest: &str) -> Option<Option<Basic>> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(nonempty(Basic { username: username.to_owned(), password: Secret::new(password) }))
}

fn nonempty(basic: Basic) -> Option<Basic> {
    (!basic.username.is_empty() || !basic.password.expose().is_empty()).then_some(basic)
}
