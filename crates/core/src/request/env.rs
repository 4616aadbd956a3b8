//! What all requests share: the platform, the cache, the work in progress and the settings that handlers read. The proxy
//! owns one, and each request's context borrows it.

use std::sync::Arc;

use http::HeaderValue;

use crate::access_rules::AccessRules;
use crate::blocks::Blocks;
use crate::body::InFlight;
use crate::cache::Cache;
use crate::config::{Config, DeliveryConfig, Limits, Timeouts};
use crate::fill::Fills;
use crate::ingest::Invocations;
use crate::manifest_types::ManifestTypes;
use crate::platform::Platform;
use crate::policy::PolicyRules;
use crate::quota::Quotas;
use crate::seal::Sealer;
use crate::shared_requests::SharedRequests;

/// What all requests share.
pub(crate) struct Env {
    /// What the platform offers.
    pub(crate) platform: Platform,
    /// Settings that handlers read.
    pub(crate) settings: Settings,
    /// Seals what clients carry for us.
    pub(crate) sealer: Arc<Sealer>,
    /// How `Via` names this deployment.
    pub(crate) via: HeaderValue,
    /// How much clients may have.
    pub(crate) quotas: Arc<Quotas>,
    /// The cache. `None`: nothing is kept.
    pub(crate) cache: Option<Arc<Cache>>,
    /// What is never served.
    pub(crate) blocks: Blocks,
    /// Downloads in progress, by digest.
    pub(crate) fills: Arc<Fills>,
    /// Requests for manifests in progress, which several clients may share.
    pub(crate) shared_requests: SharedRequests,
    /// Types of manifests that passed lately, and those that clients accept.
    pub(crate) manifest_types: ManifestTypes,
    /// Invocations that were begun lately.
    pub(crate) invocations: Invocations,
    /// Memory that answers take until clients have taken them.
    pub(crate) in_flight: Arc<InFlight>,
}

/// What clients that are let in may see of what we have, where we log in to the registries ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// All of them the same.
    Uniform,
    /// Each what rules (`[[access]]`) or its issuer's rule allow.
    PerClient,
}

impl Visibility {
    /// By the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let is_uniform = config.access.is_empty() && config.clients.issuer.is_empty();
        if is_uniform { Self::Uniform } else { Self::PerClient }
    }
}

/// Settings that handlers read.
pub(crate) struct Settings {
    /// Limits on what grows.
    pub(crate) limits: Limits,
    /// Deadlines.
    pub(crate) timeouts: Timeouts,
    /// How blobs go to clients.
    pub(crate) delivery: DeliveryConfig,
    /// Whose signatures images need, and which services are asked about them.
    pub(crate) policy: PolicyRules,
    /// Who may pull and push what.
    pub(crate) access: Arc<AccessRules>,
    /// Whether clients that are let in may see different things.
    pub(crate) visibility: Visibility,
    /// Whether everybody may see everything.
    pub(crate) is_open: bool,
    /// Whether there is only one upstream.
    pub(crate) is_single: bool,
    /// Whether paths outside `/v2/` are relayed to the storage: only where everybody may use us.
    pub(crate) storage_passes: bool,
}
