//! AWS Lambda: instead of listening, the server asks the runtime API for events, one at a time.
//!
//! The runtime API is three HTTP requests, so hyper is enough. The crates for it would add a second HTTP client, and they end
//! a broken body cleanly with the error's text as its last bytes, which a proxy must not do.

mod event;
mod runtime_api;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_proxy_core::warm::is_timer_event;
use registry_proxy_core::{Config, Cx};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::event::Event;
use self::runtime_api::{Invocation, RuntimeApi};
use crate::config_source::ConfigSource;
use crate::service::{Listener, Service};
use crate::timer::NotWarmed;
use crate::{timer, traces};

/// How long background work of an answer may take before the next event is requested. The client has its answer by then;
/// the platform freezes the process from that request until the next event.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// The same for events (`[[events]]`) and traces: a receiver that is down must not cost this in every invocation.
const EVENTS_LIMIT: Duration = Duration::from_secs(1);
/// What is left of an invocation's time when a timer's work ends: for what has come to reach the store.
const RESERVE: Duration = Duration::from_secs(20);
/// Pause after a failure to get an event.
const PAUSE: Duration = Duration::from_millis(100);
/// Separates durations from times since 1970: no invocation is longer, and no such time is shorter.
const A_DAY: Duration = Duration::from_hours(24);
/// Failures in a row after which the process ends.
const MOST_FAILURES: u32 = 20;

/// The address of the runtime API; `None`: this is not Lambda.
pub(crate) fn runtime_api() -> Option<String> {
    std::env::var("AWS_LAMBDA_RUNTIME_API").ok().filter(|address| !address.is_empty())
}

/// Serves until a signal stops it.
pub(crate) async fn serve(source: ConfigSource, config: Config, address: &str) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let api = RuntimeApi::at(address)?;
    let service = Arc::new(Service::new(source, config)?);
    tracing::info!("serving events of AWS Lambda");
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
                service.reloadable.current().proxy.flush(FLUSH_LIMIT).await;
                service.reloadable.flush_events(EVENTS_LIMIT).await;
                traces::flush(EVENTS_LIMIT).await;
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
    service.reloadable.current().proxy.close(FLUSH_LIMIT).await;
    tracing::info!("stopped");
    Ok(())
}

/// Handles one event, to the last byte of its answer.
async fn take(api: &RuntimeApi, service: &Service, invocation: Invocation) {
    let told = match Event::parse(&invocation.event) {
        Ok(Event::Http { request, peer }) => {
            // Function URLs speak HTTPS only.
            let cx = Cx { peer, introduced: None, is_tls: true, id: 0 };
            api.respond(&invocation, service.answer(Listener::Main, *request, cx).await).await
        }
        Ok(Event::Other) => match event(service, &invocation).await {
            Ok(answer) => api.answer(&invocation, &answer).await,
            Err(what) => api.fail(&invocation, "EventFailed", &what).await,
        },
        Err(what) => api.fail(&invocation, "WrongEvent", &what).await,
    };
    if let Err(error) = told {
        // A client may leave at any time (P-106).
        tracing::debug!(error, "a response was not delivered");
    }
}

/// A timer's event: only who may invoke the function can send it.
async fn by_timer(service: &Service, left: Duration) -> Result<Value, String> {
    let limit = service.reloadable.current().config.timer.limit.0;
    match timer::warm(&service.timer, &service.reloadable, limit.min(left.saturating_sub(RESERVE.min(left / 2))))
        .await
    {
        Ok(report) => serde_json::from_str(&report).map_err(|error| error.to_string()),
        Err(NotWarmed::Running) => Err("an earlier call is still being carried out".to_owned()),
        Err(NotWarmed::Failed(error)) => Err(error),
    }
}

/// An event that is not a client's request: work that this function queued for itself.
async fn event(service: &Service, invocation: &Invocation) -> Result<Value, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = invocation.deadline;
    // Emulators send a duration instead of a deadline.
    let left = if deadline < A_DAY { deadline } else { deadline.saturating_sub(now) };
    let event = std::str::from_utf8(&invocation.event).map_err(|error| error.to_string())?;
    if is_timer_event(event) {
        return by_timer(service, left).await;
    }
    let done = service.reloadable.current().proxy.event(event, left).await;
    done.map(|()| Value::Null).map_err(|error| error.to_string())
}
