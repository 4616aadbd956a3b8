//! What registries have left to our accounts, as they told the running server: asking again would cost a pull.

use registry_proxy_core::telemetry::BUDGET;

/// What one registry last said of one account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToldBudget {
    pub(crate) upstream: String,
    pub(crate) credential: String,
    pub(crate) remaining: u64,
}

/// All that the server's metrics have of it.
pub(crate) fn budgets(metrics: &str) -> Vec<ToldBudget> {
    metrics.lines().filter_map(budget).collect()
}

/// `registry_proxy_budget_remaining{upstream="docker.io",credential="anonymous"} 95`
fn budget(line: &str) -> Option<ToldBudget> {
    let (labels, value) = line.strip_prefix(BUDGET)?.strip_prefix('{')?.rsplit_once("} ")?;
    let label = |name: &str| {
        let (_, rest) = labels.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    // The exporter writes whole numbers without a fraction.
    let remaining = value.parse().ok()?;
    Some(ToldBudget { upstream: label("upstream")?, credential: label("credential")?, remaining })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_from_the_metrics() {
        let metrics = "# TYPE registry_proxy_budget_remaining gauge\n\
                       registry_proxy_budget_remaining{upstream=\"docker.io\",credential=\"anonymous\"} 95\n\
                       registry_proxy_budget_remaining{upstream=\"docker.io\",credential=\"account (robot)\"} 0\n\
                       registry_proxy_connections 1\n";
        let told = |credential: &str, remaining| ToldBudget {
            upstream: "docker.io".to_owned(),
            credential: credential.to_owned(),
            remaining,
        };
        assert_eq!(budgets(metrics), [told("anonymous", 95), told("account (robot)", 0)]);
        assert_eq!(budgets("registry_proxy_budget_remaining{} x"), []);
    }
}
