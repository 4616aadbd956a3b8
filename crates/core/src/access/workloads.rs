//! Clients for whom an OIDC issuer vouches (`[[clients.issuer]]`): they come with the issuer's token, or with one of ours that they
//! got for it, and pull what the rule allows.

use http::HeaderMap;

use super::claims::Subject;
use super::endpoint::TokenContext;
use super::issuers::{IssuerRule, Workload};
use super::presented::issuers_token_in;
use super::{Access, AccessRequest, Admitted};
use crate::error::{BeyondRule, Error, RefusedToken, TokenRefusal};
use crate::name::RepositoryName;
use crate::secret::Secret;
use crate::upstream::Identity;

/// The only action that a rule allows.
const PULL: &str = "pull";

impl Access {
    /// The token of an issuer in a request's headers. Without issuers nothing is one.
    pub(super) fn issuers_token(&self, headers: &HeaderMap) -> Option<Secret> {
        self.issuers.as_ref().and_then(|_| issuers_token_in(headers))
    }

    /// Who has sent a token of an issuer.
    pub(super) async fn workload(&self, token: &Secret) -> Result<Workload, RefusedToken> {
        match &self.issuers {
            Some(issuers) => issuers.check(token.expose()).await,
            None => Err(RefusedToken { issuer: None, why: TokenRefusal::ForeignIssuer }),
        }
    }

    /// The rule that a token of ours was given by, if there is still such a rule.
    pub(super) fn issuer_rule(&self, issuer: &str, mark: &str) -> Option<&IssuerRule> {
        self.issuers.as_ref()?.rule(issuer, mark).map(|rule| &**rule)
    }

    /// Admits a client that sends the issuer's token with its request.
    pub(super) async fn admit_workload(
        &self,
        request: &AccessRequest<'_>,
        token: &Secret,
    ) -> Result<Admitted, Error> {
        match self.workload(token).await {
            Ok(workload) => workload.rule.admit(request, &workload.name),
            // Another login would not help where the issuer's keys are missing.
            Err(refused @ RefusedToken { why: TokenRefusal::NoKeys(_), .. }) => {
                Err(Error::TokenRefused { refused, challenge: None })
            }
            Err(refused) => {
                let (entry, view) = (request.entry, request.client_view);
                let challenge = Self::login_challenge(entry, view, Some(request.scope), Some("invalid_token"));
                Err(Error::TokenRefused { refused, challenge: Some(Box::new(challenge)) })
            }
        }
    }
}

impl IssuerRule {
    /// Admits a client of this rule, if it may do what it asks.
    pub(super) fn admit(&self, request: &AccessRequest<'_>, name: &str) -> Result<Admitted, Error> {
        let repository = format!("{}/{}", request.upstream.name(), request.target.name);
        if request.scope.action != PULL || !self.allows(&repository) {
            let (client, action) = (name.into(), request.scope.action);
            let beyond = BeyondRule { client, action, repository: repository.into() };
            return Err(Error::BeyondIssuerRule(Box::new(beyond)));
        }
        Ok(Admitted {
            identity: Identity::Ours,
            user: Some(name.into()),
            is_confirmed: false,
            issuer: Some(self.url.clone()),
        })
    }
}

impl Workload {
    /// Whose token of ours it gets.
    pub(super) fn subject(&self) -> Subject {
        Subject::Workload {
            issuer: self.rule.url.to_string(),
            name: self.name.to_string(),
            rule: self.rule.mark.clone(),
        }
    }

    /// What of the scopes that it asks for a token of ours can get: to pull, where the rule allows it.
    pub(super) fn scopes(&self, asked: &TokenContext<'_>, scopes: &[String]) -> Vec<String> {
        scopes.iter().filter_map(|scope| narrowed(scope, |name| self.may_pull(asked, name))).collect()
    }

    /// Whether the rule allows a repository by the client's name for it. Where `ns` will name the registry, the token request does not
    /// (P-09): then it may be any of ours, and the request itself is held against the rule again.
    fn may_pull(&self, asked: &TokenContext<'_>, name: &str) -> bool {
        let of = |upstream: usize, repository: &RepositoryName| {
            let upstream = asked.upstreams.get(upstream);
            upstream.is_some_and(|upstream| self.rule.allows(&format!("{}/{repository}", upstream.name())))
        };
        let identified = asked.routes.identify_scope(asked.entry, name);
        let is_named = asked.entry.upstream.is_some();
        identified.is_some_and(|(upstream, repository)| of(upstream, &repository))
            || !is_named
                && RepositoryName::parse(name)
                    .is_ok_and(|repository| (0..asked.upstreams.len()).any(|upstream| of(upstream, &repository)))
    }
}

/// A scope without what is not allowed; `None`: nothing of it is. Pure.
fn narrowed(scope: &str, may_pull: impl Fn(&str) -> bool) -> Option<String> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let pulls = actions.split(',').any(|action| action == PULL || action == "*");
    (kind.starts_with("repository") && pulls && may_pull(name)).then(|| format!("{kind}:{name}:{PULL}"))
}

#[cfg(test)]
mod tests {
    use super::narrowed;

    #[test]
    fn a_scope_is_cut_down_to_pulling_what_is_allowed() {
        for (scope, expected) in [
            ("repository:ghcr.io/acme/app:pull", Some("repository:ghcr.io/acme/app:pull")),
            ("repository:ghcr.io/acme/app:pull,push", Some("repository:ghcr.io/acme/app:pull")),
            ("repository:ghcr.io/acme/app:push,pull,delete", Some("repository:ghcr.io/acme/app:pull")),
            ("repository:ghcr.io/acme/app:*", Some("repository:ghcr.io/acme/app:pull")),
            ("repository(plugin):ghcr.io/acme/app:pull", Some("repository(plugin):ghcr.io/acme/app:pull")),
            ("repository:ghcr.io/acme/app:push", None),
            ("repository:ghcr.io/acme/app:pulled", None),
            ("repository:ghcr.io/acme/app:", None),
            ("repository:ghcr.io/evil/app:pull", None),
            ("registry:catalog:*", None),
            ("repository:ghcr.io/acme/app", None),
            ("", None),
        ] {
            let narrowed = narrowed(scope, |name| name == "ghcr.io/acme/app");
            assert_eq!(narrowed.as_deref(), expected, "{scope}");
        }
    }
}
