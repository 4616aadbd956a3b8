//! Whether an image has the signature that its policy wants, as far as it is known without asking anybody.

use crate::digest::Digest;
use crate::error::Error;
use crate::explanation::PolicyReport;
use crate::manifest::{known_verdict, unverified};
use crate::policy::{NoVerdict, PolicyDecision, SignatureVerdict};
use crate::request::RequestContext;

/// The policy for a repository and what is known of a manifest there, with the error of a pull that is sure to be refused. `None`:
/// there is no policy for it.
pub(super) async fn report(
    context: &RequestContext<'_>,
    digest: Option<&Digest>,
) -> Option<(PolicyReport, Option<Error>)> {
    let rule = context.env.settings.policy.rule_for(context.upstream.name(), &context.target.name)?;
    let verdict = match digest {
        Some(digest) => known_verdict(context, rule, digest).await,
        None => SignatureVerdict::Unknown(NoVerdict::NotCached),
    };
    let (found, is_open) = match verdict {
        SignatureVerdict::Unknown(NoVerdict::NotCached) if !context.is_offline() => {
            ("not known yet: a pull asks the registry for the signature".to_owned(), true)
        }
        known => (known.to_string(), false),
    };
    let report = PolicyReport {
        pattern: rule.pattern.to_string(),
        mode: rule.mode.as_str(),
        wanted: rule.signer.to_string(),
        found,
    };
    let error = match (rule.decide(verdict), digest) {
        (PolicyDecision::Refuse, Some(digest)) if !is_open => Some(unverified(context, rule, digest, verdict)),
        (PolicyDecision::Refuse | PolicyDecision::Serve | PolicyDecision::ServeAndWarn, _) => None,
    };
    Some((report, error))
}
