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
//! - `context`: what a warming works with
//! - `platforms` `o`: which manifests of an index are wanted
//! - `patience` `o`: whether a failure is tried again, and when
//! - `trouble` `o`: why something did not come
//! - `named`: which images are meant, where tags are patterns
//! - `image`: one image, part by part; `repository`: its parts, by the handlers
//! - `kept`: what rules of the configuration keep from eviction

mod context;
mod image;
mod kept;
mod named;
mod patience;
mod platforms;
mod repository;
mod trouble;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

pub(crate) use self::context::WarmContext;
use self::context::Warming;
use self::image::ImageWork;
pub(crate) use self::kept::kept_images;
pub use crate::warm_orders::{
    MAX_IMAGE_BYTES, MAX_IMAGES, MAX_JOBS, MAX_NEWEST, MAX_TIMER_CALL_BYTES, MAX_WAIT_SECONDS, MissingPart,
    PartOutcome, Timetables, USUAL_NEWEST, WarmEvent, WarmRequest, WarmTell, WarmTotals, WarmedImage, WarmedPart,
    has_timer_token, is_timer_call, is_timer_event,
};

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
