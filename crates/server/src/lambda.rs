//! AWS Lambda: no socket of ours, but events that we ask for, one at a time.
//!
//! The runtime API is three HTTP requests, so hyper is all it takes. The crates for it would cost a second HTTP client and
//! do one thing that a proxy may not: a body that breaks gets the error's text as its last bytes, and then a clean end.

mod event;
mod runtime_api;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_proxy_core::{Config, Cx};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::event::Event;
use self::runtime_api::{Invocation, RuntimeApi};
use crate::config_source::ConfigSource;
use crate::service::Service;

/// How long the work that an answer left behind may take before we ask for the next event. The client has its answer by
/// then; asking is what stops us, for as long as there is no event.
const SETTLE: Duration = Duration::from_secs(5);
/// After a failure to get an event, before the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// No invocation takes so long, and no time since 1970 is so short.
const A_DAY: Duration = Duration::from_hours(24);
/// So many failures in a row, and there is nobody left to serve.
const MOST_FAILURES: u32 = 20;

/// Where the platform gives events; `None`: this is not Lambda.
pub(crate) fn runtime_api() -> Option<String> {
    std::env::var("AWS_LAMBDA_RUNTIME_API").ok().filter(|address| !address.is_empty())
}

/// Serves until told to stop.
pub(crate) async fn serve(source: ConfigSource, config: Config, address: &str) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let api = RuntimeApi::at(address)?;
    let service = Arc::new(Service::new(source, config)?);
    tracing::info!("taking events of AWS Lambda");
    let mut failures = 0;
    loop {
        let invocation = tokio::select! {
            invocation = api.next() => invocation,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        match invocation {
            Ok(invocation) => {
                failures = 0;
                take(&api, &service, invocation).await;
                service.reloadable.current().proxy.settle(SETTLE).await;
                crate::logging::flush();
            }
            Err(error) if failures < MOST_FAILURES => {
                failures += 1;
                tracing::warn!(error, "cannot get an event");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    service.reloadable.current().proxy.close(SETTLE).await;
    tracing::info!("stopped");
    Ok(())
}

/// One event, to the last byte of its answer.
async fn take(api: &RuntimeApi, service: &Service, invocation: Invocation) {
    let told = match Event::parse(&invocation.event) {
        Ok(Event::Http { request, peer }) => {
            // Function URLs speak HTTPS only.
            let cx = Cx { peer, introduced: None, is_tls: true, id: 0 };
            api.respond(&invocation, service.answer(*request, cx).await).await
        }
        Ok(Event::Other) => match event(service, &invocation).await {
            Ok(answer) => api.answer(&invocation, &answer).await,
            Err(what) => api.fail(&invocation, "EventFailed", &what).await,
        },
        Err(what) => api.fail(&invocation, "WrongEvent", &what).await,
    };
    if let Err(error) = told {
        // A client that leaves is its own affair (P-106).
        tracing::debug!(error, "an answer did not arrive");
    }
}

/// An event that is not a request: work that we gave ourselves.
async fn event(service: &Service, invocation: &Invocation) -> Result<Value, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = invocation.deadline;
    // Emulators say how long, and not until when.
    let left = if deadline < A_DAY { deadline } else { deadline.saturating_sub(now) };
    let event = std::str::from_utf8(&invocation.event).map_err(|error| error.to_string())?;
    let done = service.reloadable.current().proxy.event(event, left).await;
    done.map(|()| Value::Null).map_err(|error| error.to_string())
}
