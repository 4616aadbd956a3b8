//! Whether an image is as its policy wants, as far as it is known without asking anybody.

use crate::digest::Digest;
use crate::error::Error;
use crate::explanation::PolicyReport;
use crate::manifest::{denied, known_service_verdict, known_verdict, unverified};
use crate::policy::{
    ImagePolicy, NoAnswer, NoVerdict, PolicyDecision, ServiceVerdict, SignatureVerdict, VerdictService,
};
use crate::request::RequestContext;

/// What is known of one thing that a policy wants, and the error of a pull that is sure to be refused for it.
type Finding = (String, Option<Error>);

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
    let signature = rule.signature.is_some().then(|| of_signature(context, rule, digest, verdict));
    let service = rule.service.as_ref().map(|service| match verdict {
        SignatureVerdict::Attachment => ("not asked: this is no image".to_owned(), None),
        _ => of_service(context, rule, service, digest),
    });
    let (found, unsigned) = signature.unzip();
    let (said, denied) = service.unzip();
    let report = PolicyReport {
        pattern: rule.pattern.to_string(),
        mode: rule.mode.as_str(),
        wanted: wanted(rule),
        found,
        service: said,
    };
    Some((report, unsigned.flatten().or(denied.flatten())))
}

/// What the rule wants, with the service's address: who reads an explanation may know it.
fn wanted(rule: &ImagePolicy) -> String {
    let address = rule.service.as_ref().map(|service| format!(" ({})", service.shown));
    rule.wanted() + &address.unwrap_or_default()
}

fn of_signature(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    digest: Option<&Digest>,
    verdict: SignatureVerdict,
) -> Finding {
    if verdict == SignatureVerdict::Unknown(NoVerdict::NotCached) && !context.is_offline() {
        return ("not known yet: a pull asks the registry for the signature".to_owned(), None);
    }
    let error = match (rule.decide(verdict), digest) {
        (PolicyDecision::Refuse, Some(digest)) => Some(unverified(context, rule, digest, verdict)),
        (PolicyDecision::Refuse | PolicyDecision::Serve | PolicyDecision::ServeAndWarn, _) => None,
    };
    (verdict.to_string(), error)
}

fn of_service(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    service: &VerdictService,
    digest: Option<&Digest>,
) -> Finding {
    let unknown = ("not known yet: a pull asks the service".to_owned(), None);
    let Some(digest) = digest else { return unknown };
    let verdict = known_service_verdict(context, service, digest);
    if matches!(verdict, ServiceVerdict::Unanswered { why: NoAnswer::NotAsked, .. }) {
        return unknown;
    }
    let error = match rule.decide_service(&verdict) {
        PolicyDecision::Refuse => Some(denied(context, rule, digest, &verdict)),
        PolicyDecision::Serve | PolicyDecision::ServeAndWarn => None,
    };
    (verdict.to_string(), error)
}
