//! What a warming works with.

use std::sync::Arc;

use crate::cache::Cache;
use crate::config::Config;
use crate::image_platform::ImagePlatform;
use crate::request::Env;
use crate::route::Routes;
use crate::upstream::Upstream;
use crate::warm_orders::{WarmRequest, WarmTell};

/// A proxy, as far as a warming needs it.
pub(crate) struct WarmContext<'a> {
    pub(crate) env: &'a Env,
    pub(crate) routes: &'a Routes,
    pub(crate) upstreams: &'a [Arc<Upstream>],
    pub(crate) config: &'a Config,
}

/// A warming under way.
pub(super) struct Warming<'a> {
    pub(super) proxy: &'a WarmContext<'a>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) request: &'a WarmRequest,
    /// Empty: all.
    pub(super) platforms: Vec<ImagePlatform>,
    pub(super) tell: WarmTell<'a>,
}
