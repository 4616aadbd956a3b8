//! Carries out the warmings that were asked for by HTTP and those of `[[warm]]`, one after the other, each with the configuration
//! of that time.

use std::sync::Arc;
use std::time::Duration;

use crate::service::Service;

/// How long it takes at most until a new rule of the configuration is seen.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Does so for ever.
pub(crate) async fn follow(service: Arc<Service>, own_platform: String) {
    loop {
        let current = arc_swap::Guard::into_inner(service.reloadable.current());
        let (due, pause) = (
            current.proxy.warming_due(),
            current.proxy.next_warming(&current.config, &current.timetables, LOOK_EVERY),
        );
        // The proxy of an old configuration ends meanwhile.
        drop(current);
        let _ = tokio::time::timeout(pause, due).await;
        let current = arc_swap::Guard::into_inner(service.reloadable.current());
        Box::pin(current.proxy.warm_next(&current.config, &own_platform)).await;
        Box::pin(current.proxy.warm_scheduled(&current.config, &current.timetables, &own_platform)).await;
    }
}
