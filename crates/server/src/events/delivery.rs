//! Sends one event to one receiver, with pauses between the attempts and a deadline.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use registry_proxy_core::Body;
use registry_proxy_core::backoff::Backoff;
use registry_proxy_core::platform::{Outgoing, Reach, RequestPurpose, Transport};
use tokio::time::{Instant, sleep, timeout};

use super::cloud_event::{self, CloudEvent};
use super::signature::Key;
use super::verdict::{ATTEMPT, DEADLINE, FIRST_PAUSE, LONGEST_PAUSE, Verdict};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Sends to one receiver.
pub(super) struct Sender {
    pub(super) uri: Uri,
    pub(super) key: Key,
    pub(super) transport: Arc<dyn Transport>,
    /// Its place among those that the transport knows.
    pub(super) index: usize,
}

impl Sender {
    /// Returns when the receiver has the event, or why it never will.
    pub(super) async fn deliver(&self, event: &CloudEvent) -> Result<(), String> {
        let (until, mut backoff) = (Instant::now() + DEADLINE, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
        loop {
            let why = match timeout(ATTEMPT, self.attempt(event)).await {
                Ok(Ok(status)) => match Verdict::of(status) {
                    Verdict::Taken => return Ok(()),
                    Verdict::Never => return Err(format!("the receiver answered {status}")),
                    Verdict::Later => format!("the receiver answered {status}"),
                },
                Ok(Err(why)) => why,
                Err(_) => "the receiver did not answer in time".to_owned(),
            };
            let pause = backoff.pause();
            if Instant::now() + pause > until {
                return Err(why);
            }
            tracing::debug!(id = event.id, error = why, "an event is sent again after a pause");
            sleep(pause).await;
        }
    }

    /// The status of the answer. Its body is not read.
    async fn attempt(&self, event: &CloudEvent) -> Result<StatusCode, String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = |value: &str| HeaderValue::try_from(value).map_err(|error| error.to_string());
        let mut request = Request::new(Body::from(event.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(cloud_event::CONTENT_TYPE));
        headers.insert(USER_AGENT, HeaderValue::from_static(registry_proxy_core::upstream::USER_AGENT));
        headers.insert(WEBHOOK_ID, text(&event.id)?);
        headers.insert(WEBHOOK_TIMESTAMP, now.into());
        headers.insert(WEBHOOK_SIGNATURE, text(&self.key.sign(&event.id, now, &event.body))?);
        // The operator has named the address, so it may be a private one, as a registry's may.
        let (upstream, reach, purpose) = (self.index, Reach::Configured, RequestPurpose::Api);
        let sent = self.transport.send(Outgoing { request, upstream, reach, purpose }).await;
        // Without the error's source, which may name an address.
        sent.map(|response| response.status()).map_err(|error| error.to_string())
    }
}
