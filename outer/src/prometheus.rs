//! Prometheus, which reads the product's metrics and judges its alerts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Program, Service, Tool, wait_until};
use crate::proxy::free_port;
use crate::{Context, Outcome, failure, http};

const DEADLINE: Duration = Duration::from_mins(1);

/// One that runs, until it is dropped.
pub struct Prometheus {
    address: SocketAddr,
    client: http::Client,
    _service: Service,
    _folder: TempDir,
}

impl Prometheus {
    /// Reads the metrics of `target` every second, and has these rules.
    pub fn start(target: SocketAddr, rules: &Path) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{}']\n\
             scrape_configs:\n  - job_name: proxy\n    static_configs:\n      - targets: ['{target}']\n",
            rules.display()
        );
        fs::write(inside("prometheus.yml"), config)?;
        let mut service = Program::tool(Tool::PROMETHEUS)?
            .argument(format!("--config.file={}", inside("prometheus.yml")))
            .argument(format!("--storage.tsdb.path={}", inside("data")))
            .argument(format!("--web.listen-address={address}"))
            .start(&folder.path().join("log"))?;
        let client = http::Client::new()?;
        wait_until("Prometheus should be ready", DEADLINE, || {
            failure::ensure(service.is_running()?, format_args!("it ended:\n{}", service.log()))?;
            let answer = client.get(format!("http://{address}/-/ready")).ask();
            Ok(answer.ok().filter(|answer| answer.status.as_u16() == 200).map(|_| ()))
        })?;
        Ok(Self { address, client, _service: service, _folder: folder })
    }

    /// How many series an expression gives now. An error, if it is none.
    pub fn count(&self, expression: &str) -> Outcome<usize> {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let answer = self.ask(&format!("/api/v1/query?{query}"))?;
        failure::ensure(answer["status"] == "success", format_args!("{expression}: {answer}"))?;
        Ok(answer["data"]["result"].as_array().context("a result")?.len())
    }

    /// The alerts' names, each with whether it could be judged: `ok`, `unknown` before the first time, or `err`.
    pub fn alerts(&self) -> Outcome<Vec<(String, String)>> {
        let answer = self.ask("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array().context("groups")?;
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        Ok(rules.map(|rule| (text(rule, "name"), text(rule, "health"))).collect())
    }

    fn ask(&self, path: &str) -> Outcome<Value> {
        self.client.get(format!("http://{}{path}", self.address)).ask()?.json()
    }
}
