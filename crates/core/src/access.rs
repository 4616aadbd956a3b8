//! Who asks, and what they may do: our challenge, our tokens, and the token endpoint (P-28 … P-60).
//!
//! A token is sealed claims in the client's hands. For `auth = "users"` it says who logged in. For
//! `auth = "upstream"` it carries the client's own login, bound to the one upstream that has accepted it, so that
//! any replica can ask that upstream on the client's behalf, and no other upstream ever sees it. Either way it opens
//! only the repositories it was asked for, by the names that the client uses (P-47).
//!
//! - [`claims`] `o`: what a token says, and when it is over
//! - [`presented`] `o`: what a request's `Authorization` says
//! - [`scope`] `o`: what a client asks to do
//! - [`endpoint`]: the token endpoint
//! - [`logins`]: whether a login is right
//! - [`guesses`] `o`: how often one may be wrong
//! - [`page_login`]: who reads the administration page
//! - [`rights`]: what an admitted client may do by the rules of `[[access]]`
//! - [`issuers`]: tokens of OIDC issuers · [`workloads`]: clients that come with one, or got ours for it

mod claims;
mod endpoint;
mod guesses;
mod issuers;
mod logins;
mod page_login;
mod presented;
mod rights;
mod scope;
mod workloads;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use self::claims::{Basis, Subject, TokenClaims};
pub(crate) use self::endpoint::TokenContext;
use self::issuers::Issuers;
use self::logins::{Logins, Verdict};
pub(crate) use self::page_login::{NoReader, PageLogin, PageReader};
use self::presented::Presented;
pub(crate) use self::scope::Scope;
use self::scope::Use;
use crate::access_rules::AccessRules;
use crate::config::{Auth, Config};
use crate::error::{Error, LoginChallenge, RefusedToken, TokenRefusal};
use crate::headers;
use crate::platform::Platform;
use crate::request::client_view::ClientView;
use crate::route::{EntryPoint, Target};
use crate::seal::{SealPurpose, Sealer};
use crate::secret::{Basic, Secret};
use crate::upstream::{Identity, Login, Upstream};

/// A request for a repository, before it is known who asks.
pub(crate) struct AccessRequest<'a> {
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Whose repository it is.
    pub(crate) upstream: &'a Upstream,
    /// The repository.
    pub(crate) target: &'a Target,
    /// Where this client logs in.
    pub(crate) entry: &'a EntryPoint,
    /// How the client sees us, and who it is.
    pub(crate) client_view: &'a ClientView,
    /// What it wants.
    pub(crate) scope: Scope<'a>,
    /// Our own part of `Via`.
    pub(crate) via: &'a HeaderValue,
}

impl AccessRequest<'_> {
    /// The challenge that tells the client how to log in.
    fn challenge<T>(&self, error: Option<&'static str>) -> Result<T, Error> {
        Err(Access::challenge(self.entry, self.client_view, Some(self.scope), error))
    }
}

/// A client that may ask.
pub(crate) struct Admitted {
    /// As whom the upstream is asked.
    pub(crate) identity: Identity,
    /// The name under which the client has logged in, if it has.
    pub(crate) user: Option<Box<str>>,
    /// Whether a registry has accepted the login. Of our own users' logins this says nothing: none goes on without a check.
    pub(crate) is_confirmed: bool,
    /// The URL of the OIDC issuer that vouches for the client, if one does.
    pub(crate) issuer: Option<Box<str>>,
}

/// The rules for clients.
pub(crate) struct Access {
    auth: Auth,
    sealer: Arc<Sealer>,
    platform: Platform,
    form_bytes: u64,
    /// For how many seconds a token reads.
    read_life: u64,
    logins: Logins,
    rules: Arc<AccessRules>,
    issuers: Option<Issuers>,
}

impl Access {
    /// Takes the rules from the configuration.
    pub(crate) fn new(config: &Config, sealer: &Arc<Sealer>, platform: &Platform) -> Self {
        Self {
            auth: config.clients.auth,
            sealer: Arc::clone(sealer),
            platform: platform.clone(),
            form_bytes: config.limits.form_body.0,
            read_life: config.clients.read_token_life.0.as_secs(),
            logins: Logins::new(&config.limits, sealer, platform),
            rules: Arc::new(AccessRules::new(&config.access, &config.clients)),
            issuers: Issuers::new(&config.clients.issuer, sealer, platform),
        }
    }

    /// Takes over the counts of the previous configuration: a reload gives nobody new guesses. The keys of issuers stay, too.
    #[must_use]
    pub(crate) fn after(mut self, previous: &Self) -> Self {
        self.logins.after(&previous.logins);
        if let (Some(issuers), Some(previous)) = (&mut self.issuers, &previous.issuers) {
            issuers.after(previous);
        }
        self
    }

    /// A client without a login of its own at the upstream.
    pub(crate) fn nobody(&self) -> Admitted {
        let identity = match self.auth {
            Auth::Open | Auth::Users => Identity::Ours,
            Auth::Upstream => Identity::Client(None),
        };
        Admitted { identity, user: None, is_confirmed: false, issuer: None }
    }

    /// Whether everybody sees the same, so that shared caches may keep answers (P-94).
    pub(crate) fn is_open(&self) -> bool {
        self.auth == Auth::Open
    }

    /// Whether what lies in the storage of `REGISTRY_BACKEND` may go to everybody, of whichever repository it is.
    pub(crate) fn lets_storage_pass(&self) -> bool {
        self.is_open() && self.rules.is_empty()
    }

    /// The entry point whose token endpoint serves a request. Where only `ns` names the registry and each login is for one registry,
    /// it is that registry's own: a token request carries no `ns` (P-09), and a login must go nowhere else.
    pub(crate) fn entry_for(&self, target: &Target, upstream: &Upstream) -> EntryPoint {
        match (self.auth, &target.namespace) {
            (Auth::Upstream, Some(_)) => EntryPoint {
                prefix: format!("{}/{}", target.entry.prefix, upstream.name()),
                upstream: Some(upstream.index()),
            },
            _ => target.entry.clone(),
        }
    }

    /// Lets a client ping, or tells it how to log in (P-17, P-18). Returns the user name, if there is one.
    pub(crate) async fn ping(
        &self,
        headers: &HeaderMap,
        entry: &EntryPoint,
        client_view: &ClientView,
    ) -> Result<Option<Box<str>>, Error> {
        let challenge = |error| Err(Self::challenge(entry, client_view, None, error));
        if self.is_open() {
            return Ok(None);
        }
        let is_of_this_mode = |subject: &Subject| match subject {
            Subject::User { .. } | Subject::Workload { .. } => self.auth == Auth::Users,
            Subject::Anonymous | Subject::Login { .. } => self.auth == Auth::Upstream,
        };
        match self.presented(headers, Use::Read) {
            Presented::Token(claims) if is_of_this_mode(&claims.subject) => Ok(claims.subject.name()),
            Presented::Nothing => challenge(None),
            Presented::Unusable | Presented::Token(_) => challenge(Some("invalid_token")),
            Presented::IssuersToken(token) => match self.workload(&token).await {
                Ok(workload) => Ok(Some((&*workload.name).into())),
                // As below: the token endpoint says why there are no keys.
                Err(RefusedToken { why: TokenRefusal::NoKeys(_), .. }) => challenge(None),
                Err(refused) => {
                    let challenge = Self::login_challenge(entry, client_view, None, Some("invalid_token"));
                    Err(Error::TokenRefused { refused, challenge: Some(Box::new(challenge)) })
                }
            },
            Presented::Basic(basic) => match self.auth {
                // A ping asks nobody (P-20): whose login it is has not been shown.
                Auth::Open | Auth::Upstream => Ok(None),
                Auth::Users => match self.logins.check_user(&basic, client_view.client).await {
                    Verdict::Right => Ok(Some(basic.username.into())),
                    // It is answered 200 or 401, and nothing else (P-17): the token endpoint says what it is.
                    Verdict::Unchecked
                    | Verdict::Wrong(_)
                    | Verdict::TooMany(_)
                    | Verdict::Limited(_)
                    | Verdict::Unknown(..) => challenge(None),
                },
            },
        }
    }

    /// Lets a client search Docker Hub, which tells everybody the same, or tells it how to log in. Returns the user name, if there
    /// is one. Where each client has its own login at the registry, none is needed: pulls without one are let in, too.
    pub(crate) async fn search(
        &self,
        headers: &HeaderMap,
        entry: &EntryPoint,
        client_view: &ClientView,
    ) -> Result<Option<Box<str>>, Error> {
        match self.auth {
            Auth::Open | Auth::Upstream => Ok(None),
            Auth::Users => self.ping(headers, entry, client_view).await,
        }
    }

    /// Admits a client, or tells it how to log in first.
    pub(crate) async fn admit(&self, request: &AccessRequest<'_>) -> Result<Admitted, Error> {
        match self.auth {
            Auth::Open => Ok(self.nobody()),
            Auth::Users => self.admit_user(request).await,
            Auth::Upstream => self.admit_client(request).await,
        }
    }

    /// A user of our password file.
    async fn admit_user(&self, request: &AccessRequest<'_>) -> Result<Admitted, Error> {
        let admitted = |name: String| Ok(Admitted { user: Some(name.into()), ..self.nobody() });
        let claims = match self.presented(request.headers, request.scope.wanted()) {
            Presented::Token(claims) => claims,
            Presented::Basic(basic) => {
                return match self.logins.check_user(&basic, request.client_view.client).await {
                    Verdict::Right => admitted(basic.username),
                    Verdict::TooMany(retry_after) => Err(Error::TooManyLogins { retry_after }),
                    Verdict::Unchecked | Verdict::Wrong(_) | Verdict::Limited(_) | Verdict::Unknown(..) => {
                        request.challenge(None)
                    }
                };
            }
            Presented::IssuersToken(token) => return self.admit_workload(request, &token).await,
            Presented::Nothing => return request.challenge(None),
            Presented::Unusable => return request.challenge(Some("invalid_token")),
        };
        let covers = claims.covers(request.scope);
        match claims.subject {
            Subject::Workload { issuer, name, rule } => match self.issuer_rule(&issuer, &rule) {
                Some(rule) => rule.admit(request, &name).and_then(|admitted| {
                    if covers { Ok(admitted) } else { request.challenge(Some("insufficient_scope")) }
                }),
                None => request.challenge(Some("invalid_token")),
            },
            Subject::User { .. } if !covers => request.challenge(Some("insufficient_scope")),
            Subject::User { name } => admitted(name),
            Subject::Anonymous | Subject::Login { .. } => request.challenge(Some("invalid_token")),
        }
    }

    /// A client that logs in to the upstream.
    async fn admit_client(&self, request: &AccessRequest<'_>) -> Result<Admitted, Error> {
        let claims = match self.presented(request.headers, request.scope.wanted()) {
            Presented::Token(claims) => claims,
            Presented::Basic(basic) => return self.admit_login(request, basic).await,
            Presented::Nothing => return request.challenge(None),
            Presented::Unusable | Presented::IssuersToken(_) => {
                return request.challenge(Some("invalid_token"));
            }
        };
        let covers = claims.covers(request.scope);
        match claims.subject {
            // What everybody may see needs no scope.
            Subject::Anonymous => Ok(self.nobody()),
            Subject::User { .. } | Subject::Workload { .. } => request.challenge(Some("invalid_token")),
            Subject::Login { .. } if !covers => request.challenge(Some("insufficient_scope")),
            // A login for another registry is nobody's here: it is not shown around.
            Subject::Login { upstream, .. } if upstream != request.upstream.name() => Ok(self.nobody()),
            Subject::Login { username, password, is_confirmed, .. } => {
                let basic = Basic { username, password: Secret::new(password) };
                let admitted = Admitted { is_confirmed, ..self.admitted(basic) };
                self.unless_too_many(request, admitted)
            }
        }
    }

    /// A client that sends user name and password, which may be a guess. The upstream checks them first, within the limits on
    /// guesses.
    async fn admit_login(&self, request: &AccessRequest<'_>, basic: Basic) -> Result<Admitted, Error> {
        let admitted = self.admitted(basic);
        let Identity::Client(Some(login)) = &admitted.identity else { return Ok(admitted) };
        let AccessRequest { upstream, target, client_view, .. } = request;
        if let Some(is_confirmed) = self.logins.is_known(upstream, login) {
            return self.unless_too_many(request, Admitted { is_confirmed, ..admitted });
        }
        let via = headers::of_upstream_request(request.headers, request.via);
        match self.logins.check_login(upstream, login, Some(&target.name), client_view.client, &via).await {
            Verdict::Right => Ok(Admitted { is_confirmed: true, ..admitted }),
            Verdict::Unchecked => Ok(admitted),
            Verdict::Wrong(text) => Err(Error::Refused(text)),
            Verdict::TooMany(retry_after) => Err(Error::TooManyLogins { retry_after }),
            Verdict::Limited(retry_after) => Err(Error::Limited { retry_after }),
            Verdict::Unknown(failure, _) => Err(Error::Upstream(failure)),
        }
    }

    /// Lets an unchecked login go on to the registry, unless too many of this client's were wrong: the registry's answer would tell
    /// whether a guess was right.
    fn unless_too_many(&self, request: &AccessRequest<'_>, admitted: Admitted) -> Result<Admitted, Error> {
        let pause = match &admitted.identity {
            Identity::Client(Some(login)) => {
                self.logins.pause(request.upstream, login, request.client_view.client)
            }
            Identity::Client(None) | Identity::Ours => None,
        };
        pause.map_or(Ok(admitted), |retry_after| Err(Error::TooManyLogins { retry_after }))
    }

    /// A client with a login that nobody has confirmed so far.
    fn admitted(&self, basic: Basic) -> Admitted {
        let user = Some(basic.username.as_str().into());
        let login = Arc::new(Login::new(basic, &self.sealer));
        Admitted { identity: Identity::Client(Some(login)), user, is_confirmed: false, issuer: None }
    }

    /// What an upstream's refusal means for this client. One without a login may log in now (P-36); a login that was never
    /// confirmed counts as a guess.
    pub(crate) fn refusal(&self, error: Error, identity: &Identity, request: &AccessRequest<'_>) -> Error {
        match (error, identity) {
            (Error::Refused(_), Identity::Client(None)) => Self::challenge(
                request.entry,
                request.client_view,
                Some(request.scope),
                Some("insufficient_scope"),
            ),
            (Error::Refused(text), Identity::Client(Some(login))) => {
                self.logins.refused(request.upstream, login, request.client_view.client);
                Error::Refused(text)
            }
            (error, _) => error,
        }
    }

    /// Exactly one challenge. For one entry point only its scope and error differ (P-28, P-33).
    fn challenge(
        entry: &EntryPoint,
        client_view: &ClientView,
        scope: Option<Scope<'_>>,
        error: Option<&'static str>,
    ) -> Error {
        Error::Unauthorized(Box::new(Self::login_challenge(entry, client_view, scope, error)))
    }

    fn login_challenge(
        entry: &EntryPoint,
        client_view: &ClientView,
        scope: Option<Scope<'_>>,
        error: Option<&'static str>,
    ) -> LoginChallenge {
        LoginChallenge {
            realm: format!("{}{}/token", client_view.base(), entry.prefix),
            service: client_view.host.clone(),
            scope: scope.map(|scope| scope.to_string()),
            error,
        }
    }

    fn presented(&self, headers: &HeaderMap, wanted: Use) -> Presented {
        if let Some(token) = self.issuers_token(headers) {
            return Presented::IssuersToken(token);
        }
        Presented::read(headers, |token| {
            let claims: TokenClaims = self.sealer.open(SealPurpose::Token, token)?;
            let now = self.platform.clock.unix_seconds();
            claims.is_good(wanted, self.read_life, &self.basis_of(&claims.subject), now).then_some(claims)
        })
    }

    /// What a token of this subject depends on now. Anything that ends a token early is checked here.
    fn basis_of(&self, subject: &Subject) -> Basis {
        match subject {
            Subject::User { name } => match (self.logins.line_of(name), self.rules_for(subject)) {
                (Some(line), None) => Basis::Mark(self.sealer.mark(&["line", name, line.expose()])),
                (Some(line), Some(rules)) => {
                    Basis::Mark(self.sealer.mark(&["line", name, line.expose(), "rules", &rules]))
                }
                (None, _) => Basis::Gone,
            },
            Subject::Workload { issuer, rule, .. } => match self.issuer_rule(issuer, rule) {
                Some(rule) => match self.rules_for(subject) {
                    None => Basis::Mark(rule.mark.clone()),
                    Some(rules) => Basis::Mark(self.sealer.mark(&["issuer", &rule.mark, "rules", &rules])),
                },
                None => Basis::Gone,
            },
            // The upstream checks the login itself, and again when a grant is over.
            Subject::Login { .. } => match self.rules_for(subject) {
                Some(rules) => Basis::Mark(self.sealer.mark(&["rules", &rules])),
                None => Basis::Nothing,
            },
            Subject::Anonymous => Basis::Nothing,
        }
    }
}
