//! The alerts. Each has a section in docs/how-to/operate.md that says what it means and what to do.

use std::fmt::Write as _;

use crate::telemetry::{
    BROKEN, BUDGET, BUILD, CACHE_LOOKED, CORRUPT, QUOTA_REFUSED, REQUESTS, STORE_FAILURES, TOKENS,
    UPSTREAM_SECONDS,
};

/// Where the sections are; the anchor of each is its alert's name in lower case.
const RUNBOOK: &str = "https://github.com/registry-proxy/registry-proxy/blob/main/docs/how-to/operate.md#";

/// One alert.
struct AlertRule {
    name: &'static str,
    expression: String,
    /// How long it must hold.
    lasts: &'static str,
    severity: AlertSeverity,
    summary: &'static str,
}

#[derive(Clone, Copy)]
enum AlertSeverity {
    /// Pulls fail.
    Critical,
    /// They will, or they cost more than they need.
    Warning,
}

impl AlertSeverity {
    fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

fn critical(name: &'static str, lasts: &'static str, expression: String, summary: &'static str) -> AlertRule {
    AlertRule { name, expression, lasts, severity: AlertSeverity::Critical, summary }
}

fn warning(name: &'static str, lasts: &'static str, expression: String, summary: &'static str) -> AlertRule {
    AlertRule { name, expression, lasts, severity: AlertSeverity::Warning, summary }
}

/// Per second, summed by these labels beside the job.
fn rate(metric: &str, by: &str, of: &str, over: &str) -> String {
    format!("sum by (job{by}) (rate({metric}{of}[{over}]))")
}

/// A counter that has grown within an hour. One that begins with its first value has no rate then.
fn has_grown(counter: &str) -> String {
    format!("increase({counter}[1h]) > 0 or ({counter} > 0 unless {counter} offset 1h)")
}

fn alerts() -> Vec<AlertRule> {
    let answers = format!("{UPSTREAM_SECONDS}_count");
    let share = |part: String, whole: String, limit: &str| format!("{part} / {whole} > {limit}");
    vec![
        critical(
            "RegistryProxyDown",
            "2m",
            format!("up == 0 and on (job, instance) last_over_time({BUILD}[1d])"),
            "{{ $labels.instance }} does not answer",
        ),
        critical(
            "RegistryProxyErrors",
            "10m",
            share(rate(REQUESTS, "", "{status=\"5xx\"}", "5m"), rate(REQUESTS, "", "", "5m"), "0.05"),
            "{{ $value | humanizePercentage }} of the requests fail",
        ),
        critical(
            "RegistryProxyUpstreamFailing",
            "5m",
            share(
                rate(&answers, ", upstream", "{status=~\"none|5xx\"}", "5m"),
                rate(&answers, ", upstream", "", "5m"),
                "0.5",
            ),
            "{{ $labels.upstream }} fails {{ $value | humanizePercentage }} of the proxy's requests",
        ),
        warning(
            "RegistryProxyUpstreamSlow",
            "15m",
            format!(
                "histogram_quantile(0.95, {}) > 5",
                rate(&format!("{UPSTREAM_SECONDS}_bucket"), ", upstream, le", "", "10m")
            ),
            "{{ $labels.upstream }} needs {{ $value | humanizeDuration }} until its answers begin",
        ),
        warning(
            "RegistryProxyRateLimited",
            "5m",
            format!("{} > 0", rate(&answers, ", upstream", "{status=\"429\"}", "5m")),
            "{{ $labels.upstream }} answers 429 to the proxy",
        ),
        warning(
            "RegistryProxyBudgetLow",
            "5m",
            format!("{BUDGET} < 20"),
            "{{ $labels.upstream }} leaves {{ $value }} pulls to the account {{ $labels.credential }}",
        ),
        warning(
            "RegistryProxyTokensFailing",
            "10m",
            format!("{} > 0", rate(TOKENS, ", upstream, result", "{result!=\"ok\"}", "10m")),
            "the token server of {{ $labels.upstream }} gives no tokens: {{ $labels.result }}",
        ),
        warning(
            "RegistryProxyBodiesBreak",
            "10m",
            share(
                rate(BROKEN, ", upstream", "", "10m"),
                rate(REQUESTS, ", upstream", "{endpoint=\"blob\"}", "10m"),
                "0.05",
            ),
            "{{ $value | humanizePercentage }} of the blobs from {{ $labels.upstream }} end short",
        ),
        warning(
            "RegistryProxyStoreFailing",
            "10m",
            format!("{} > 0", rate(STORE_FAILURES, ", what, why", "", "10m")),
            "the store fails to {{ $labels.what }}: {{ $labels.why }}",
        ),
        warning(
            "RegistryProxyCorrupt",
            "0m",
            has_grown(CORRUPT),
            "stored content ({{ $labels.kind }}) of {{ $labels.instance }} did not have its digest",
        ),
        warning(
            "RegistryProxyCacheNotCounted",
            "10m",
            format!("time() - {CACHE_LOOKED} > 3600"),
            "{{ $labels.instance }} has not looked through its cache for {{ $value | humanizeDuration }}",
        ),
        warning(
            "RegistryProxyQuotaReached",
            "0m",
            has_grown(QUOTA_REFUSED),
            "{{ $labels.limit }} refuses requests at {{ $labels.instance }}",
        ),
    ]
}

/// `deploy/prometheus/rules.yaml`
pub fn rules() -> String {
    let mut text =
        "# Made from the code by `cargo xtask docs`; do not edit. What to do: docs/how-to/operate.md.\n\
                    groups:\n  - name: registry-proxy\n    rules:\n"
            .to_owned();
    for AlertRule { name, expression, lasts, severity, summary } in alerts() {
        let (severity, section) = (severity.word(), name.to_ascii_lowercase());
        // A literal block needs no quoting, whatever is in it. Writing to a String cannot fail.
        let _ = write!(
            text,
            "      - alert: {name}\n        expr: |-\n          {expression}\n        for: {lasts}\n        labels:\n          \
             severity: {severity}\n        annotations:\n          summary: |-\n            {summary}\n          \
             runbook_url: {RUNBOOK}{section}\n"
        );
    }
    text
}
