//! The dashboard and the alerts of deploy/, on the metrics of the finished binary.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Program, Tool, wait_until};
use registry_proxy_outer::prometheus::Prometheus;
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Context, Outcome};

use crate::stage::{proxy_to, seed};

const DEADLINE: Duration = Duration::from_mins(1);

/// Panels that have nothing to show while all is well, or where no tag is held, no `[[policy]]` is configured, and a
/// registry asks for no token and reports no budget.
const QUIET: [&str; 12] = [
    "Bodies that broke",
    "Bytes evicted",
    "Corrupt content",
    "Errors by reason",
    "Events",
    "Evictions",
    "Failures of the store",
    "Held tags that moved",
    "Refused by a limit of [quota]",
    "Registries: pulls left",
    "Tokens",
    "Verdicts of [[policy]]",
];

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path)
}

/// The panels, each with its queries as Grafana would send them.
fn panels() -> Outcome<Vec<(String, Vec<String>)>> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(deploy("grafana/dashboard.json"))?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let queries = |panel: &serde_json::Value| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let expressions = targets.filter_map(|target| target["expr"].as_str());
        expressions.map(|text| text.replace("$instance", ".*").replace("$__rate_interval", "1m")).collect()
    };
    Ok(panels
        .iter()
        .map(|panel| (panel["title"].as_str().unwrap_or_default().to_owned(), queries(panel)))
        .collect())
}

#[test]
fn prometheus_answers_every_query_of_the_dashboard_and_judges_every_alert() -> Outcome {
    let registry = Registry::seeded(seed()?)?;
    let proxy = proxy_to(&registry)?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    // From the registry, and then from the cache.
    Skopeo::new()?.pull(&image, &[])?;
    Skopeo::new()?.pull(&image, &[])?;
    let prometheus = Prometheus::start(proxy.address(), &deploy("prometheus/rules.yaml"))?;
    let panels = panels()?;
    ensure(panels.len() > 20, format_args!("{panels:?}"))?;
    for title in QUIET {
        ensure(panels.iter().any(|(panel, _)| panel == title), format_args!("no panel {title}"))?;
    }
    for (title, queries) in &panels {
        ensure(!queries.is_empty(), format_args!("{title} asks nothing"))?;
        let count = || -> Outcome<usize> {
            let counts = queries.iter().map(|query| prometheus.count(query)).collect::<Outcome<Vec<usize>>>()?;
            Ok(counts.iter().sum())
        };
        if QUIET.contains(&title.as_str()) {
            equal(title, &count()?, &0)?;
        } else {
            wait_until(&format!("{title} should show something"), DEADLINE, || Ok((count()? > 0).then_some(())))?;
        }
    }
    let alerts = wait_until("every alert should be judged", DEADLINE, || {
        let alerts = prometheus.alerts()?;
        Ok(alerts.iter().all(|(_, health)| health != "unknown").then_some(alerts))
    })?;
    ensure(alerts.len() >= 12, format_args!("{alerts:?}"))?;
    ensure(alerts.iter().all(|(_, health)| health == "ok"), format_args!("{alerts:?}"))
}

#[test]
fn the_alerts_are_raised_when_they_should_be() -> Outcome {
    let path = |name: &str| deploy(name).display().to_string();
    let promtool = |words: &[&str]| Program::tool(Tool::PROMTOOL)?.arguments(words).run(DEADLINE)?.success();
    let said = promtool(&["check", "rules", &path("prometheus/rules.yaml")])?;
    ensure(said.contains("SUCCESS"), said)?;
    let said = promtool(&["test", "rules", &path("prometheus/rules.test.yaml")])?;
    ensure(said.contains("SUCCESS"), said)?;
    // Every alert has such a test.
    let (rules, tests) = (
        fs::read_to_string(deploy("prometheus/rules.yaml"))?,
        fs::read_to_string(deploy("prometheus/rules.test.yaml"))?,
    );
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let raised = tests
            .split(&format!("alertname: {name}\n"))
            .skip(1)
            .any(|rest| rest.trim_start().starts_with("exp_alerts"));
        ensure(raised, format_args!("no test raises {name}"))?;
    }
    Ok(())
}
