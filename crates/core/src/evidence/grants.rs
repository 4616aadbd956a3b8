//! Which client has lately been let into which repository by its upstream (`clients.auth = "upstream"`).

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::name::RepositoryName;
use crate::platform::Moment;

/// How long a grant is remembered: the shortest life of a token that the token specification allows (P-64).
pub(crate) const GRANT_LIFE: Duration = Duration::from_mins(1);

/// One client's login in one repository of an upstream. Not only the user's name: the same user may log in with two
/// passwords, of which one is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientScope {
    /// The upstream's name.
    pub(crate) upstream: Box<str>,
    /// The repository, as the upstream calls it.
    pub(crate) repository: Box<str>,
    /// The fingerprint of the client's login; all zero for nobody's.
    pub(crate) credential: [u8; 16],
}

impl ClientScope {
    /// Of this credential on this repository.
    pub(crate) fn new(upstream: &str, repository: &RepositoryName, credential: [u8; 16]) -> Self {
        Self { upstream: upstream.into(), repository: repository.as_str().into(), credential }
    }
}

/// Grants, in memory only.
pub(crate) struct Grants(Cache<ClientScope, Moment>);

impl Grants {
    /// At most so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// The upstream has let this client in just now.
    pub(crate) fn give(&self, claim: ClientScope, now: Moment) {
        self.0.insert(claim, now.after(GRANT_LIFE));
    }

    /// The upstream has turned this client away.
    pub(crate) fn revoke(&self, claim: &ClientScope) {
        self.0.remove(claim);
    }

    /// Whether the upstream has let this client in lately.
    pub(crate) fn hold(&self, claim: &ClientScope, now: Moment) -> bool {
        self.0.get(claim).is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(repository: &str, credential: u8) -> ClientScope {
        ClientScope::new("u", &RepositoryName::parse(repository).unwrap(), [credential; 16])
    }

    #[test]
    fn a_grant_is_for_one_client_in_one_repository_and_not_for_ever() {
        let grants = Grants::new(100);
        let at = |seconds| Moment(Duration::from_secs(seconds));
        grants.give(claim("a/b", 1), at(0));
        assert!(grants.hold(&claim("a/b", 1), at(59)));
        assert!(!grants.hold(&claim("a/b", 1), at(60)));
        assert!(!grants.hold(&claim("a/b", 2), at(0)));
        assert!(!grants.hold(&claim("a/c", 1), at(0)));
        grants.revoke(&claim("a/b", 1));
        assert!(!grants.hold(&claim("a/b", 1), at(0)));
    }
}
