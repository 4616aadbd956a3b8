//! What clients see: whether the server runs, whether `public_url` leads to it, and until when its certificate is valid.

use registry_proxy_core::Config;
use registry_proxy_core::config::{Egress, UpstreamConfig};

use tokio::time::timeout;
use url::Url;

use super::certificate;
use super::connect::{Connected, connect};
use super::diagnosis::{Identity, of_end, of_identity};
use super::finding::Finding;
use crate::{health, tls};

pub(crate) async fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![match health::ask_in_time(config).await {
        Ok(()) => Finding::ok("server", format!("answers at {}", config.listen)),
        Err(what) => Finding::warning(
            "server",
            format!("{}: {what}", config.listen),
            "start it with this configuration: registry-proxy serve; or say by --config and --listen where it runs",
        ),
    }];
    findings.extend(own_certificate(config));
    findings.extend(public_url(config).await);
    findings
}

fn own_certificate(config: &Config) -> Option<Finding> {
    let path = config.tls.cert_file.as_ref()?;
    let chain = tls::certificates("tls.cert_file", path).ok()?;
    let days = certificate::days_until(chain.first().and_then(certificate::end)?);
    let good = || Finding::ok("tls.cert_file", format!("{path} is valid for {days} days"));
    Some(of_end("tls.cert_file", path, days).unwrap_or_else(good))
}

async fn public_url(config: &Config) -> Option<Finding> {
    let url = config.public_url.as_ref()?;
    let subject = "public_url";
    // As a client would: no egress proxy, the system's authorities.
    let client = UpstreamConfig { proxy: Some(Egress::Direct), ..UpstreamConfig::default() };
    let limit = config.timeouts.connect.0;
    let (steps, connected) = connect(&client, url, limit).await;
    let shown = url.as_str().trim_end_matches('/');
    let stream = match connected {
        Ok(stream) => stream,
        Err(obstacle) => return Some(obstacle.finding(subject, shown, false)),
    };
    let end =
        steps.certificate_days.and_then(|days| of_end(subject, &format!("the certificate of {shown}"), days));
    if end.is_some() {
        return end;
    }
    let there = ping(stream, url).await;
    let here = health::ping(config).await.ok();
    let good = format!("{shown}: {}", steps.taken.join(", "));
    Some(of_identity(subject, &good, Identity::of(&there, here.as_deref())))
}

/// What `/v2/` answers there, with nothing where nothing comes.
async fn ping(stream: Connected, url: &Url) -> String {
    let asked = health::head(stream, "/v2/", url.authority());
    timeout(health::DEADLINE, asked).await.ok().and_then(Result::ok).unwrap_or_default()
}
