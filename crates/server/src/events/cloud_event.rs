//! An event as receivers get it: CloudEvents 1.0.2 in structured mode, JSON
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>, section 3.2).

use std::fmt::Write as _;

use bytes::Bytes;
use registry_proxy_core::notification::{EventKind, Notification};
use registry_proxy_core::platform::Entropy as _;
use serde::Serialize;

use crate::logging;
use crate::runtime::SystemEntropy;

/// `Content-Type` of an event.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// An event, ready to be sent. It is the same in every attempt and for every receiver.
pub(super) struct CloudEvent {
    pub(super) kind: EventKind,
    /// Random, so that no replica makes the same.
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) body: Bytes,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a Notification,
}

impl CloudEvent {
    /// Of something that has happened just now.
    pub(super) fn new(notification: &Notification, source: &str) -> Self {
        let mut bytes = [0; 16];
        SystemEntropy.fill(&mut bytes);
        let id = bytes.iter().fold("evt_".to_owned(), |mut id, byte| {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        });
        Self::with(notification, source, id, &logging::now())
    }

    fn with(notification: &Notification, source: &str, id: String, time: &str) -> Self {
        let (kind, subject) = (notification.kind(), notification.subject());
        let envelope = Envelope {
            specversion: "1.0",
            id: &id,
            source,
            r#type: kind.cloud_event_type(),
            subject: &subject,
            time,
            datacontenttype: "application/json",
            data: notification,
        };
        // Strings and numbers are always JSON.
        let body = serde_json::to_vec(&envelope).unwrap_or_default().into();
        Self { kind, id, subject, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_cloud_event_in_json() {
        let moved = Notification::TagMoved {
            upstream: "docker.io".into(),
            repository: "library/alpine".into(),
            tag: "3.20".into(),
            from: "sha256:aa".into(),
            to: "sha256:bb".into(),
        };
        let source = "https://proxy.example/";
        let event = CloudEvent::with(&moved, source, "evt_01".to_owned(), "2026-11-30T13:22:33.123456Z");
        let expected = r#"{"specversion":"1.0","id":"evt_01","source":"https://proxy.example/","type":"io.github.registry-proxy.tag.moved","subject":"docker.io/library/alpine:3.20","time":"2026-11-30T13:22:33.123456Z","datacontenttype":"application/json","data":{"upstream":"docker.io","repository":"library/alpine","tag":"3.20","from":"sha256:aa","to":"sha256:bb"}}"#;
        assert_eq!(std::str::from_utf8(&event.body), Ok(expected));
    }

    #[test]
    fn each_event_has_an_id_of_its_own_without_a_full_stop() {
        let up = Notification::UpstreamUp { upstream: "docker.io".into(), down_seconds: 7 };
        let [one, other] = [(); 2].map(|()| CloudEvent::new(&up, "/registry-proxy").id);
        assert_ne!(one, other);
        // The signature joins its parts with full stops.
        assert!(one.len() == 36 && !one.contains('.'), "{one}");
    }
}
