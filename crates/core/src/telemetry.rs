//! Names of metrics, in one place. Labels are closed sets: no name of a repository or a client is ever one.

#[cfg(feature = "schema")]
pub mod monitoring;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Histogram, SharedString};

use crate::outcome::Outcome;

/// Requests, by upstream, endpoint, status and outcome.
pub const REQUESTS: &str = "registry_proxy_requests_total";
/// Bytes of bodies sent to clients, by upstream and endpoint.
pub const SENT_BYTES: &str = "registry_proxy_sent_bytes_total";
/// Bodies that ended short, by upstream.
pub const BROKEN: &str = "registry_proxy_broken_bodies_total";
/// Seconds until an upstream's answer began, by upstream and status.
pub const UPSTREAM_SECONDS: &str = "registry_proxy_upstream_seconds";
/// Tokens fetched from upstreams, by upstream and result.
pub const TOKENS: &str = "registry_proxy_token_fetches_total";
/// Bodies resumed at the upstream in mid-flight, by upstream.
pub const RESUMED: &str = "registry_proxy_resumed_bodies_total";

/// Blobs fetched into the cache, by upstream and result.
pub const FILLS: &str = "registry_proxy_fills_total";
/// Slices of uploads in parts.
pub const INGESTS: &str = "registry_proxy_ingests_total";
/// What the store did not do, by operation and reason.
pub const STORE_FAILURES: &str = "registry_proxy_store_failures_total";
/// Stored content that did not have its digest any more, by kind.
pub const CORRUPT: &str = "registry_proxy_corrupt_total";

/// Held tags whose upstream moved them, by upstream.
pub const TAG_MOVES: &str = "registry_proxy_tag_moves_total";

/// Verdicts on the signatures that `[[policy]]` wants, and of its services, by upstream and verdict.
pub const POLICY_VERDICTS: &str = "registry_proxy_policy_verdicts_total";

/// Pulls left of the budget that an upstream grants an account of ours.
pub const BUDGET: &str = "registry_proxy_budget_remaining";

/// What went from the cache to make room, by kind.
pub const EVICTED: &str = "registry_proxy_cache_evicted_total";
/// Bytes of what went.
pub const EVICTED_BYTES: &str = "registry_proxy_cache_evicted_bytes_total";
/// What was in the cache when it was last looked through, by kind.
pub const CACHE_ENTRIES: &str = "registry_proxy_cache_entries";
/// Bytes of all that is there or arriving.
pub const CACHE_BYTES: &str = "registry_proxy_cache_bytes";
/// When that was, in seconds since 1970.
pub const CACHE_LOOKED: &str = "registry_proxy_cache_looked_timestamp_seconds";

/// Requests that a quota refused, by the key of the limit.
pub const QUOTA_REFUSED: &str = "registry_proxy_quota_refused_total";
/// The same by its old name and with the old keys.
pub const GUARD_REFUSED: &str = "registry_proxy_guard_refused_total";

/// Events that an operator is told, by kind and result.
pub const EVENTS: &str = "registry_proxy_events_total";
/// Open connections from clients, which the server counts.
pub const CONNECTIONS: &str = "registry_proxy_connections";
/// Always 1; its labels describe the server's build.
pub const BUILD: &str = "registry_proxy_build_info";

/// Metrics that rise and fall.
pub const GAUGES: [(&str, &str); 4] = [
    (
        BUDGET,
        "Pulls left, as the upstream last reported, by upstream and credential: anonymous, account (username), docker_config, login, or the index of an entry of credentials",
    ),
    (CACHE_ENTRIES, "Blobs, manifests and tags in the cache at its last scan, by kind"),
    (
        CACHE_BYTES,
        "Bytes in the cache, small records and downloads in progress included: at the last scan, plus the downloads begun since",
    ),
    (CACHE_LOOKED, "Time of the last scan of the cache, in seconds since 1970"),
];

/// Every other metric with its unit and meaning, for an exporter to describe.
pub const DESCRIPTIONS: [(&str, &str); 17] = [
    (REQUESTS, "Requests, by upstream, endpoint, method, status and outcome"),
    (SENT_BYTES, "Bytes of bodies sent to clients, by upstream and endpoint"),
    (BROKEN, "Bodies that ended before their full length, by upstream"),
    (UPSTREAM_SECONDS, "Seconds until an upstream's response began, by upstream and status"),
    (TOKENS, "Tokens fetched from upstreams, by upstream and result"),
    (RESUMED, "Bodies that broke off and were resumed at the upstream, by upstream"),
    (FILLS, "Blobs fetched into the cache, by upstream and result"),
    (INGESTS, "Slices of blobs uploaded to the store in parts, by upstream and result"),
    (STORE_FAILURES, "Failed operations of the store, by operation and reason"),
    (CORRUPT, "Stored content that no longer matched its digest, by kind"),
    (TAG_MOVES, "Tags with a hold that their upstream moved to another manifest, by upstream"),
    (
        POLICY_VERDICTS,
        "Verdicts of [[policy]], by upstream and verdict: on a signature signed, part of a signed index, no image, unsigned, rejected, or unknown; of a service allowed, denied, or unanswered",
    ),
    (EVICTED, "Blobs, manifests and tags evicted from the cache, by kind"),
    (EVICTED_BYTES, "Bytes evicted from the cache"),
    (QUOTA_REFUSED, "Requests refused by a limit of [quota], by the key of that limit"),
    (
        EVENTS,
        "Events for the receivers of [[events]], by event and result: sent, dropped, or repeated (not sent again)",
    ),
    (GUARD_REFUSED, "Old name of registry_proxy_quota_refused_total, with the old keys; will be removed"),
];

/// A token was asked of an upstream's token server.
pub(crate) fn token_fetched(upstream: &Arc<str>, result: &'static str) {
    metrics::counter!(TOKENS, "upstream" => Arc::clone(upstream), "result" => result).increment(1);
}

/// An upstream has said what is left of a budget.
pub(crate) fn budget_told(upstream: &Arc<str>, credential: metrics::SharedString, remaining: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float, and no budget is that large")]
    let remaining = remaining as f64;
    metrics::gauge!(BUDGET, "upstream" => Arc::clone(upstream), "credential" => credential).set(remaining);
}

/// A body broke and goes on.
pub(crate) fn resumed(upstream: &Arc<str>) {
    metrics::counter!(RESUMED, "upstream" => Arc::clone(upstream)).increment(1);
}

/// It was found out whether an image has the signature, or the consent of a service, that its policy wants.
pub(crate) fn policy_verdict(upstream: &Arc<str>, verdict: &'static str) {
    metrics::counter!(POLICY_VERDICTS, "upstream" => Arc::clone(upstream), "verdict" => verdict).increment(1);
}

/// A quota refused a request.
pub(crate) fn quota_refused(limit: &'static str) {
    metrics::counter!(QUOTA_REFUSED, "limit" => limit).increment(1);
    let old = limit.replacen("quota", "guard", 1);
    metrics::counter!(GUARD_REFUSED, "limit" => old).increment(1);
}

/// An event was sent to a receiver, or was not.
pub fn event(kind: &'static str, result: &'static str) {
    metrics::counter!(EVENTS, "event" => kind, "result" => result).increment(1);
}

/// A fill is over.
pub(crate) fn filled(upstream: &Arc<str>, result: &'static str) {
    metrics::counter!(FILLS, "upstream" => Arc::clone(upstream), "result" => result).increment(1);
}

/// A slice of an upload in parts is over.
pub(crate) fn ingested(upstream: &Arc<str>, result: &'static str) {
    metrics::counter!(INGESTS, "upstream" => Arc::clone(upstream), "result" => result).increment(1);
}

/// An upstream moved a tag that is held.
pub(crate) fn tag_moved(upstream: &Arc<str>) {
    metrics::counter!(TAG_MOVES, "upstream" => Arc::clone(upstream)).increment(1);
}

/// The store failed.
pub(crate) fn store_failed(what: &'static str, why: &'static str) {
    metrics::counter!(STORE_FAILURES, "what" => what, "why" => why).increment(1);
}

/// Something stored was thrown away for its digest.
pub(crate) fn corrupt(kind: &'static str) {
    metrics::counter!(CORRUPT, "kind" => kind).increment(1);
}

/// How many blobs, manifests and tags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryCounts {
    pub(crate) blobs: u64,
    pub(crate) manifests: u64,
    pub(crate) tags: u64,
}

impl EntryCounts {
    /// Each with its label.
    fn by_kind(self) -> [(&'static str, u64); 3] {
        [("blob", self.blobs), ("manifest", self.manifests), ("tag", self.tags)]
    }
}

/// The cache evicted so many entries, of so many bytes.
pub(crate) fn evicted(entries: EntryCounts, bytes: u64) {
    for (kind, count) in entries.by_kind() {
        metrics::counter!(EVICTED, "kind" => kind).increment(count);
    }
    metrics::counter!(EVICTED_BYTES).increment(bytes);
}

/// The cache was looked through at `now`, in seconds since 1970, and holds so many entries.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn surveyed(entries: EntryCounts, now: u64) {
    for (kind, count) in entries.by_kind() {
        metrics::gauge!(CACHE_ENTRIES, "kind" => kind).set(count as f64);
    }
    metrics::gauge!(CACHE_LOOKED).set(now as f64);
}

/// So many bytes are in the cache, or on their way into it.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn holds(bytes: u64) {
    metrics::gauge!(CACHE_BYTES).set(bytes as f64);
}

/// What is known of a request when its answer has been sent.
pub(crate) struct Answered<'a> {
    pub(crate) endpoint: &'static str,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    pub(crate) sent_bytes: u64,
    pub(crate) is_broken: bool,
}

/// What [`class_of`] may say, and `none`.
const STATUS_CLASSES: usize = 9;

/// Sets of labels that are found without a lock: most requests have one of very few.
const COMMON_LABELS: usize = 8;

/// The counters of one upstream's requests. Each is looked up by its labels once: that takes longer than all the rest of a
/// count.
pub(crate) struct RequestCounters {
    upstream: Arc<str>,
    /// Those that came first. Cores that only read them do not take them from each other, as they would a lock.
    common: [OnceLock<(RequestLabels, CountersOfLabels)>; COMMON_LABELS],
    /// All others.
    by_labels: RwLock<HashMap<RequestLabels, CountersOfLabels>>,
    /// How long it took to answer, by what `class_of` says of the status.
    seconds: [OnceLock<(&'static str, Histogram)>; STATUS_CLASSES],
}

/// Labels of a request, each of a closed set, so that there are not many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestLabels {
    endpoint: &'static str,
    method: &'static str,
    status: &'static str,
    outcome: Outcome,
}

struct CountersOfLabels {
    requests: Counter,
    sent_bytes: Counter,
}

impl CountersOfLabels {
    fn count(&self, sent_bytes: u64) {
        self.requests.increment(1);
        self.sent_bytes.increment(sent_bytes);
    }
}

impl RequestCounters {
    /// Of the upstream with this name; empty: of none.
    pub(crate) fn new(upstream: &str) -> Arc<Self> {
        let common = [const { OnceLock::new() }; COMMON_LABELS];
        let seconds = [const { OnceLock::new() }; STATUS_CLASSES];
        Arc::new(Self { upstream: upstream.into(), common, by_labels: RwLock::default(), seconds })
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// The upstream's answer began, or never came.
    pub(crate) fn upstream_answered(&self, after: Duration, status: Option<StatusCode>) {
        let class = status.map_or("none", class_of);
        let of_class = || {
            let upstream = Arc::clone(&self.upstream);
            (class, metrics::histogram!(UPSTREAM_SECONDS, "upstream" => upstream, "status" => class))
        };
        let known =
            self.seconds.iter().map(|place| place.get_or_init(of_class)).find(|(known, _)| *known == class);
        if let Some((_, histogram)) = known {
            histogram.record(after);
        }
    }

    /// A request is over.
    pub(crate) fn answered(&self, answered: &Answered<'_>) {
        let labels = RequestLabels {
            endpoint: answered.endpoint,
            method: method_of(answered.method),
            status: class_of(answered.status),
            outcome: answered.outcome,
        };
        let count = |counters: &CountersOfLabels| counters.count(answered.sent_bytes);
        let new = || (labels, self.register(labels));
        let common = self.common.iter().map(|place| place.get_or_init(new)).find(|(known, _)| *known == labels);
        if let Some((_, counters)) = common {
            count(counters);
        } else {
            let known = self.by_labels.read().unwrap_or_else(PoisonError::into_inner).get(&labels).map(count);
            if known.is_none() {
                let mut all = self.by_labels.write().unwrap_or_else(PoisonError::into_inner);
                count(all.entry(labels).or_insert_with(|| self.register(labels)));
            }
        }
        if answered.is_broken {
            metrics::counter!(BROKEN, "upstream" => Arc::clone(&self.upstream)).increment(1);
        }
    }

    fn register(&self, labels: RequestLabels) -> CountersOfLabels {
        let upstream = SharedString::from(Arc::clone(&self.upstream));
        let RequestLabels { endpoint, method, status, outcome } = labels;
        let of_bytes = [("upstream", upstream.clone()), ("endpoint", endpoint.into())];
        let of_request = [
            ("upstream", upstream),
            ("endpoint", endpoint.into()),
            ("method", method.into()),
            ("status", status.into()),
            ("outcome", outcome.action.as_str().into()),
            ("why", outcome.reason.as_str().into()),
        ];
        CountersOfLabels {
            requests: metrics::counter!(REQUESTS, &of_request),
            sent_bytes: metrics::counter!(SENT_BYTES, &of_bytes),
        }
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        401 => "401",
        404 => "404",
        429 => "429",
        400..500 => "4xx",
        _ => "5xx",
    }
}

fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
