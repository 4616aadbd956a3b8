//! Who reads the administration page. The browser sends user name and password with each request, so nothing of a reader is
//! kept here.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use super::Access;
use super::logins::Verdict;
use super::presented::login_in;
use crate::access_rules::Who;
use crate::config::Auth;
use crate::error::Error;
use crate::upstream::{Identity, Login, Upstream};

/// A request for the page, before it is known who asks.
pub(crate) struct PageLogin<'a> {
    /// How readers log in.
    pub(crate) auth: Auth,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: Option<IpAddr>,
    /// Where the login is checked, with [`Auth::Upstream`].
    pub(crate) upstream: Option<&'a Arc<Upstream>>,
    /// The headers of requests to upstreams: `Via`.
    pub(crate) via: &'a HeaderMap,
}

/// Who reads the page.
pub(crate) struct PageReader {
    /// `alice`, or with accounts of registries `ghcr.io/alice`; `None`: nobody logs in.
    pub(crate) name: Option<Box<str>>,
    /// Of user name and password: what is sealed for one login opens for no other.
    pub(crate) mark: String,
    /// How clients pull, which decides what a reader may know.
    clients: Auth,
    /// The account, and the registry that accepted it.
    account: Option<(Box<str>, Arc<Login>)>,
}

/// Why nobody reads the page.
pub(crate) enum NoReader {
    /// The browser must ask for user name and password.
    LoginNeeded,
    /// The login cannot be checked now.
    Unchecked(Error),
}

impl PageReader {
    /// As whom an upstream would be asked for this reader's pull.
    pub(crate) fn identity(&self, upstream: &str) -> Identity {
        match (self.clients, &self.account) {
            (Auth::Open | Auth::Users, _) => Identity::Ours,
            (Auth::Upstream, Some((accepted_by, login))) if **accepted_by == *upstream => {
                Identity::Client(Some(Arc::clone(login)))
            }
            // A login for another registry is nobody's here: it is not shown around.
            (Auth::Upstream, Some(_) | None) => Identity::Client(None),
        }
    }

    /// Whether this registry has accepted the login.
    pub(crate) fn is_of(&self, upstream: &str) -> bool {
        self.account.as_ref().is_some_and(|(accepted_by, _)| **accepted_by == *upstream)
    }

    /// Who would pull, for the rules of `[[access]]`: this reader as a client.
    pub(crate) fn who<'a>(&'a self, upstream: &'a str) -> Who<'a> {
        match (self.clients, &self.account, self.name.as_deref()) {
            (Auth::Users, _, Some(name)) => Who::user(name),
            (Auth::Upstream, Some((accepted_by, login)), _) if **accepted_by == *upstream => {
                Who::account(upstream, &login.basic.username)
            }
            (Auth::Open | Auth::Users | Auth::Upstream, _, _) => Who::ANONYMOUS,
        }
    }

    /// Whether all readers may know the same of the cache.
    pub(crate) fn sees_all(&self) -> bool {
        self.clients != Auth::Upstream
    }
}

impl Access {
    /// Who asks for the page.
    pub(crate) async fn page_reader(&self, asked: &PageLogin<'_>) -> Result<PageReader, NoReader> {
        let reader = |name, mark, account| PageReader { name, mark, clients: self.auth, account };
        let basic = match (asked.auth, login_in(asked.headers)) {
            (Auth::Open, _) => return Ok(reader(None, String::new(), None)),
            (Auth::Users | Auth::Upstream, None) => return Err(NoReader::LoginNeeded),
            (Auth::Users | Auth::Upstream, Some(basic)) => basic,
        };
        let mark = self.sealer.mark(&["page", &basic.username, basic.password.expose()]);
        if asked.auth == Auth::Users {
            return match self.logins.check_user(&basic, asked.client).await {
                Verdict::Right => Ok(reader(Some(basic.username.into()), mark, None)),
                verdict => Err(no_reader(verdict)),
            };
        }
        let upstream = asked.upstream.ok_or(NoReader::Unchecked(Error::UnknownUpstream))?;
        let name = format!("{}/{}", upstream.name(), basic.username);
        let login = Arc::new(Login::new(basic, &self.sealer));
        match self.logins.check_login(upstream, &login, None, asked.client, asked.via).await {
            Verdict::Right => Ok(reader(Some(name.into()), mark, Some((upstream.name().into(), login)))),
            verdict => Err(no_reader(verdict)),
        }
    }
}

/// A login that the registry takes without a check is nobody's, since any would do.
fn no_reader(verdict: Verdict) -> NoReader {
    match verdict {
        Verdict::Right | Verdict::Unchecked | Verdict::Wrong(_) => NoReader::LoginNeeded,
        Verdict::TooMany(retry_after) => NoReader::Unchecked(Error::TooManyLogins { retry_after }),
        Verdict::Limited(retry_after) => NoReader::Unchecked(Error::Limited { retry_after }),
        Verdict::Unknown(failure, retry_after) => {
            NoReader::Unchecked(Error::LoginUnknown { failure, retry_after })
        }
    }
}
