//! Parses events: a request as Function URLs and HTTP APIs send it (payload version 2.0), or something else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use registry_proxy_core::Body;
use serde::Deserialize;
use serde_json::Value;

/// An event.
pub(super) enum Event {
    /// A client's request, and its address.
    Http { request: Box<Request<Body>>, peer: Option<IpAddr> },
    /// Anything else.
    Other,
}

/// The fields that are used. Emulators send `null` for fields that the platform leaves out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    raw_path: String,
    raw_query_string: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    request_context: RequestContext,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<String>,
}

impl Event {
    /// Reads an event.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
        if value.get("requestContext").is_none() {
            return Ok(Self::Other);
        }
        let payload: Payload = serde_json::from_value(value)
            .map_err(|error| format!("not a request with payload version 2.0: {error}"))?;
        let peer = payload.request_context.http.source_ip.as_deref().and_then(|ip| ip.parse().ok());
        Ok(Self::Http { request: Box::new(payload.into_request()?), peer })
    }
}

impl Payload {
    fn into_request(self) -> Result<Request<Body>, String> {
        let target = match self.raw_query_string.as_deref() {
            None | Some("") => self.raw_path,
            Some(query) => format!("{}?{query}", self.raw_path),
        };
        let uri: Uri = target.parse().map_err(|error| format!("rawPath: {error}"))?;
        let mut request = Request::builder().method(self.request_context.http.method.as_str()).uri(uri);
        for (name, value) in self.headers.iter().flatten() {
            // Skip what is not a valid header.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                request = request.header(name, value);
            }
        }
        let body = match self.body {
            None => Bytes::new(),
            Some(text) if self.is_base64_encoded == Some(true) => {
                BASE64_STANDARD.decode(text).map_err(|error| format!("body: {error}"))?.into()
            }
            Some(text) => text.into(),
        };
        request.body(Body::from(body)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(event: &str) -> (Request<Body>, Option<IpAddr>) {
        match Event::parse(event.as_bytes()) {
            Ok(Event::Http { request, peer }) => (*request, peer),
            Ok(Event::Other) => panic!("not a request"),
            Err(what) => panic!("{what}"),
        }
    }

    #[tokio::test]
    async fn a_request_comes_as_the_client_sent_it() {
        let (request, peer) = http(
            r#"{"version":"2.0","rawPath":"/v2/a%2Fb/blobs/uploads/","rawQueryString":"state=a%2Bb+c&x=%2f&n",
            "headers":{"host":"h.lambda-url.eu-1.on.aws","range":"bytes=0-1","accept":"a/b, c/d","no name":"x"},
            "requestContext":{"http":{"method":"PATCH","path":"/","sourceIp":"2001:db8::1"},"stage":"$default"},
            "body":"AP8=","isBase64Encoded":true}"#,
        );
        assert_eq!(request.method(), "PATCH");
        assert_eq!(request.uri(), "/v2/a%2Fb/blobs/uploads/?state=a%2Bb+c&x=%2f&n");
        assert_eq!(request.headers().len(), 3);
        assert_eq!(request.headers()["accept"], "a/b, c/d");
        assert_eq!(peer, "2001:db8::1".parse().ok());
        assert_eq!(request.into_body().collect(10).await.unwrap(), [0, 255].as_slice());
    }

    #[test]
    fn what_is_not_said_is_nothing() {
        let (request, peer) = http(
            r#"{"rawPath":"/v2/","rawQueryString":null,"headers":null,"isBase64Encoded":null,
            "requestContext":{"http":{"method":"GET","sourceIp":null}}}"#,
        );
        assert_eq!((request.uri().to_string().as_str(), peer), ("/v2/", None));
    }

    #[test]
    fn what_is_no_request_is_left_as_it_is() {
        let event = Event::parse(br#"{"registry-proxy":"ingest","digest":"sha256:1"}"#);
        assert!(matches!(event, Ok(Event::Other)));
        let wrong = |event: &str| Event::parse(event.as_bytes()).err().unwrap_or_default();
        assert!(wrong("nonsense").contains("not JSON"));
        let first_version = r#"{"version":"1.0","path":"/v2/","httpMethod":"GET","requestContext":{}}"#;
        assert!(wrong(first_version).contains("payload version 2.0"));
    }
}
