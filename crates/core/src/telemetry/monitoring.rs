//! The dashboard for Grafana and the alerts for Prometheus, made with the names of the metrics, so that neither can ask for one
//! that is called otherwise: `deploy/grafana/dashboard.json`, `deploy/prometheus/rules.yaml`, and the same files in the chart.
//!
//! - `dashboard`: what is plotted
//! - `alerts`: what somebody is told of, and which section of docs/how-to/operate.md says what to do

mod alerts;
mod dashboard;
#[cfg(test)]
mod tests;

pub use self::alerts::rules;
pub use self::dashboard::dashboard;
