//! Asks the outside service of a rule whether a manifest may be served: once for all who wait, within its deadline, and what it says is
//! remembered for a while.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request};

use crate::body::{Body, BodyError};
use crate::digest::Digest;
use crate::platform::{Outgoing, Reach, RequestPurpose, Transport, within};
use crate::policy::{
    ImagePolicy, MAX_ANSWER_BYTES, NoAnswer, PolicyDecision, ServiceVerdict, ServiceWord, VerdictKey,
    VerdictQuestion, VerdictService, WANTED_CONSENT,
};
use crate::request::RequestContext;
use crate::telemetry;
use crate::upstream;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A manifest that a service is asked about.
pub(super) struct AskedManifest<'a> {
    pub(super) digest: &'a Digest,
    pub(super) media_type: &'a str,
    /// By which a client asked for it.
    pub(super) tag: Option<&'a str>,
}

/// What the service says of a manifest, now or a while ago.
pub(super) async fn service_word(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    service: &VerdictService,
    manifest: &AskedManifest<'_>,
) -> ServiceWord {
    let (words, clock) = (&context.env.shared_requests.service_verdicts, &*context.env.platform.clock);
    let key = VerdictKey::of_service(service, context.upstream.name(), &context.target.name, manifest.digest);
    if let Some(known) = words.get(&key, clock.now()) {
        return known;
    }
    let work = || async {
        let verdict = ask(context, service, manifest).await;
        tell(context, rule, service, manifest, &verdict);
        let word = ServiceWord::new(service, verdict, clock.now());
        words.keep_until(key, word.clone(), Some(word.until));
        word
    };
    words.flights.join(&key, work).await
}

/// The same as far as memory knows.
pub(crate) fn known_service_verdict(
    context: &RequestContext<'_>,
    service: &VerdictService,
    digest: &Digest,
) -> ServiceVerdict {
    let key = VerdictKey::of_service(service, context.upstream.name(), &context.target.name, digest);
    let known = context.env.shared_requests.service_verdicts.get(&key, context.env.platform.clock.now());
    known.map_or_else(|| service.unanswered(NoAnswer::NotAsked), |word| word.verdict)
}

async fn ask(
    context: &RequestContext<'_>,
    service: &VerdictService,
    manifest: &AskedManifest<'_>,
) -> ServiceVerdict {
    let platform = &context.env.platform;
    let Some(transport) = platform.verdict_services.as_deref() else {
        return service.unanswered(NoAnswer::NoTransport);
    };
    let question = VerdictQuestion {
        registry: context.upstream.name(),
        repository: context.target.name.as_str(),
        digest: manifest.digest.as_str(),
        media_type: manifest.media_type,
        tag: manifest.tag,
    };
    let answer = within(&*platform.clock, service.timeout, send(transport, service, &question)).await;
    answer.unwrap_or(Err(NoAnswer::TooLate)).unwrap_or_else(|why| service.unanswered(why))
}

async fn send(
    transport: &dyn Transport,
    service: &VerdictService,
    question: &VerdictQuestion<'_>,
) -> Result<ServiceVerdict, NoAnswer> {
    let body = serde_json::to_vec(question).map_err(|_| NoAnswer::Unreachable)?;
    let mut request = Request::new(Body::from(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = service.uri.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, JSON);
    headers.insert(USER_AGENT, HeaderValue::from_static(upstream::USER_AGENT));
    // The operator has named the address, so it may be a private one.
    let (reach, purpose) = (Reach::Configured, RequestPurpose::Api);
    let outgoing = Outgoing { request, upstream: service.index, reach, purpose };
    let answer = transport.send(outgoing).await.map_err(|error| {
        // Without the error's source, which may name an address.
        tracing::debug!(service = %service.shown, %error, "a service of [[policy]] cannot be asked");
        NoAnswer::Unreachable
    })?;
    let (head, body) = answer.into_parts();
    let body = body.collect(MAX_ANSWER_BYTES).await.map_err(|error| match error {
        BodyError::TooLarge { .. } => NoAnswer::TooLarge,
        _ => NoAnswer::Unreachable,
    })?;
    Ok(service.verdict_of(head.status, &body))
}

/// Counts a verdict, and says it once.
fn tell(
    context: &RequestContext<'_>,
    rule: &ImagePolicy,
    service: &VerdictService,
    manifest: &AskedManifest<'_>,
    verdict: &ServiceVerdict,
) {
    telemetry::policy_verdict(context.upstream.label(), verdict.as_label());
    let image = format!("{}/{}@{}", context.upstream.name(), context.target.name, manifest.digest);
    let (policy, service) = (&rule.pattern, &service.shown);
    match (rule.decide_service(verdict), verdict.is_allowed()) {
        (PolicyDecision::Serve, _) => {
            tracing::info!(%image, %policy, %service, found = %verdict, "policy is met");
        }
        (PolicyDecision::ServeAndWarn, true) => {
            tracing::warn!(%image, %policy, %service, wanted = WANTED_CONSENT, found = %verdict, "policy cannot tell; served by default");
        }
        (PolicyDecision::ServeAndWarn, false) => {
            tracing::warn!(%image, %policy, %service, wanted = WANTED_CONSENT, found = %verdict, "policy is not met; served, as its mode is warn");
        }
        (PolicyDecision::Refuse, _) => {
            tracing::warn!(%image, %policy, %service, wanted = WANTED_CONSENT, found = %verdict, "policy is not met; refused");
        }
    }
}
