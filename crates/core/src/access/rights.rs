//! What an admitted client may do by the rules of `[[access]]` ([`access_rules`](crate::access_rules)).

use std::sync::Arc;

use http::HeaderMap;

use super::claims::Subject;
use super::presented::Presented;
use super::scope::{Scope, Use};
use super::{Access, AccessRequest, Admitted};
use crate::access_rules::{AccessRules, Right, Rights, Who};
use crate::config::Auth;
use crate::error::Error;
use crate::upstream::{Identity, Upstream};

impl Scope<'_> {
    fn right(self) -> Right {
        match self.wanted() {
            Use::Read => Right::Pull,
            Use::Write => Right::Push,
        }
    }
}

impl Admitted {
    /// Who it is, for the rules. An account is the registry's that accepted it; a login that no registry has confirmed is nobody's,
    /// since anybody can claim a name.
    pub(crate) fn who<'a>(&'a self, upstream: &'a Upstream) -> Who<'a> {
        if let (Some(issuer), Some(name)) = (self.issuer.as_deref(), self.user.as_deref()) {
            return Who::workload(issuer, name);
        }
        match (&self.identity, self.user.as_deref()) {
            (Identity::Ours, Some(name)) => Who::user(name),
            (Identity::Client(Some(_)), Some(name)) if self.is_confirmed => Who::account(upstream.name(), name),
            (Identity::Ours | Identity::Client(_), _) => Who::ANONYMOUS,
        }
    }
}

impl Access {
    /// The rules.
    pub(crate) fn rules(&self) -> &Arc<AccessRules> {
        &self.rules
    }

    /// What an admitted client may do.
    pub(crate) fn rights<'a>(&'a self, admitted: &'a Admitted, upstream: &'a Upstream) -> Rights<'a> {
        Rights::new(&self.rules, admitted.who(upstream))
    }

    /// Whether the rules let an admitted client do what it asks for. Every request for a repository passes here. A client without a
    /// login, whom one may help, is told how to log in (P-36).
    pub(crate) fn permit(&self, request: &AccessRequest<'_>, admitted: &Admitted) -> Result<(), Error> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let (upstream, name, right) =
            (request.upstream.name(), request.target.name.as_str(), request.scope.right());
        let Err(denied) = self.rules.decide(admitted.who(request.upstream), upstream, name, right) else {
            return Ok(());
        };
        match admitted.identity {
            Identity::Client(None) if self.rules.may_somebody(upstream, name, right) => {
                request.challenge(Some("insufficient_scope"))
            }
            Identity::Client(Some(_)) if !admitted.is_confirmed => {
                Err(Error::AccessDenied { denied, is_unconfirmed: true })
            }
            Identity::Ours | Identity::Client(_) => Err(Error::AccessDenied { denied, is_unconfirmed: false }),
        }
    }

    /// Who searches, once [`search`](Self::search) has let the client in.
    pub(crate) fn searcher(&self, headers: &HeaderMap) -> Admitted {
        let mut admitted = self.nobody();
        if self.auth == Auth::Users {
            let (user, issuer) = match self.presented(headers, Use::Read) {
                Presented::Token(claims) => match claims.subject {
                    Subject::User { name } => (Some(name), None),
                    Subject::Workload { issuer, name, .. } => (Some(name), Some(issuer)),
                    Subject::Anonymous | Subject::Login { .. } => (None, None),
                },
                Presented::Basic(basic) => (Some(basic.username), None),
                // A token of an issuer was verified and is not at hand: the rules for everybody count.
                Presented::Nothing | Presented::Unusable | Presented::IssuersToken(_) => (None, None),
            };
            (admitted.user, admitted.issuer) = (user.map(Into::into), issuer.map(Into::into));
        }
        admitted
    }

    /// What tokens of this client depend on besides the login; `None`: nothing.
    pub(super) fn rules_for(&self, subject: &Subject) -> Option<String> {
        if self.rules.is_empty() {
            return None;
        }
        Some(self.rules.text_for(match subject {
            Subject::User { name } => Who::user(name),
            Subject::Workload { issuer, name, .. } => Who::workload(issuer, name),
            Subject::Login { upstream, username, is_confirmed: true, .. } => Who::account(upstream, username),
            Subject::Login { is_confirmed: false, .. } | Subject::Anonymous => Who::ANONYMOUS,
        }))
    }
}
