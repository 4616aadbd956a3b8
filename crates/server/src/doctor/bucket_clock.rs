//! The clock of the bucket's cloud: it refuses signatures that are minutes apart from it.

use registry_proxy_core::Config;
use registry_proxy_core::config::{StoreAddress, UpstreamConfig};
use tokio::time::timeout;

use super::connect::{connect, egress};
use super::diagnosis::{header, of_clock};
use super::finding::Finding;
use super::upstream::clock_of;
use crate::{health, store};

/// How it compares with ours, as far as its answer to anybody says.
pub(crate) async fn finding(config: &Config) -> Option<Finding> {
    let StoreAddress::Objects(address) = &config.cache.store else { return None };
    let url = store::asked_at(address)?;
    let anybody = UpstreamConfig::default();
    // Behind a proxy nothing more is seen than what the store itself says.
    if egress(&anybody, &url).is_some() {
        return None;
    }
    let (_, connected) = connect(&anybody, &url, config.timeouts.connect.0).await;
    let asked = health::head(connected.ok()?, "/", url.authority());
    let answer = timeout(health::DEADLINE, asked).await.ok()?.ok()?;
    let (difference, ahead) = clock_of(header(&answer, "date")?)?;
    Some(of_clock("cache.store", difference, ahead, "the bucket"))
}
