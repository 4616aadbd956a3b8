//! Calls of a platform's timer, which begin what `[[warm]]` says where no process runs between requests. Whatever says it is one
//! comes from outside: it counts if only the platform can have sent it, or if it carries the token of the configuration.
//!
//! - AWS Lambda: an event that is no request, so that its sender was let in by IAM: `{"registry-proxy/warm":{}}`
//! - Aliyun FC: a timer's event is posted to `/invoke`, with the header `x-fc-control-path: /invoke`. The platform documents that
//!   clients cannot send `x-fc-…`; that was not tried, so the token decides here, too. The event has it as its `payload`.
//! - Tencent SCF, Google Cloud Run: whoever calls posts to `/-/timer`, with the token as `payload`. Tencent's web functions take no
//!   timers of their own.
//! - Cloudflare Workers: a handler of its own, which no request reaches

use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::platform::Profile;
use crate::secret::Secret;

/// Most bytes of a call: timers of Aliyun FC send about 200 and the payload.
pub const MAX_TIMER_CALL_BYTES: u64 = 4096;

/// The event for a function that IAM protects.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TimerEvent {
    #[serde(rename = "registry-proxy/warm")]
    warm: Nothing,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Whether an event that is no request is our timer's.
pub fn is_timer_event(event: &str) -> bool {
    serde_json::from_str::<TimerEvent>(event).is_ok()
}

/// Whether a request is a timer's call, on the platforms where timers call by HTTP. Whether it counts, its body says.
pub fn is_timer_call(profile: Profile, method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let by_function = || headers.get("x-fc-control-path").is_some_and(|path| path == "/invoke");
    *method == Method::POST
        && match profile {
            Profile::AliyunFc => path == "/invoke" && by_function(),
            Profile::TencentScf | Profile::CloudRun => path == "/-/timer",
            Profile::Server | Profile::AwsLambda | Profile::AzureContainerApps | Profile::CloudflareWorkers => {
                false
            }
        }
}

/// What a call carries besides what its platform adds.
#[derive(Deserialize)]
struct TimerCall {
    payload: Secret,
}

/// Whether a call has the token.
pub fn has_timer_token(body: &[u8], token: Option<&Secret>) -> bool {
    let (Some(token), Ok(call)) = (token, serde_json::from_slice::<TimerCall>(body)) else { return false };
    call.payload.expose().trim().as_bytes().ct_eq(token.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_event_of_a_timer_is_ours_to_the_letter() {
        for (event, expected) in [
            (r#"{"registry-proxy/warm":{}}"#, true),
            (" {\"registry-proxy/warm\" : { } }\n", true),
            (r#"{"registry-proxy/warm":{"images":["a"]}}"#, false),
            (r#"{"registry-proxy/warm":{},"x":1}"#, false),
            (r#"{"registry-proxy/warm":null}"#, false),
            (r#"{"registry-proxy/ingest":{}}"#, false),
            (r#"{"source":"aws.events","detail-type":"Scheduled Event"}"#, false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(is_timer_event(event), expected, "{event}");
        }
    }

    #[test]
    fn each_platform_calls_at_its_own_path_and_others_are_not_called() {
        for profile in Profile::ALL {
            for path in ["/invoke", "/-/timer", "/v2/", "/-/timer/", "/Invoke"] {
                for control in [None, Some("/invoke"), Some("/http-invoke")] {
                    for method in [Method::POST, Method::GET] {
                        let mut headers = HeaderMap::new();
                        headers.extend(control.map(|at| {
                            (http::HeaderName::from_static("x-fc-control-path"), HeaderValue::from_static(at))
                        }));
                        let expected = method == Method::POST
                            && matches!(
                                (profile, path, control),
                                (Profile::AliyunFc, "/invoke", Some("/invoke"))
                                    | (Profile::TencentScf | Profile::CloudRun, "/-/timer", _)
                            );
                        let found = is_timer_call(profile, &method, path, &headers);
                        assert_eq!(found, expected, "{profile} {method} {path} {control:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_call_counts_with_the_token_only() {
        let token = Secret::new(TOKEN);
        for (body, expected) in [
            (format!(r#"{{"payload":"{TOKEN}"}}"#), true),
            (
                format!(r#"{{"triggerTime":"2026-07-13T23:00:00Z","triggerName":"warm","payload":"{TOKEN}\n"}}"#),
                true,
            ),
            (format!(r#"{{"payload":"{}"}}"#, &TOKEN[1..]), false),
            (format!(r#"{{"payload":"{TOKEN}0"}}"#), false),
            (format!(r#"{{"payload":["{TOKEN}"]}}"#), false),
            (format!(r#"{{"Payload":"{TOKEN}"}}"#), false),
            (format!(r#"{{"payload":"","payload":"{TOKEN}"}}"#), false),
            (r#"{"payload":""}"#.to_owned(), false),
            (r#"{"payload":null}"#.to_owned(), false),
            (format!("\"{TOKEN}\""), false),
            (TOKEN.to_owned(), false),
            (String::new(), false),
            ("[".repeat(4000), false),
        ] {
            assert_eq!(has_timer_token(body.as_bytes(), Some(&token)), expected, "{body}");
            assert!(!has_timer_token(body.as_bytes(), None), "{body}");
        }
        assert!(!has_timer_token(&[0xff, 0xfe], Some(&token)));
    }
}
