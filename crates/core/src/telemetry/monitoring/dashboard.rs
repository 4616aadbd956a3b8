//! The dashboard. Format: <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>.

use serde_json::{Value, json};

use crate::telemetry::{
    BROKEN, BUDGET, BUILD, CACHE_BYTES, CACHE_ENTRIES, CACHE_LOOKED, CONNECTIONS, CORRUPT, EVENTS, EVICTED,
    EVICTED_BYTES, FILLS, INGESTS, POLICY_VERDICTS, QUOTA_REFUSED, REQUESTS, RESUMED, SENT_BYTES, STORE_FAILURES,
    TAG_MOVES, TOKENS, UPSTREAM_SECONDS,
};

/// The grid of a dashboard is so wide: six numbers, or three plots.
const GRID_COLUMNS: usize = 24;

/// One plot or number.
struct DashboardPanel {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    form: PanelForm,
    /// Each query with what its lines are called.
    queries: Vec<(String, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PanelForm {
    Number,
    Plot,
}

impl PanelForm {
    /// Columns and rows of the grid.
    fn size(self) -> (usize, usize) {
        match self {
            Self::Number => (4, 4),
            Self::Plot => (8, 8),
        }
    }

    /// As Grafana calls it.
    fn kind(self) -> &'static str {
        match self {
            Self::Number => "stat",
            Self::Plot => "timeseries",
        }
    }
}

fn plot(
    title: &'static str,
    unit: &'static str,
    description: &'static str,
    queries: Vec<(String, &'static str)>,
) -> DashboardPanel {
    DashboardPanel { title, description, unit, form: PanelForm::Plot, queries }
}

fn number(title: &'static str, unit: &'static str, description: &'static str, query: String) -> DashboardPanel {
    DashboardPanel { title, description, unit, form: PanelForm::Number, queries: vec![(query, "")] }
}

/// Of the chosen instances.
fn chosen(metric: &str) -> String {
    format!("{metric}{{instance=~\"$instance\"}}")
}

/// Per second, summed by these labels.
fn rate(metric: &str, labels: &str, of: &str) -> String {
    let by = if labels.is_empty() { String::new() } else { format!(" by ({labels})") };
    let of = if of.is_empty() { String::new() } else { format!(",{of}") };
    format!("sum{by} (rate({metric}{{instance=~\"$instance\"{of}}}[$__rate_interval]))")
}

/// The share of one rate in another. What has not happened yet has no counter.
fn share(metric: &str, of: &str, within: &str) -> String {
    format!("({} or vector(0)) / {}", rate(metric, "", of), rate(metric, "", within))
}

fn quantile(quantile: &str) -> String {
    let buckets = rate(&format!("{UPSTREAM_SECONDS}_bucket"), "le, upstream", "");
    format!("histogram_quantile({quantile}, {buckets})")
}

fn numbers() -> Vec<DashboardPanel> {
    /// Requests for content.
    const CONTENT: &str = "endpoint=~\"manifest|blob\"";
    /// Of them, those for which no registry had to send it.
    const SAVED: &str = "endpoint=~\"manifest|blob\",outcome=~\"hit|joined|revalidated|stale\"";
    vec![
        number("Requests", "reqps", "Requests per second.", rate(REQUESTS, "", "")),
        number(
            "From the cache",
            "percentunit",
            "The share of manifests and blobs that no registry had to send: hit, joined, revalidated and stale.",
            share(REQUESTS, SAVED, CONTENT),
        ),
        number("To clients", "Bps", "Bytes of bodies per second.", rate(SENT_BYTES, "", "")),
        number(
            "Server errors",
            "percentunit",
            "The share of answers with a status of 500 and above.",
            share(REQUESTS, "status=\"5xx\"", ""),
        ),
        number("Connections", "short", "Open connections from clients.", format!("sum ({})", chosen(CONNECTIONS))),
        number(
            "Cache",
            "bytes",
            "Bytes in the cache, downloads in progress included.",
            format!("max ({})", chosen(CACHE_BYTES)),
        ),
    ]
}

fn of_requests_and_registries() -> Vec<DashboardPanel> {
    vec![
        plot(
            "Requests by outcome",
            "reqps",
            "docs/reference/outcomes.md explains each.",
            vec![(rate(REQUESTS, "outcome", ""), "{{outcome}}")],
        ),
        plot(
            "Errors by reason",
            "reqps",
            "Answers of 429 and of 500 and above.",
            vec![(rate(REQUESTS, "status, why", "status=~\"429|5xx\""), "{{status}} {{why}}")],
        ),
        plot(
            "Bytes to clients",
            "Bps",
            "Bodies that were sent, by registry and endpoint.",
            vec![(rate(SENT_BYTES, "upstream, endpoint", ""), "{{upstream}} {{endpoint}}")],
        ),
        plot(
            "Registries: time until an answer begins",
            "s",
            "The median and the slowest twentieth.",
            vec![(quantile("0.5"), "{{upstream}} median"), (quantile("0.95"), "{{upstream}} 95 %")],
        ),
        plot(
            "Registries: answers",
            "reqps",
            "By status; none: no answer came.",
            vec![(rate(&format!("{UPSTREAM_SECONDS}_count"), "upstream, status", ""), "{{upstream}} {{status}}")],
        ),
        plot(
            "Registries: pulls left",
            "short",
            "What a registry last reported for an account. Only registries that say it have a line.",
            vec![(format!("min by (upstream, credential) ({})", chosen(BUDGET)), "{{upstream}} {{credential}}")],
        ),
        plot(
            "Downloads into the cache",
            "ops",
            "Blobs that were fetched into the cache, and slices of uploads in parts.",
            vec![
                (rate(FILLS, "upstream, result", ""), "{{upstream}} {{result}}"),
                (rate(INGESTS, "upstream, result", ""), "{{upstream}} in parts: {{result}}"),
            ],
        ),
        plot(
            "Bodies that broke",
            "ops",
            "Resumed ones reached the client whole; broken ones ended short, and the client tries again.",
            vec![
                (rate(BROKEN, "upstream", ""), "{{upstream}} broken"),
                (rate(RESUMED, "upstream", ""), "{{upstream}} resumed"),
            ],
        ),
        plot(
            "Tokens",
            "ops",
            "Tokens that were asked of token servers.",
            vec![(rate(TOKENS, "upstream, result", ""), "{{upstream}} {{result}}")],
        ),
    ]
}

fn of_the_cache() -> Vec<DashboardPanel> {
    vec![
        plot(
            "Content of the cache",
            "short",
            "As last counted. Blobs are layers and configurations.",
            vec![(format!("max by (kind) ({})", chosen(CACHE_ENTRIES)), "{{kind}}")],
        ),
        plot("Evictions", "ops", "What had to make room.", vec![(rate(EVICTED, "kind", ""), "{{kind}}")]),
        plot(
            "Bytes evicted",
            "Bps",
            "If this is near the bytes of downloads, the cache is too small: cache.max_size.",
            vec![(rate(EVICTED_BYTES, "", ""), "evicted")],
        ),
        plot(
            "Failures of the store",
            "ops",
            "Clients get their content nevertheless; it is not cached.",
            vec![(rate(STORE_FAILURES, "what, why", ""), "{{what}}: {{why}}")],
        ),
        plot(
            "Corrupt content",
            "short",
            "Stored content that no longer had its digest, since the start of the process. It was removed, not served.",
            vec![(format!("sum by (kind) ({})", chosen(CORRUPT)), "{{kind}}")],
        ),
        plot(
            "Since the cache was counted",
            "s",
            "It is counted every ten minutes at the latest.",
            vec![(format!("time() - max by (instance) ({})", chosen(CACHE_LOOKED)), "{{instance}}")],
        ),
        plot(
            "Refused by a limit of [quota]",
            "reqps",
            "By the key of the limit.",
            vec![(rate(QUOTA_REFUSED, "limit", ""), "{{limit}}")],
        ),
        plot(
            "Held tags that moved",
            "short",
            "By upstream, in the last hour. Clients get what they got before: hold in [[cache.tags]].",
            vec![(format!("sum by (upstream) (increase({}[1h]))", chosen(TAG_MOVES)), "{{upstream}}")],
        ),
        plot(
            "Verdicts of [[policy]]",
            "short",
            "By upstream and verdict, in the last hour. Each is found once and then remembered.",
            vec![(
                format!("sum by (upstream, verdict) (increase({}[1h]))", chosen(POLICY_VERDICTS)),
                "{{upstream}} {{verdict}}",
            )],
        ),
        plot(
            "Versions",
            "short",
            "Instances by their version.",
            vec![(format!("count by (version) ({})", chosen(BUILD)), "{{version}}")],
        ),
        plot(
            "Events",
            "ops",
            "What was told to the receivers of [[events]]; dropped ones never reached them.",
            vec![(rate(EVENTS, "event, result", ""), "{{event}} {{result}}")],
        ),
    ]
}

/// `deploy/grafana/dashboard.json`
pub fn dashboard() -> String {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let (mut placed, mut x, mut y) = (Vec::new(), 0, 0);
    for panel in numbers().into_iter().chain(of_requests_and_registries()).chain(of_the_cache()) {
        // Numbers come first and fill a row, so all in a row are equally high.
        let (columns, rows) = panel.form.size();
        placed.push(shown(&panel, &source, placed.len() + 1, (x, y)));
        x += columns;
        if x == GRID_COLUMNS {
            (x, y) = (0, y + rows);
        }
    }
    let dashboard = json!({
        "title": "registry-proxy",
        "uid": "registry-proxy",
        "description": "Made from the code by `cargo xtask docs`; do not edit.",
        "tags": ["registry-proxy"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus" },
            {
                "name": "instance",
                "label": "Instance",
                "type": "query",
                "datasource": source,
                "query": { "query": format!("label_values({BUILD}, instance)"), "refId": "instance" },
                "refresh": 2,
                "multi": true,
                "includeAll": true,
                "allValue": ".*",
                "current": { "text": "All", "value": "$__all" },
            },
        ] },
        "panels": placed,
    });
    format!("{dashboard:#}\n")
}

fn shown(panel: &DashboardPanel, source: &Value, id: usize, (x, y): (usize, usize)) -> Value {
    let (columns, rows) = panel.form.size();
    let target = |(letter, (query, legend)): (char, &(String, &'static str))| json!({ "refId": letter.to_string(), "datasource": source, "expr": query, "legendFormat": legend });
    let targets: Vec<Value> = ('A'..='Z').zip(&panel.queries).map(target).collect();
    json!({
        "id": id,
        "type": panel.form.kind(),
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": { "x": x, "y": y, "w": columns, "h": rows },
        "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
        "targets": targets,
    })
}
