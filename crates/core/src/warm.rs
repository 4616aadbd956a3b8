//! Fetches images into the cache before anybody pulls them, by the handlers that answer clients. So a registry gives each
//! manifest and each blob once, however many clients and warmings want it at the same time, and what is held, blocked or
//! limited is so here, too.
//!
//! Images come in the order of their list. Of an image comes its index first, then of each wanted platform the manifest, the
//! configuration and the layers, in the order in which the manifest names them.
//!
//! Nothing is written down of how far a warming has come: what is cached is not fetched again, so one that was stopped goes on
//! where it was.
//!
//! - [`request`] `o`: what is wanted · [`platforms`] `o`: which images of an index that means
//! - [`told`] `o`: what a warming tells, and its sums
//! - [`patience`] `o`: whether a failure is tried again, and when
//! - [`trouble`] `o`: why something did not come
//! - [`named`]: which images are meant, where tags are patterns
//! - [`image`]: one image, part by part; [`repository`]: its parts, by the handlers
//! - [`queue`]: warmings that were asked for by HTTP · [`schedule`] `o`: when rules of the configuration are due
//!   · [`kept`]: what they keep from eviction

mod image;
mod kept;
mod named;
mod patience;
mod platforms;
mod queue;
mod repository;
mod request;
mod schedule;
mod told;
mod trouble;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use self::image::ImageWork;
pub(crate) use self::kept::kept_images;
pub(crate) use self::queue::{WarmOrder, WarmQueue};
pub use self::request::{
    MAX_IMAGE_BYTES, MAX_IMAGES, MAX_JOBS, MAX_NEWEST, MAX_WAIT_SECONDS, USUAL_NEWEST, WarmRequest,
};
pub(crate) use self::schedule::ScheduleLook;
pub use self::told::{MissingPart, PartOutcome, WarmEvent, WarmTell, WarmTotals, WarmedImage, WarmedPart};
use crate::cache::Cache;
use crate::config::Config;
use crate::image_platform::ImagePlatform;
use crate::request::Env;
use crate::route::Routes;
use crate::upstream::Upstream;

/// A proxy, as far as a warming needs it.
pub(crate) struct WarmContext<'a> {
    pub(crate) env: &'a Env,
    pub(crate) routes: &'a Routes,
    pub(crate) upstreams: &'a [Arc<Upstream>],
    pub(crate) config: &'a Config,
}

/// A warming under way.
struct Warming<'a> {
    proxy: &'a WarmContext<'a>,
    cache: &'a Arc<Cache>,
    request: &'a WarmRequest,
    /// Empty: all.
    platforms: Vec<ImagePlatform>,
    tell: WarmTell<'a>,
}

/// Fetches what is wanted, and tells of it. An error: nothing can be fetched at all.
pub(crate) async fn warm(
    proxy: &WarmContext<'_>,
    request: &WarmRequest,
    tell: WarmTell<'_>,
) -> Result<WarmTotals, String> {
    request.check()?;
    let cache = proxy.env.cache.as_ref().ok_or("nothing is cached: there is no store")?;
    if cache.config().offline {
        return Err("cache.offline is set: no registry is asked".to_owned());
    }
    let warming = Warming { proxy, cache, request, platforms: request.wanted_platforms()?, tell };
    let images = named::images(&warming).await;
    let of = images.len();
    let work = |(at, image)| Box::pin(ImageWork::new(&warming, (at + 1, of), image).run()) as BoxFuture<'_, _>;
    let work: Vec<BoxFuture<'_, WarmedImage>> = images.iter().enumerate().map(work).collect();
    let mut images = stream::iter(work).buffered(request.jobs.max(1));
    let mut totals = WarmTotals::default();
    while let Some(image) = images.next().await {
        totals.add(&image);
        tell(WarmEvent::Image(image));
    }
    tell(WarmEvent::End(totals));
    Ok(totals)
}
