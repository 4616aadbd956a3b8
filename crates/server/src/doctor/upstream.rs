//! One registry: the way to it, what `/v2/` says, its token server, its clock.

use std::time::{Duration, Instant, SystemTime};

use http::header::{DATE, HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use http::{HeaderMap, Request};
use registry_proxy_core::config::UpstreamConfig;
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport as _};
use registry_proxy_core::upstream::{USER_AGENT, UpstreamChallenge, reach_of_realm};
use registry_proxy_core::{Body, Config};
use url::Url;

use super::connect::{self, Steps};
use super::diagnosis::{self, Obstacle};
use super::finding::Finding;
use crate::transport::HyperTransport;

/// The head of an answer.
struct Head {
    status: u16,
    headers: HeaderMap,
    taken: Duration,
}

/// What was found of one upstream, and how far its clock is from ours (`true`: we are ahead).
pub(crate) async fn findings(
    transport: &HyperTransport,
    config: &Config,
    index: usize,
) -> (Vec<Finding>, Option<(Duration, bool)>) {
    let Some(upstream) = config.upstream.get(index) else { return (Vec::new(), None) };
    let subject = format!("upstream {}", upstream.name);
    let (mut findings, mut clock) = (Vec::new(), None);
    for url in &upstream.urls {
        let asked = Asked { transport, config, upstream, index, subject: &subject };
        let (found, seen) = asked.address(url).await;
        findings.extend(found);
        clock = clock.or(seen);
    }
    (findings, clock)
}

struct Asked<'a> {
    transport: &'a HyperTransport,
    config: &'a Config,
    upstream: &'a UpstreamConfig,
    index: usize,
    subject: &'a str,
}

impl Asked<'_> {
    /// One address, up to the first obstacle.
    async fn address(&self, url: &Url) -> (Vec<Finding>, Option<(Duration, bool)>) {
        let shown = shown(url);
        let way = connect::egress(self.upstream, url);
        let limit = self.config.timeouts.connect.0;
        let steps = match &way {
            // Names are resolved and TLS is spoken behind it.
            Some(_) => Steps::default(),
            None => match connect::connect(self.upstream, url, limit).await {
                (steps, Ok(_)) => steps,
                (_, Err(obstacle)) => return (vec![obstacle.finding(self.subject, &shown, true)], None),
            },
        };
        let mut ping = url.clone();
        ping.set_path(&format!("{}/v2/", url.path().trim_end_matches('/')));
        let by_way = way.as_ref().map(|way| format!(" by {way}")).unwrap_or_default();
        let head = match self.get(&ping, Reach::Configured).await {
            Ok(head) => head,
            Err(obstacle) => {
                return (vec![obstacle.finding(self.subject, &format!("{shown}{by_way}"), true)], None);
            }
        };
        let challenge = UpstreamChallenge::choose(&head.headers, &ping);
        let mut findings: Vec<Finding> = Vec::new();
        let mut taken = steps.taken;
        taken.push(format!("/v2/ {} ms ({})", head.taken.as_millis(), head.status));
        findings.extend(diagnosis::of_ping(self.subject, head.status, challenge.is_some()));
        if let (401, Some(UpstreamChallenge::Bearer { realm, service })) = (head.status, challenge) {
            match self.token_server(realm, service).await {
                Ok(step) => taken.push(step),
                Err(finding) => findings.push(finding),
            }
        }
        let whose = format!("the certificate of {shown}");
        let end = steps.certificate_days.and_then(|days| diagnosis::of_end(self.subject, &whose, days));
        findings
            .extend(end.map(|finding| Finding { next: Some("its operator must renew it".to_owned()), ..finding }));
        let ways = way.map_or_else(|| "directly".to_owned(), |way| format!("by {way}"));
        if findings.is_empty() {
            findings.push(Finding::ok(self.subject, format!("{shown}, {ways}: {}", taken.join(", "))));
        }
        (findings, clock(&head.headers))
    }

    /// Asks for a token without a login: any answer shows that it is reached.
    async fn token_server(&self, realm: Url, service: Option<String>) -> Result<String, Finding> {
        let mut url = realm;
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        let host = shown(&url);
        let what = format!("its token server {host}");
        let reach = reach_of_realm(self.upstream, &url).unwrap_or(Reach::Public);
        let head = self.get(&url, reach).await.map_err(|obstacle| {
            let finding = obstacle.finding(self.subject, &what, true);
            let next = finding.next.unwrap_or_default();
            Finding { next: Some(format!("for {host}: {next}")), ..finding }
        })?;
        if head.status >= 500 {
            return Err(Finding::error(
                self.subject,
                format!("{what} answers {}", head.status),
                "try again later: without tokens nothing can be pulled that is not cached",
            ));
        }
        Ok(format!("token server {} {} ms ({})", host, head.taken.as_millis(), head.status))
    }

    async fn get(&self, url: &Url, reach: Reach) -> Result<Head, Obstacle> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = url.as_str().parse().map_err(|_| Obstacle::Unknown)?;
        request.headers_mut().insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        let outgoing = Outgoing { request, upstream: self.index, reach, purpose: RequestPurpose::Api };
        let begun = Instant::now();
        let sent = tokio::time::timeout(self.config.timeouts.first_byte.0, self.transport.send(outgoing)).await;
        let response = sent.map_err(|_| Obstacle::TimedOut)?.map_err(|error| Obstacle::of_request(&error))?;
        let taken = begun.elapsed();
        let (parts, _) = response.into_parts();
        Ok(Head { status: parts.status.as_u16(), headers: parts.headers, taken })
    }
}

/// Scheme, host and port: no login, no path.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn clock(headers: &HeaderMap) -> Option<(Duration, bool)> {
    clock_of(headers.get(DATE)?.to_str().ok()?)
}

/// How far a `Date` is from our clock, and whether we are ahead.
pub(crate) fn clock_of(date: &str) -> Option<(Duration, bool)> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let ours = SystemTime::now();
    Some(match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, true),
        Err(behind) => (behind.duration(), false),
    })
}
