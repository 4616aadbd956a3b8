//! Refuses a `[[clients.issuer]]` where it has no meaning, and warns of a `[[clients.issuer]]` that lets in more than anybody means: everybody who has an account at the issuer's platform.

use super::super::{Auth, Config, ConfigError, IssuerConfig, issuer};
use crate::platform::Profile;

/// How a claim says whose token it is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    /// By its whole value.
    Whole,
    /// By what stands before its first slash: `acme/app`, `repo:acme/app:ref:refs/heads/main`.
    BeforeSlash,
}

/// Issuers that give everybody tokens, for any audience, and the claims that say whose they are.
const SHARED: [(&str, &[(&str, Owner)]); 3] = [
    // docs.github.com, "OpenID Connect reference".
    (
        "https://token.actions.githubusercontent.com",
        &[
            ("repository_owner", Owner::Whole),
            ("repository_owner_id", Owner::Whole),
            ("repository_id", Owner::Whole),
            ("enterprise", Owner::Whole),
            ("enterprise_id", Owner::Whole),
            ("repository", Owner::BeforeSlash),
            ("workflow_ref", Owner::BeforeSlash),
            ("sub", Owner::BeforeSlash),
        ],
    ),
    // docs.gitlab.com, "OpenID Connect (OIDC) Authentication Using ID Tokens".
    (
        "https://gitlab.com",
        &[
            ("namespace_id", Owner::Whole),
            ("project_id", Owner::Whole),
            ("user_id", Owner::Whole),
            ("user_login", Owner::Whole),
            ("user_email", Owner::Whole),
            ("namespace_path", Owner::Whole),
            ("project_path", Owner::BeforeSlash),
            ("sub", Owner::BeforeSlash),
        ],
    ),
    // developers.google.com/identity, "OpenID Connect", "An ID token's payload".
    ("https://accounts.google.com", &[("sub", Owner::Whole), ("email", Owner::Whole), ("hd", Owner::Whole)]),
];

/// Refuses issuers where no login at the proxy is, or decides.
pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    if !config.clients.issuer.is_empty() && config.clients.auth != Auth::Users {
        let what = "needs auth = \"users\": with \"open\" nobody has to log in, and with \"upstream\" only the registry can say who may log in";
        return Err(ConfigError::new("clients.issuer", what));
    }
    issuer::check(&config.clients.issuer)
}

/// Warns of issuers that let too many in, and of those that let in nobody here.
pub(super) fn warn(config: &Config, warn: &mut dyn FnMut(String, String)) {
    for (i, issuer) in config.clients.issuer.iter().enumerate() {
        if let Some(what) = breadth(issuer) {
            warn(format!("clients.issuer[{i}].match"), what);
        }
    }
    let has_issuers = !config.clients.issuer.is_empty() && config.clients.auth == Auth::Users;
    if has_issuers && config.platform == Profile::CloudflareWorkers {
        let what = "this platform verifies no tokens of issuers: all of them are refused";
        warn("clients.issuer".into(), what.into());
    }
}

/// Why a rule is too broad, if it is.
fn breadth(issuer: &IssuerConfig) -> Option<String> {
    let shared = SHARED.iter().find(|(url, _)| *url == issuer.url.trim_end_matches('/'));
    if let Some((url, owners)) = shared {
        let names_one = |claim: &str, owner: Owner| {
            issuer.claims.get(claim).is_some_and(|wanted| match (wanted.split_once('*'), owner) {
                (None, _) => true,
                (Some(_), Owner::Whole) => false,
                (Some((before, _)), Owner::BeforeSlash) => before.contains('/'),
            })
        };
        if owners.iter().any(|(claim, owner)| names_one(claim, *owner)) {
            return None;
        }
        let first = owners.first().map_or("sub", |(claim, _)| claim);
        return Some(format!(
            "anybody who has an account at {url} can get a token that fits: name whose tokens count, by {first} without *"
        ));
    }
    let is_anything = |wanted: &String| wanted.bytes().all(|b| b == b'*');
    issuer
        .claims
        .values()
        .all(is_anything)
        .then(|| "every token of this issuer for this audience fits: say which, such as by sub".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn is_broad(url: &str, claims: &[(&str, &str)]) -> bool {
        let claims: BTreeMap<_, _> =
            claims.iter().map(|(claim, wanted)| ((*claim).to_owned(), (*wanted).to_owned())).collect();
        let (audience, name) = ("p.example".to_owned(), "{sub}".to_owned());
        let issuer = IssuerConfig { url: url.into(), audience, claims, name, allow: vec![], jwks_file: None };
        breadth(&issuer).is_some()
    }

    #[test]
    fn a_match_that_lets_a_whole_platform_in_is_said() {
        const GITHUB: &str = "https://token.actions.githubusercontent.com";
        for (url, claim, wanted, expected) in [
            (GITHUB, "repository_owner", "acme", false),
            (GITHUB, "repository_owner", "acme*", true),
            (GITHUB, "repository_owner_id", "1234", false),
            (GITHUB, "repository", "acme/**", false),
            (GITHUB, "repository", "acme/app", false),
            (GITHUB, "repository", "acme*/app", true),
            (GITHUB, "repository", "*/app", true),
            (GITHUB, "sub", "repo:acme/app:ref:refs/heads/main", false),
            (GITHUB, "sub", "repo:acme/*", false),
            (GITHUB, "sub", "repo:*", true),
            (GITHUB, "ref", "refs/heads/main", true),
            (GITHUB, "actor", "alice", true),
            (GITHUB, "repository_visibility", "private", true),
            (GITHUB, "workflow_ref", "acme/app/.github/workflows/ci.yml@refs/heads/main", false),
            // A reusable workflow of acme's runs in anybody's repository.
            (GITHUB, "job_workflow_ref", "acme/app/.github/workflows/ci.yml@refs/heads/main", true),
            ("https://gitlab.com", "namespace_path", "acme", false),
            ("https://gitlab.com", "project_path", "acme/*", false),
            ("https://gitlab.com", "ref_protected", "true", true),
            ("https://gitlab.com/", "ref_protected", "true", true),
            ("https://accounts.google.com", "hd", "acme.example", false),
            ("https://accounts.google.com", "email_verified", "true", true),
            ("https://gitlab.acme.example", "ref_protected", "true", false),
            ("https://gitlab.acme.example", "project_path", "**", true),
            ("https://kubernetes.default.svc", "sub", "system:serviceaccount:ci:*", false),
            ("https://kubernetes.default.svc", "sub", "*", true),
        ] {
            assert_eq!(is_broad(url, &[(claim, wanted)]), expected, "{url} {claim}={wanted}");
        }
        assert!(!is_broad(GITHUB, &[("ref", "refs/heads/main"), ("repository_owner", "acme")]));
    }

    #[test]
    fn a_worker_that_would_refuse_every_token_is_said() {
        let issuer = IssuerConfig {
            url: "https://i.test".into(),
            audience: "p.example".into(),
            claims: BTreeMap::from([("sub".to_owned(), "a".to_owned())]),
            name: "{sub}".into(),
            allow: vec!["**".into()],
            jwks_file: None,
        };
        let mut config = Config::default();
        (config.clients.auth, config.clients.issuer) = (Auth::Users, vec![issuer]);
        let said = |config: &Config| {
            let mut places = Vec::new();
            warn(config, &mut |place, _| places.push(place));
            places
        };
        assert_eq!(said(&config), [""; 0]);
        config.platform = Profile::CloudflareWorkers;
        assert_eq!(said(&config), ["clients.issuer"]);
    }
}
