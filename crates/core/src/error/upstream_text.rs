//! The errors that an upstream reports in a body. The text is hostile: it is stripped of control characters and cut to size
//! before a client gets it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// Most errors of one answer that are repeated to a client.
const MAX_ERRORS: usize = 16;
/// Longest message that is repeated.
const MAX_MESSAGE_CHARS: usize = 500;
/// Longest code: those of the distribution spec have up to 21 characters.
const MAX_CODE_BYTES: usize = 64;
/// Largest `detail` that is repeated, as JSON; a larger one is left out.
const MAX_DETAIL_BYTES: usize = 1 << 10;
/// All errors of an answer together, as JSON: ours stays under 8 KiB with them (P-21).
const MAX_REPORT_BYTES: usize = 6 << 10;

/// The errors that an upstream named, in its order. Cheap to clone: one answer may go to many who wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamText {
    errors: Arc<[ReportedError]>,
}

/// One reported error. An absent field was not sent, or is not fit to be repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportedError {
    /// Upper-case letters, digits and underscores: of the distribution spec, or the registry's own.
    pub code: Option<Box<str>>,
    /// For a person.
    pub message: Option<Box<str>>,
    /// Any other JSON value, as it was sent.
    pub detail: Option<Value>,
}

impl UpstreamText {
    /// Reads `{"errors":[{"code","message","detail"}]}`, or a token server's `{"details"}` / `{"message"}`. Anything else
    /// gives no errors.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let entries = said.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut errors: Vec<ReportedError> =
            entries.iter().take(MAX_ERRORS).filter_map(ReportedError::read).collect();
        if errors.is_empty() {
            let words = ["details", "message"].iter().find_map(|name| message_in(&said, name));
            errors
                .extend(words.map(|message| ReportedError { message: Some(message), ..ReportedError::default() }));
        }
        let mut left = MAX_REPORT_BYTES;
        let fits = |error: &ReportedError| {
            let bytes = error.to_json("", "").to_string().len();
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        };
        Self { errors: errors.into_iter().take_while(fits).collect() }
    }

    /// Replaces these hosts by `name`: no address of an upstream reaches a client (ARCHITECTURE.md).
    #[must_use]
    pub(crate) fn without_hosts<'a>(self, hosts: impl Iterator<Item = &'a str>, name: &str) -> Self {
        // A host of one word could be any word of the message.
        let mut hosts: Vec<&str> = hosts.filter(|host| host.contains(['.', ':']) && *host != name).collect();
        hosts.sort_by_key(|host| std::cmp::Reverse(host.len()));
        if hosts.is_empty() || self.errors.is_empty() {
            return self;
        }
        let hide = |text: &str| hosts.iter().fold(text.to_owned(), |text, host| text.replace(host, name));
        let errors = self.errors.iter().map(|error| ReportedError {
            code: error.code.clone(),
            message: error.message.as_deref().map(|message| hide(message).into()),
            detail: error.detail.as_ref().map(|detail| each_text(detail, &hide)),
        });
        Self { errors: errors.collect() }
    }

    /// The code of the first error.
    pub fn code(&self) -> Option<&str> {
        self.errors.first()?.code.as_deref()
    }

    /// The message of the first error.
    pub fn message(&self) -> Option<&str> {
        self.errors.first()?.message.as_deref()
    }

    /// All errors.
    pub fn errors(&self) -> &[ReportedError] {
        &self.errors
    }
}

impl ReportedError {
    fn read(entry: &Value) -> Option<Self> {
        let entry = entry.as_object()?;
        let code = entry.get("code").and_then(Value::as_str).filter(|code| is_code(code));
        let detail = entry
            .get("detail")
            .filter(|detail| !detail.is_null())
            .map(|detail| each_text(detail, &without_controls));
        let error = Self {
            code: code.map(Into::into),
            message: message_in(entry, "message"),
            detail: detail.filter(|detail| detail.to_string().len() <= MAX_DETAIL_BYTES),
        };
        (error != Self::default()).then_some(error)
    }

    /// As the distribution spec writes it. `code` and `message` stand in for those that were not sent.
    pub(crate) fn to_json(&self, code: &str, message: &str) -> Value {
        let mut error = json!({
            "code": self.code.as_deref().unwrap_or(code),
            "message": self.message.as_deref().unwrap_or(message),
        });
        if let (Some(detail), Some(object)) = (&self.detail, error.as_object_mut()) {
            object.insert("detail".to_owned(), detail.clone());
        }
        error
    }
}

fn message_in(said: &Map<String, Value>, name: &str) -> Option<Box<str>> {
    let text: String = without_controls(said.get(name)?.as_str()?).chars().take(MAX_MESSAGE_CHARS).collect();
    (!text.is_empty()).then(|| text.into())
}

fn is_code(code: &str) -> bool {
    (1..=MAX_CODE_BYTES).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Without what moves a terminal's cursor, or lets text read otherwise than it is written.
pub(crate) fn without_controls(text: &str) -> String {
    let misleads = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().filter(|c| !c.is_control() && !misleads(*c)).collect()
}

/// The same value with each of its texts changed, names included. It is as deep as what was read, and that is bounded by
/// its parser.
fn each_text(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(change(text)),
        Value::Array(values) => Value::Array(values.iter().map(|value| each_text(value, change)).collect()),
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| (change(name), each_text(value, change))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Value) -> UpstreamText {
        UpstreamText::parse(body.to_string().as_bytes())
    }

    #[test]
    fn every_error_is_read_with_its_code_message_and_detail() {
        let text = parse(&json!({ "errors": [
            { "code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": { "digest": "sha256:1" } },
            { "code": "PAGINATION_NUMBER_INVALID", "message": "n is too large" },
            { "message": "no code", "detail": null },
        ] }));
        let said: Vec<Value> = text.errors().iter().map(|error| error.to_json("OURS", "ours")).collect();
        let expected = [
            json!({ "code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": { "digest": "sha256:1" } }),
            json!({ "code": "PAGINATION_NUMBER_INVALID", "message": "n is too large" }),
            json!({ "code": "OURS", "message": "no code" }),
        ];
        assert_eq!(said, expected);
        assert_eq!((text.code(), text.message()), (Some("MANIFEST_BLOB_UNKNOWN"), Some("blob unknown")));
    }

    #[test]
    fn an_upstreams_text_is_cut_to_size_and_stripped() {
        let hostile = format!("no\u{7}\u{1b}[2J\u{202e} {}", "x".repeat(2000));
        let text = parse(&json!({ "errors": [{
            "code": "DENIED", "message": hostile, "detail": { "a\u{1}b": ["\u{9b}c\r\n", 7] },
        }] }));
        assert_eq!(text.code(), Some("DENIED"));
        let message = text.message().unwrap();
        assert_eq!(message.len(), MAX_MESSAGE_CHARS);
        assert!(message.starts_with("no[2J x"), "{message}");
        assert_eq!(text.errors()[0].detail, Some(json!({ "ab": ["c", 7] })));
    }

    #[test]
    fn many_and_large_errors_stay_within_bounds() {
        let entry = |size: usize| json!({ "code": "DENIED", "message": "m", "detail": "d".repeat(size) });
        let large = parse(&json!({ "errors": [entry(MAX_DETAIL_BYTES + 1)] }));
        assert_eq!(large.errors()[0].detail, None, "too large, and the rest is said");
        for size in [10, 1000] {
            let text = parse(&json!({ "errors": vec![entry(size); 1000] }));
            let all: Vec<Value> = text.errors().iter().map(|error| error.to_json("", "")).collect();
            assert!((1..=MAX_ERRORS).contains(&all.len()), "{}", all.len());
            assert!(json!(all).to_string().len() <= MAX_REPORT_BYTES + MAX_ERRORS + 2);
        }
    }

    #[test]
    fn what_is_not_json_says_nothing() {
        for body in [
            &b"<html>"[..],
            b"",
            b"[]",
            b"{}",
            br#"{"errors":[]}"#,
            br#"{"errors":[{"code":7}]}"#,
            br#"{"errors":7}"#,
        ] {
            assert_eq!(UpstreamText::parse(body), UpstreamText::default());
        }
        for code in ["weird", "A B", "X\r\nY", "", "\u{c9}"] {
            assert_eq!(parse(&json!({ "errors": [{ "code": code, "message": "m" }] })).code(), None, "{code}");
        }
        let deep = format!("{{\"errors\":[{{\"detail\":{}1{}}}]}}", "[".repeat(3000), "]".repeat(3000));
        assert_eq!(UpstreamText::parse(deep.as_bytes()), UpstreamText::default());
    }

    #[test]
    fn the_error_text_of_a_token_server_is_read_too() {
        for body in [r#"{"message":"expired"}"#, r#"{"details":"expired"}"#] {
            assert_eq!(UpstreamText::parse(body.as_bytes()).message(), Some("expired"), "{body}");
        }
    }

    #[test]
    fn an_address_of_the_upstream_is_not_repeated() {
        let text = parse(&json!({ "errors": [{
            "code": "UNKNOWN",
            "message": "Get https://reg.corp:5000/v2/: reg.corp timed out at the registry",
            "detail": { "url": "http://reg.corp:5000/x" },
        }] }));
        let text = text.without_hosts(["reg.corp", "reg.corp:5000", "registry"].into_iter(), "corp");
        assert_eq!(text.message(), Some("Get https://corp/v2/: corp timed out at the registry"));
        assert_eq!(text.errors()[0].detail, Some(json!({ "url": "http://corp/x" })));
    }
}
