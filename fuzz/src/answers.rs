//! Answers of upstreams: status lines, heads and bodies as a registry, a token server and a storage host may send them, to a
//! proxy that a client asks for content. Time is virtual.
//!
//! Of an input, the first byte says what the client asks for, and the rest is answers, separated by the byte 0x1e, each with a
//! status in its first line, then headers, an empty line and a body. Whatever the proxy sends gets the next answer.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::digest::Digest;
use registry_proxy_core::notification::Notifications;
use registry_proxy_core::platform::{Clock, Moment, Platform, Profile, Sleep, Store, Tasks};
use registry_proxy_core::testing::{Answer, CountingEntropy, Network, Sent, stored_nowhere};
use registry_proxy_core::{Body, Cx, Proxy};
use tokio::time::{Instant, timeout};

/// What the client asks for by digest, besides what the input says.
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
const BLOB: &str = "sixteen bytes...";

/// Answers of an input; the last is given again and again.
const ANSWERS: usize = 16;
/// Requests that the proxy may send for one of a client: retries, a login, redirects and ranges of them all.
const REQUESTS: usize = 100;
/// How long one request of a client may take.
const PATIENCE: Duration = Duration::from_mins(10);

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "[[upstream]]\nname='reg.example'\nurls=['https://reg.example']\ndefault=true\nusername='robot'\n\
                password='the secret word'\n";
    Config::load(&Sources { text: Some(text), variables: Vec::new(), read: &stored_nowhere })
        .expect("a configuration")
});

struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }

    fn unix_seconds(&self) -> u64 {
        1_700_000_000 + self.0.elapsed().as_secs()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct LocalTasks;

impl Tasks for LocalTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }
}

/// What a client may ask for.
#[derive(Clone, Copy)]
enum Question {
    Tag,
    HeadOfTag,
    Manifest,
    Blob,
    Range,
    HeadOfBlob,
    Tags,
    Referrers,
}

impl Question {
    const ALL: [Self; 8] = [
        Self::Tag,
        Self::HeadOfTag,
        Self::Manifest,
        Self::Blob,
        Self::Range,
        Self::HeadOfBlob,
        Self::Tags,
        Self::Referrers,
    ];

    fn path(self) -> String {
        let (manifest, blob) = (Digest::sha256(MANIFEST.as_bytes()), Digest::sha256(BLOB.as_bytes()));
        match self {
            Self::Tag | Self::HeadOfTag => "/v2/a/b/manifests/latest".to_owned(),
            Self::Manifest => format!("/v2/a/b/manifests/{manifest}"),
            Self::Blob | Self::Range | Self::HeadOfBlob => format!("/v2/a/b/blobs/{blob}"),
            Self::Tags => "/v2/a/b/tags/list".to_owned(),
            Self::Referrers => format!("/v2/a/b/referrers/{manifest}"),
        }
    }

    fn method(self) -> Method {
        match self {
            Self::HeadOfTag | Self::HeadOfBlob => Method::HEAD,
            Self::Tag | Self::Manifest | Self::Blob | Self::Range | Self::Tags | Self::Referrers => Method::GET,
        }
    }
}

/// The target.
///
/// # Panics
///
/// Where the proxy does something that it must not do, whatever an upstream says.
pub fn answers(bytes: &[u8]) {
    let Some((kinds, rest)) = bytes.split_first() else { return };
    let answers: Vec<Answer> = rest.split(|byte| *byte == 0x1e).take(ANSWERS).filter_map(answer).collect();
    if answers.is_empty() {
        return;
    }
    let question = |bits: u8| Question::ALL[usize::from(bits & 7)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    // The second is asked of what the first has left in the cache.
    let (questions, is_cached) = ([question(*kinds), question(*kinds >> 3)], kinds & 0x40 != 0);
    runtime.block_on(ask(&questions, answers, is_cached));
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let (head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let claimed = headers.remove(CONTENT_LENGTH);
    let length = claimed.and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Answer { status, headers, body: Bytes::copy_from_slice(body), length })
}

async fn ask(questions: &[Question], answers: Vec<Answer>, is_cached: bool) {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
    let net = Arc::new(Network::new(Arc::clone(&clock)));
    let given = AtomicUsize::new(0);
    net.serve("", move |_: &Sent| {
        let number = given.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        answers[number].clone()
    });
    let store = is_cached.then(|| Arc::new(MemoryStore::new(1 << 20, Arc::clone(&clock))) as Arc<dyn Store>);
    let platform = Platform {
        transport: Arc::clone(&net) as _,
        clock,
        entropy: Arc::new(CountingEntropy::new(1)),
        passwords: None,
        signers: Vec::new(),
        verdict_services: None,
        token_issuers: None,
        credentials: None,
        login_issuer: None,
        store,
        invoker: None,
        notifications: Notifications::default(),
        tasks: Arc::new(LocalTasks),
        capabilities: Profile::default().capabilities(),
    };
    let proxy = Proxy::new(&CONFIG, &platform);
    for (id, question) in (1..).zip(questions) {
        let before = net.log().len();
        timeout(PATIENCE, served(&proxy, *question, id)).await.expect("an answer that ends");
        assert!(proxy.flush(PATIENCE).await, "the work behind an answer ends");
        let log = net.log();
        let sent = &log[before..];
        assert!(sent.len() <= REQUESTS, "{} requests for one", sent.len());
        sent.iter().for_each(keeps_its_secrets);
    }
}

/// One request of a client, and what must hold of the answer.
async fn served(proxy: &Proxy, question: Question, id: u64) {
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = question.method();
    *request.uri_mut() = question.path().parse().expect("a path");
    request.headers_mut().insert(HOST, HeaderValue::from_static("proxy.example"));
    if matches!(question, Question::Range) {
        request.headers_mut().insert(RANGE, HeaderValue::from_static("bytes=2-5"));
    }
    let cx = Cx { peer: Some(IpAddr::from([203, 0, 113, 7])), introduced: None, is_tls: true, id };
    let (head, mut body) = proxy.handle(&cx, request).await.into_parts();
    let (mut bytes, mut is_whole) = (Vec::new(), true);
    while let Some(piece) = body.chunk().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(_) => is_whole = false,
        }
    }
    for value in head.headers.values() {
        let is_told = value.as_bytes().windows(6).any(|part| part == b"secret");
        assert!(!is_told, "a client is not told the password: {value:?}");
    }
    // What is not kept is passed on as it comes: only clients verify it then.
    let is_relayed =
        head.headers.get("x-registry-proxy").is_some_and(|how| how.as_bytes().starts_with(b"relayed"));
    let is_served = head.status == StatusCode::OK && is_whole && !is_relayed;
    match question {
        Question::Manifest if is_served => assert_eq!(bytes, MANIFEST.as_bytes(), "the bytes of the digest"),
        Question::Blob if is_served => assert_eq!(bytes, BLOB.as_bytes(), "the bytes of the digest"),
        Question::Range if is_whole && head.status == StatusCode::PARTIAL_CONTENT => {
            assert!(bytes.len() <= 4, "no more than was asked for");
        }
        Question::HeadOfTag | Question::HeadOfBlob => assert!(bytes.is_empty(), "HEAD has no body"),
        Question::Tag
        | Question::Manifest
        | Question::Blob
        | Question::Range
        | Question::Tags
        | Question::Referrers => {}
    }
}

/// The account, and tokens for it, go to the registry's own domain only, and encrypted.
fn keeps_its_secrets(sent: &Sent) {
    if sent.header("authorization").is_empty() {
        return;
    }
    let origin = sent.origin();
    let host = origin.strip_prefix("https://").unwrap_or_else(|| panic!("a login over {origin}"));
    let host = host.split(':').next().unwrap_or_default();
    assert!(host == "reg.example" || host.ends_with(".reg.example"), "a login for {origin}");
}
