//! Multipart uploads as S3, COS, OSS and OBS all implement them. One process can start an upload and another one continue it,
//! which `OpenDAL` does not support.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{Method, Request, Response, StatusCode};
use opendal::Buffer;
use opendal::raw::Timestamp;
use registry_proxy_core::cache::{BLOBS, Key};
use registry_proxy_core::platform::{StoreError, UPLOAD_DEADLINE};
use url::form_urlencoded::byte_serialize;

use super::bucket::{Bucket, RETRIES, store_error};
use super::client::{COMPLETE, REQUEST_TIMEOUT};
use super::xml;

/// Bytes of a part: S3 requires at least 5 MiB, and a small function has little memory. Enough for blobs of up to 78 GiB.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Most parts that S3 accepts in one upload.
pub(super) const MAX_PARTS: usize = 10_000;
/// Pause before the first retry; it doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// Most bytes of a response that are parsed.
const MAX_ANSWER: usize = 64 << 10;
/// Longest id and longest entity tag.
const MAX_WORD: usize = 1024;

/// The core's deadline must be longer than all attempts of one request with the check of the result, and three minutes for the
/// bytes of each part.
const _: () = {
    let tries = RETRIES as u64 + 1;
    let one = COMPLETE.as_secs() + 3 * 60;
    assert!(tries * one + REQUEST_TIMEOUT.as_secs() < UPLOAD_DEADLINE.as_secs());
};

/// One upload of one object.
#[derive(Clone, Copy)]
pub(super) struct Multipart<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a Key,
}

/// Why a store refused a request.
pub(super) enum Refusal {
    /// The upload does not exist (any more).
    Gone,
    /// Permanently: trying again does not help.
    Never(StoreError),
    /// For now: later, or with other credentials, it may succeed.
    NotNow(StoreError),
}

struct UploadRequest<'a> {
    method: Method,
    query: &'a str,
    body: Bytes,
}

impl Multipart<'_> {
    /// Starts an upload and returns its id.
    pub(super) async fn create(self) -> Result<String, StoreError> {
        let ask = UploadRequest { method: Method::POST, query: "uploads", body: Bytes::new() };
        let answer = self.ask(ask).await.map_err(Refusal::into_error)?;
        let id = text_of(answer.body(), "UploadId").unwrap_or_default();
        is_word(&id).then_some(id).ok_or_else(|| StoreError::failed("the answer to a new upload has no id"))
    }

    /// Sends a part; the first is number 1. Returns its entity tag, without quotes.
    pub(super) async fn part(self, id: &str, number: usize, bytes: Bytes) -> Result<String, StoreError> {
        let query = format!("partNumber={number}&{}", upload(id));
        let ask = UploadRequest { method: Method::PUT, query: &query, body: bytes };
        let answer = self.ask(ask).await.map_err(Refusal::into_error)?;
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let tag = tag.trim_matches('"');
        is_word(tag).then(|| tag.to_owned()).ok_or_else(|| StoreError::failed("a part came without an entity tag"))
    }

    /// Whether an upload exists. If we may not see it, assume that it does.
    pub(super) async fn is_there(self, id: &str) -> Result<bool, StoreError> {
        let query = format!("max-parts=1&{}", upload(id));
        let ask = UploadRequest { method: Method::GET, query: &query, body: Bytes::new() };
        match self.ask(ask).await {
            Ok(_) | Err(Refusal::NotNow(StoreError::Denied(_))) => Ok(true),
            Err(Refusal::Gone) => Ok(false),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Completes the upload. Some stores send status 200 before they are done, and then an error in the body.
    pub(super) async fn complete(self, id: &str, tags: &[String]) -> Result<(), Refusal> {
        let body = xml::complete_upload(tags).map_err(|error| Refusal::Never(StoreError::failed(error)))?;
        let ask = UploadRequest { method: Method::POST, query: &upload(id), body: body.into() };
        let answer = self.ask(ask).await?;
        if text_of(answer.body(), "ETag").is_some() {
            return Ok(());
        }
        Err(Refusal::NotNow(StoreError::failed("the answer to a finished upload says nothing of an object")))
    }

    /// Completes the upload and checks the object: the store may have completed it though the response was lost, or may have
    /// stored less than was sent. If the result is unknown, the parts stay.
    pub(super) async fn finish(self, id: &str, tags: &[String], bytes: u64) -> Result<(), Refusal> {
        let completed = match self.complete(id, tags).await {
            Err(refusal @ (Refusal::Never(_) | Refusal::NotNow(StoreError::Denied(_)))) => return Err(refusal),
            completed @ (Ok(()) | Err(Refusal::Gone | Refusal::NotNow(_))) => completed,
        };
        match (completed, self.bucket.verify_length(self.key, bytes).await) {
            (Ok(()), looked) => looked.map_err(Refusal::NotNow),
            (Err(_), Ok(())) => Ok(()),
            (Err(refusal), Err(_)) => Err(refusal),
        }
    }

    /// Aborts the upload.
    pub(super) async fn abort(self, id: &str) -> Result<(), StoreError> {
        let ask = UploadRequest { method: Method::DELETE, query: &upload(id), body: Bytes::new() };
        match self.ask(ask).await {
            Ok(_) | Err(Refusal::Gone) => Ok(()),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    async fn ask(self, ask: UploadRequest<'_>) -> Result<Response<Bytes>, Refusal> {
        let url = self.bucket.url(self.key).await.map_err(Refusal::NotNow)?;
        self.bucket.ask(&url.to_string(), ask).await
    }
}

/// An upload that was neither completed nor aborted.
pub(super) struct UnfinishedUpload {
    pub(super) key: Key,
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) at: u64,
}

impl Bucket {
    /// Unfinished uploads of blobs, as many as a store lists in one response.
    pub(super) async fn unfinished_uploads(&self) -> Result<Vec<UnfinishedUpload>, StoreError> {
        let (url, root) = self.base_url().await?;
        let prefix: String = byte_serialize(format!("{root}{BLOBS}").as_bytes()).collect();
        let query = format!("uploads&prefix={prefix}");
        let ask = UploadRequest { method: Method::GET, query: &query, body: Bytes::new() };
        let answer = self.ask(&url, ask).await.map_err(Refusal::into_error)?;
        Ok(begun(answer.body(), &root))
    }

    /// Sends a request, with retries where they may help.
    async fn ask(&self, url: &str, ask: UploadRequest<'_>) -> Result<Response<Bytes>, Refusal> {
        let url = format!("{url}?{}", ask.query);
        let mut pause = PAUSE;
        for _ in 0..RETRIES {
            match self.ask_once(&url, &ask).await {
                Err(Attempt::Temporary(_)) => {}
                Err(Attempt::Final(refusal)) => return Err(refusal),
                Ok(answer) => return Ok(answer),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.ask_once(&url, &ask).await.map_err(|attempt| match attempt {
            Attempt::Temporary(error) => Refusal::NotNow(error),
            Attempt::Final(refusal) => refusal,
        })
    }

    async fn ask_once(&self, url: &str, ask: &UploadRequest<'_>) -> Result<Response<Bytes>, Attempt> {
        let fatal = |error: http::Error| Attempt::Final(Refusal::Never(StoreError::failed(error)));
        let mut request = Request::builder().method(&ask.method).uri(url);
        if matches!(ask.method, Method::POST | Method::PUT) {
            request = request.header(CONTENT_LENGTH, ask.body.len());
        }
        if ask.method == Method::POST && !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/xml");
        }
        let request = request.body(Buffer::from(ask.body.clone())).map_err(fatal)?;
        let answer = match self.transport.send(request).await {
            Err(error) if error.is_temporary() => return Err(Attempt::Temporary(store_error(error))),
            Err(error) => return Err(Attempt::Final(Refusal::NotNow(store_error(error)))),
            Ok(answer) => answer.map(|body| body.to_bytes()),
        };
        judge(answer)
    }
}

/// Why one attempt failed.
enum Attempt {
    /// Another attempt may succeed.
    Temporary(StoreError),
    Final(Refusal),
}

/// Judges a response by its status, and by an error in its body even with status 200.
fn judge(answer: Response<Bytes>) -> Result<Response<Bytes>, Attempt> {
    let status = answer.status();
    let code = error_code(answer.body());
    if status.is_success() && code.is_none() {
        return Ok(answer);
    }
    let code = code.unwrap_or_default();
    let what = format!("{status} {code}").trim_end().to_owned();
    let is_busy = matches!(&*code, "InternalError" | "RequestTimeout" | "SlowDown" | "ServiceUnavailable");
    let is_for_now = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if is_busy || is_for_now || status.is_server_error() {
        return Err(Attempt::Temporary(StoreError::failed(what)));
    }
    Err(Attempt::Final(match (status, &*code) {
        (_, "NoSuchUpload") => Refusal::Gone,
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Refusal::NotNow(StoreError::Denied(what.into())),
        _ => Refusal::Never(StoreError::failed(what)),
    }))
}

impl Refusal {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Gone => StoreError::failed("the upload is not there any more"),
            Self::Never(error) | Self::NotNow(error) => error,
        }
    }
}

fn upload(id: &str) -> String {
    format!("uploadId={}", byte_serialize(id.as_bytes()).collect::<String>())
}

/// Whether the text is short and needs no escaping in XML or in a line of words.
pub(super) fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'*');
    !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(is_plain)
}

/// The code of an error in the body, if there is one.
fn error_code(xml: &[u8]) -> Option<String> {
    let text = beginning(xml)?;
    xml::has(text, "Error").then(|| xml::text(text, "Code").unwrap_or_default())
}

/// Parses a list of uploads. Skips those that are not ours.
fn begun(xml: &[u8], root: &str) -> Vec<UnfinishedUpload> {
    let uploads = xml::elements(std::str::from_utf8(xml).unwrap_or_default(), "Upload");
    let read = |upload: &str| {
        let word = |name| xml::text(upload, name);
        let key = Key::parse(word("Key")?.strip_prefix(root)?)?;
        let id = word("UploadId").filter(|id| is_word(id))?;
        let at: Timestamp = word("Initiated")?.parse().ok()?;
        Some(UnfinishedUpload { key, id, at: u64::try_from(at.into_inner().as_second()).ok()? })
    };
    uploads.filter_map(read).collect()
}

/// The text of the first element with this name.
fn text_of(xml: &[u8], name: &'static str) -> Option<String> {
    xml::text(beginning(xml)?, name)
}

/// As much of a response as is parsed.
fn beginning(xml: &[u8]) -> Option<&str> {
    std::str::from_utf8(xml.get(..xml.len().min(MAX_ANSWER))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &'static str) -> &'static str {
        let answer = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
        match judge(answer) {
            Ok(_) => "yes",
            Err(Attempt::Temporary(_)) => "again",
            Err(Attempt::Final(Refusal::Gone)) => "gone",
            Err(Attempt::Final(Refusal::NotNow(_))) => "denied",
            Err(Attempt::Final(Refusal::Never(_))) => "no",
        }
    }

    #[test]
    fn an_answer_is_what_its_body_says() {
        for (status, body, expected) in [
            (200, "", "yes"),
            (200, "<CompleteMultipartUploadResult><ETag>\"x-1\"</ETag></CompleteMultipartUploadResult>", "yes"),
            (200, "  \n<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>", "again"),
            (200, "<Error><Code>InvalidPart</Code><Message>m</Message></Error>", "no"),
            (404, "<Error><Code>NoSuchUpload</Code></Error>", "gone"),
            (404, "<Error><Code>NoSuchBucket</Code></Error>", "no"),
            (403, "<Error><Code>AccessDenied</Code></Error>", "denied"),
            (500, "", "again"),
            (503, "<Error><Code>SlowDown</Code></Error>", "again"),
            (429, "", "again"),
            (400, "<Error><Code>RequestTimeout</Code></Error>", "again"),
            (301, "", "no"),
        ] {
            assert_eq!(judged(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn of_a_list_of_uploads_only_what_is_ours_is_read() {
        let upload = |key: &str, id: &str, at: &str| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Owner><ID>7</ID></Owner><Initiated>{at}</Initiated></Upload>"
            )
        };
        let (ours, at) =
            (Key::blob(&registry_proxy_core::digest::Digest::sha256(b"")), "2026-05-01T00:00:07.000Z");
        let uploads = [
            upload(&format!("p/{ours}"), "a+b/c=", at),
            upload(&format!("q/{ours}"), "1", at),
            upload("p/v1/blobs/other", "2", at),
            upload(&format!("p/{ours}"), "3 4", at),
            upload(&format!("p/{ours}"), "5", "yesterday"),
        ];
        let xml = format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", uploads.concat());
        let found: Vec<_> = begun(xml.as_bytes(), "p/").into_iter().map(|one| (one.key, one.id, one.at)).collect();
        assert_eq!(found, [(ours, "a+b/c=".to_owned(), 1_777_593_607)]);
        assert!(begun(b"<Error>", "p/").is_empty() && begun(&[0xff], "").is_empty());
    }

    #[test]
    fn ids_are_read_and_nothing_is_smuggled_with_them() {
        let answer = b"<InitiateMultipartUploadResult xmlns=\"x\"><UploadId>a+b/c=</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(text_of(answer, "UploadId").as_deref(), Some("a+b/c="));
        assert_eq!(text_of(b"<UploadId>", "UploadId"), None);
        assert_eq!(upload("a+b/c="), "uploadId=a%2Bb%2Fc%3D");
        for bad in ["", "a b", "a\nb", "</ETag>", "\"", "é"] {
            assert!(!is_word(bad), "{bad}");
        }
    }
}
