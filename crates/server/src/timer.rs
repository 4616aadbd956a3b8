//! A timer of the platform calls: the images of `[[warm]]` are fetched, as far as there is time. A proxy of its own does so, which
//! answers no client: the platform's limits on answers do not hold for it, so every layer goes the way it goes on a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use registry_proxy_core::warm::{MAX_TIMER_CALL_BYTES, has_timer_token};
use registry_proxy_core::{Body, TimerReport};

use crate::own_platform::own_platform;
use crate::rate_limited_warnings::WarningLimiter;
use crate::reload::Reloadable;
use crate::text_response::text;

/// How long the body of a call may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long what has come may take to reach the store.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Whether a call is being carried out: one at a time, however often a timer calls.
#[derive(Default)]
pub(crate) struct TimerTurn(AtomicBool);

/// It is, until this is dropped.
struct Running<'a>(&'a AtomicBool);

impl TimerTurn {
    fn take(&self) -> Option<Running<'_>> {
        (!self.0.swap(true, Ordering::AcqRel)).then_some(Running(&self.0))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Answers a call by HTTP, when its work is done.
pub(crate) async fn answer(turn: &TimerTurn, reloadable: &Reloadable, request: Request<Body>) -> Response<Body> {
    static REFUSED: WarningLimiter = WarningLimiter::new();
    let (limit, token) = {
        let current = reloadable.current();
        (current.config.timer.limit.0, current.config.timer.token.clone())
    };
    let body = tokio::time::timeout(BODY_TIME, request.into_body().collect(MAX_TIMER_CALL_BYTES)).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "the body of the call is too long, or did not arrive\n");
    };
    if !has_timer_token(&body, token.as_ref()) {
        if REFUSED.is_due() {
            tracing::warn!("a call of a timer without the token of timer.token_file was refused");
        }
        return text(
            StatusCode::FORBIDDEN,
            "a call of a timer needs the token of timer.token_file as its payload\n",
        );
    }
    match warm(turn, reloadable, limit).await {
        Ok(report) => {
            let mut response = Response::new(Body::from(Bytes::from(report)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(NotWarmed::Running) => text(StatusCode::CONFLICT, "an earlier call is still being carried out\n"),
        // What is wrong may be a secret's file: the log has it.
        Err(NotWarmed::Failed(error)) => {
            tracing::error!(error, "a timer's call cannot be carried out");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the call cannot be carried out; the log says why\n")
        }
    }
}

/// Why nothing was fetched.
pub(crate) enum NotWarmed {
    /// An earlier call is still being carried out.
    Running,
    /// The configuration cannot be used any more.
    Failed(String),
}

/// Fetches the images of all rules for at most `limit`; the report, in JSON.
pub(crate) async fn warm(turn: &TimerTurn, reloadable: &Reloadable, limit: Duration) -> Result<String, NotWarmed> {
    let _running = turn.take().ok_or(NotWarmed::Running)?;
    let (proxy, config) = reloadable.warmer().map_err(|error| NotWarmed::Failed(error.to_string()))?;
    let report: TimerReport = Box::pin(proxy.warm_by_timer(&config, &own_platform(), limit)).await;
    proxy.close(FLUSH_LIMIT).await;
    Ok(serde_json::to_string(&report).unwrap_or_default())
}
