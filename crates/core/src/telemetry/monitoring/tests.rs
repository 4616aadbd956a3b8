//! What is in the repository is what the code makes, and leaves nothing out.

use super::{dashboard, rules};
use crate::telemetry::{BUILD, CONNECTIONS, DESCRIPTIONS, GAUGES, GUARD_REFUSED};

const OPERATE: &str = include_str!("../../../../../docs/how-to/operate.md");

#[test]
fn the_files_of_deploy_are_what_the_code_says() {
    let message = "cargo xtask docs writes them again";
    assert!(include_str!("../../../../../deploy/grafana/dashboard.json") == dashboard(), "{message}");
    assert!(include_str!("../../../../../deploy/prometheus/rules.yaml") == rules(), "{message}");
    assert!(
        include_str!("../../../../../deploy/kubernetes/chart/files/dashboard.json") == dashboard(),
        "{message}"
    );
    assert!(include_str!("../../../../../deploy/kubernetes/chart/files/rules.yaml") == rules(), "{message}");
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let shown = dashboard();
    let described = DESCRIPTIONS.iter().chain(&GAUGES).map(|(name, _)| *name);
    for metric in described.chain([BUILD, CONNECTIONS]).filter(|name| *name != GUARD_REFUSED) {
        assert!(shown.contains(metric), "{metric}");
    }
}

#[test]
fn panels_do_not_overlap_and_have_titles_of_their_own() {
    let shown: serde_json::Value = serde_json::from_str(&dashboard()).unwrap();
    let mut titles = std::collections::HashSet::new();
    let mut cells = std::collections::HashSet::new();
    for panel in shown["panels"].as_array().unwrap() {
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{panel}");
            }
        }
    }
}

#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let rules = rules();
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let urls: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert!(names.len() >= 12 && names.len() == urls.len(), "{names:?}");
    for (name, url) in names.iter().zip(urls) {
        let anchor = url.rsplit_once('#').unwrap().1;
        assert!(url.contains("/docs/how-to/operate.md#") && anchor == name.to_lowercase(), "{url}");
        assert!(OPERATE.contains(&format!("\n### {name}\n")), "docs/how-to/operate.md has no section {name}");
    }
    let sections = OPERATE.lines().filter_map(|line| line.strip_prefix("### RegistryProxy"));
    assert_eq!(sections.count(), names.len(), "a section without its alert");
}
