//! The token endpoint: GET with Basic, or POST with a form (P-38 … P-47).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::json;

use super::Access;
use super::claims::{Subject, TOKEN_SECONDS, TokenClaims};
use super::issuers::looks_like_token;
use super::logins::Verdict;
use super::presented::{issuers_token_in, login_in, nonempty};
use crate::body::{Body, BodyError};
use crate::config::Auth;
use crate::error::Error;
use crate::name::RepositoryName;
use crate::route::{EntryPoint, Routes};
use crate::seal::SealPurpose;
use crate::secret::{Basic, Secret};
use crate::upstream::{Login, Upstream};

/// The longest token that every client and every proxy on the way accepts (P-47).
const TOKEN_BYTES: usize = 4096;

/// Where and from whom a token is asked for.
pub(crate) struct TokenContext<'a> {
    /// The entry point, which may name the registry.
    pub(crate) entry: &'a EntryPoint,
    /// Finds the registries that scopes name.
    pub(crate) routes: &'a Routes,
    /// All registries.
    pub(crate) upstreams: &'a [Arc<Upstream>],
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    /// The headers of requests to upstreams: `Via`.
    pub(crate) via: &'a HeaderMap,
}

impl Access {
    /// Returns a token and the user's name, or why there is none.
    pub(crate) async fn token(
        &self,
        asked: &TokenContext<'_>,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<str>>), Error> {
        let parameters = TokenParameters::read(request, self.form_bytes).await?;
        let (subject, scopes) = match parameters.issuers_token().filter(|_| self.issuers.is_some()) {
            Some(token) => {
                let refused = |refused| Error::TokenRefused { refused, challenge: None };
                let workload = self.workload(token).await.map_err(refused)?;
                (workload.subject(), workload.scopes(asked, &parameters.scopes))
            }
            None => (self.subject(asked, &parameters).await?, parameters.scopes),
        };
        let (user, basis) = (subject.name(), self.basis_of(&subject));
        let claims = TokenClaims::new(subject, scopes, basis, self.platform.clock.unix_seconds());
        let token = self.sealer.seal(SealPurpose::Token, &claims);
        if token.len() >= TOKEN_BYTES {
            return Err(Error::TokenTooLarge { limit_bytes: TOKEN_BYTES });
        }
        let answer = json!({ "token": token, "access_token": token, "expires_in": TOKEN_SECONDS });
        let mut response = Response::new(Body::from(Bytes::from(answer.to_string())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok((response, user))
    }

    /// Whose token it is.
    async fn subject(&self, asked: &TokenContext<'_>, parameters: &TokenParameters) -> Result<Subject, Error> {
        match (self.auth, &parameters.login) {
            // Credentials that nobody asked for are ignored (P-46).
            (Auth::Open, _) | (Auth::Upstream, None) => Ok(Subject::Anonymous),
            (Auth::Users, None) => Err(Error::WrongLogin),
            (Auth::Users, Some(basic)) => match self.logins.check_user(basic, asked.client).await {
                Verdict::Right => Ok(Subject::User { name: basic.username.clone() }),
                verdict => Err(error_of(verdict)),
            },
            (Auth::Upstream, Some(basic)) => {
                let (upstream, repository) = whose(&parameters.scopes, asked)?;
                let login = Arc::new(Login::new(basic.clone(), &self.sealer));
                let checked =
                    self.logins.check_login(upstream, &login, repository.as_ref(), asked.client, asked.via);
                match checked.await {
                    verdict @ (Verdict::Right | Verdict::Unchecked) => Ok(Subject::Login {
                        upstream: upstream.name().to_owned(),
                        username: basic.username.clone(),
                        password: basic.password.expose().into(),
                        is_confirmed: matches!(verdict, Verdict::Right),
                    }),
                    verdict => Err(error_of(verdict)),
                }
            }
        }
    }
}

/// The error for a login that is not right.
fn error_of(verdict: Verdict) -> Error {
    match verdict {
        Verdict::Right | Verdict::Unchecked | Verdict::Wrong(_) => Error::WrongLogin,
        Verdict::TooMany(retry_after) => Error::TooManyLogins { retry_after },
        Verdict::Limited(retry_after) => Error::Limited { retry_after },
        Verdict::Unknown(failure, retry_after) => Error::LoginUnknown { failure, retry_after },
    }
}

/// What a client sends to the token endpoint.
struct TokenParameters {
    login: Option<Basic>,
    /// The token of an OIDC issuer, sent as Bearer.
    bearer: Option<Secret>,
    scopes: Vec<String>,
}

impl TokenParameters {
    async fn read(request: Request<Body>, form_bytes: u64) -> Result<Self, Error> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let login = login_in(&head.headers);
        let bearer = if login.is_none() { issuers_token_in(&head.headers) } else { None };
        let mut parameters = Self { login, bearer, scopes: Vec::new() };
        match head.method {
            Method::GET => parameters.add_pairs(query),
            Method::POST => {
                let form = body.collect(form_bytes).await.map_err(|error| match error {
                    BodyError::TooLarge { limit_bytes } => Error::TooLarge { limit_bytes },
                    _ => Error::ClientBody,
                })?;
                let text = std::str::from_utf8(&form).map_err(|_| Error::UnreadableForm)?;
                parameters.add_pairs(query);
                parameters.add_pairs(&form);
                let field = |name: &str| crate::route::parameter(Some(text), name);
                if field("grant_type").as_deref() == Some("refresh_token") {
                    return Err(Error::UnsupportedGrant);
                }
                if let (Some(username), Some(password)) = (field("username"), field("password")) {
                    parameters.login = nonempty(Basic { username, password: Secret::new(password) });
                }
            }
            // The only status that makes every client try another way (P-39).
            _ => return Err(Error::NoSuchEndpoint),
        }
        Ok(parameters)
    }

    /// The token of an OIDC issuer, if the login is one.
    fn issuers_token(&self) -> Option<&Secret> {
        let password = self.login.as_ref().map(|login| &login.password);
        password.filter(|password| looks_like_token(password.expose())).or(self.bearer.as_ref())
    }

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
    asked: &TokenContext<'a>,
) -> Result<(&'a Arc<Upstream>, Option<RepositoryName>), Error> {
    let TokenContext { entry, routes, upstreams, .. } = asked;
    let mut found: Option<(usize, RepositoryName)> = None;
    for scope in scopes {
        let Some((kind, rest)) = scope.split_once(':') else { continue };
        let Some((name, _actions)) = rest.rsplit_once(':').filter(|_| kind.starts_with("repository")) else {
            continue;
        };
        let Some((upstream, name)) = routes.identify_scope(entry, name) else { continue };
        match &found {
            Some((other, _)) if *other != upstream => return Err(Error::TwoUpstreams),
            Some(_) => {}
            None => found = Some((upstream, name)),
        }
    }
    // A login for a repository that we do not serve does not go to the default registry instead.
    if found.is_none() && scopes.iter().any(|scope| scope.starts_with("repository")) {
        return Err(Error::UnknownUpstream);
    }
    let only = (upstreams.len() == 1).then_some(0);
    let index =
        found.as_ref().map(|(upstream, _)| *upstream).or(entry.upstream).or(routes.default_upstream()).or(only);
    let upstream = index.and_then(|index| upstreams.get(index)).ok_or(Error::UnknownUpstream)?;
    Ok((upstream, found.map(|(_, name)| name)))
}
