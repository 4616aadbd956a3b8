//! Pulls an image with a client of this machine, and looks at the server's own count: did it come through us?

use std::process::Stdio;
use std::time::Duration;

use registry_proxy_core::{Config, telemetry};

use super::finding::Finding;
use crate::cli::PullingClient;
use crate::health;

/// An image of a few kilobytes.
const PROBE: &str = "docker.io/library/hello-world:latest";
const DEADLINE: Duration = Duration::from_mins(1);

impl PullingClient {
    /// The command, and what writes its configuration.
    fn command(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Docker => (&["docker", "pull", "--quiet"], "registry-proxy client docker --write"),
            Self::Podman => (&["podman", "pull", "--quiet"], "registry-proxy client podman --write"),
            Self::Crictl => (&["crictl", "pull"], "registry-proxy client containerd --write (or crio)"),
            Self::Nerdctl => (&["nerdctl", "pull", "--quiet"], "registry-proxy client containerd --write"),
        }
    }

    /// Whether the `hosts.toml` of containerd may say where it pulls from.
    pub(super) const fn reads_containerd_hosts(self) -> bool {
        match self {
            Self::Crictl | Self::Nerdctl => true,
            Self::Docker | Self::Podman => false,
        }
    }
}

/// What the pull and the counts before and after it mean.
fn judge(name: &str, image: &str, writes: &str, pulled: Result<(), String>, counts: (u64, u64)) -> Finding {
    let subject = format!("client {name}");
    let came_through = counts.1 > counts.0;
    match (pulled, came_through) {
        (Ok(()), true) => Finding::ok(subject, format!("pulled {image} through this proxy")),
        (Ok(()), false) => Finding::error(
            subject,
            format!("pulled {image}, but not through this proxy: it went to the registry itself"),
            format!("{writes}, and restart what it names; the client's own log says why it left the mirror"),
        ),
        (Err(what), true) => Finding::error(
            subject,
            format!("asked this proxy for {image}, and failed: {what}"),
            "the proxy's log has the request and its reason; registry-proxy doctor --image tries the same without the client",
        ),
        (Err(what), false) => Finding::error(
            subject,
            format!("failed to pull {image}, and did not ask this proxy: {what}"),
            format!("check that {name} runs; {writes}"),
        ),
    }
}

/// Pulls, and says whether it came through the server at the configured address.
pub(crate) async fn finding(config: &Config, client: PullingClient, image: Option<&str>) -> Finding {
    let image = image.unwrap_or(PROBE);
    let (words, writes) = client.command();
    let (name, arguments) = words.split_first().map_or(("", words), |(name, rest)| (*name, rest));
    let before = match manifests(config).await {
        Ok(count) => count,
        Err(what) => {
            return Finding::error(
                format!("client {name}"),
                format!("cannot be judged, since the server's count is not readable: {what}"),
                "start the server with this configuration",
            );
        }
    };
    let pulled = pull(name, arguments, image).await;
    let after = manifests(config).await.unwrap_or(before);
    judge(name, image, writes, pulled, (before, after))
}

async fn pull(name: &str, arguments: &[&str], image: &str) -> Result<(), String> {
    let mut command = tokio::process::Command::new(name);
    command.args(arguments).arg(image).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(DEADLINE, command.output()).await {
        Err(_) => return Err(format!("not done within {} s", DEADLINE.as_secs())),
        Ok(output) => output.map_err(|error| format!("{name} cannot be run: {error}"))?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .chars()
        .take(300)
        .collect())
}

/// How many requests for manifests the server has answered.
async fn manifests(config: &Config) -> Result<u64, String> {
    let answer = health::metrics(config).await?;
    Ok(count(&answer))
}

fn count(metrics: &str) -> u64 {
    let of_manifests =
        |line: &&str| line.starts_with(telemetry::REQUESTS) && line.contains("endpoint=\"manifest\"");
    metrics.lines().filter(of_manifests).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn a_pull_that_the_server_did_not_count_went_around_it() {
        let judged =
            |pulled, counts| judge("docker", "alpine", "registry-proxy client docker --write", pulled, counts);
        assert_eq!(judged(Ok(()), (3, 4)).severity, Severity::Ok);
        let around = judged(Ok(()), (3, 3));
        assert_eq!(around.severity, Severity::Error);
        assert!(
            around.what.contains("not through this proxy")
                && around.next.unwrap().contains("client docker --write")
        );
        let failed = judged(Err("manifest unknown".to_owned()), (3, 5));
        assert!(failed.what.contains("asked this proxy") && failed.what.contains("manifest unknown"));
        let neither = judged(Err("docker cannot be run".to_owned()), (3, 3));
        assert!(neither.what.contains("did not ask this proxy"));
    }

    #[test]
    fn only_requests_for_manifests_are_counted() {
        let metrics = "# TYPE registry_proxy_requests_total counter\n\
                       registry_proxy_requests_total{endpoint=\"manifest\",outcome=\"hit\"} 4\n\
                       registry_proxy_requests_total{endpoint=\"manifest\",outcome=\"relayed\"} 2\n\
                       registry_proxy_requests_total{endpoint=\"blob\",outcome=\"hit\"} 90\n";
        assert_eq!(count(metrics), 6);
    }
}
