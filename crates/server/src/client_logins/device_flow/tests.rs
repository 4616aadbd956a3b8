use std::collections::VecDeque;
use std::sync::Mutex;

use super::super::web_token::tests::token;
use super::*;

const ISSUER: &str = "https://id.test/realm";
const DISCOVERY: &str = r#"{"issuer":"https://id.test/realm","token_endpoint":"https://id.test/token",
    "device_authorization_endpoint":"https://id.test/device"}"#;
const DEVICE: &str = r#"{"device_code":"d3v1c3","user_code":"ABCD-EFGH","verification_uri":"https://id.test/confirm",
    "expires_in":900,"interval":5}"#;
const PENDING: &str = r#"{"error":"authorization_pending"}"#;
const SLOW_DOWN: &str = r#"{"error":"slow_down"}"#;

/// An issuer by script. It writes down what it is asked, with the second of the virtual time.
struct ScriptedIssuer {
    discovery: String,
    device: (u16, String),
    /// The answers to questions for tokens; `None`: no connection. The last one is repeated.
    tokens: Mutex<VecDeque<Option<(u16, String)>>>,
    asked: Mutex<Vec<(u64, String)>>,
    begun: Instant,
}

impl ScriptedIssuer {
    fn new(tokens: &[(u16, &str)]) -> Self {
        Self {
            discovery: DISCOVERY.to_owned(),
            device: (200, DEVICE.to_owned()),
            tokens: Mutex::new(tokens.iter().map(|(status, text)| Some((*status, (*text).to_owned()))).collect()),
            asked: Mutex::default(),
            begun: Instant::now(),
        }
    }

    fn with_device(mut self, status: u16, answer: &str) -> Self {
        self.device = (status, answer.to_owned());
        self
    }

    fn with_discovery(mut self, answer: &str) -> Self {
        answer.clone_into(&mut self.discovery);
        self
    }

    /// The seconds at which it was asked for tokens.
    fn polled_at(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(_, what)| what.starts_with("/token")).map(|(second, _)| *second).collect()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push((self.begun.elapsed().as_secs(), what));
    }
}

fn response((status, text): (u16, String)) -> Response<Bytes> {
    Response::builder().status(status).body(text.into()).unwrap()
}

#[async_trait]
impl AskIssuer for ScriptedIssuer {
    async fn get(&self, url: &Url) -> Result<Response<Bytes>, String> {
        self.note(url.path().to_owned());
        Ok(response((200, self.discovery.clone())))
    }

    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<Response<Bytes>, String> {
        let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.note(format!("{} {}", url.path(), form.join("&")));
        if url.path() == "/device" {
            return Ok(response(self.device.clone()));
        }
        let mut tokens = self.tokens.lock().unwrap();
        let next = if tokens.len() > 1 { tokens.pop_front().unwrap() } else { tokens[0].clone() };
        next.map(response).ok_or_else(|| "no connection".to_owned())
    }
}

async fn log_in_at(issuer: &ScriptedIssuer) -> Result<IssuedTokens, String> {
    let wish = LoginWish { client_id: "cli", scope: "openid offline_access", audience: Some("p.test") };
    log_in(&issuer_url(ISSUER).unwrap(), wish, issuer, |_| {}).await
}

fn issued() -> String {
    let id_token = token(r#"{"exp":1790000000,"aud":"p.test"}"#);
    format!(
        r#"{{"token_type":"Bearer","access_token":"opaque","id_token":"{id_token}","refresh_token":"r3fr3sh"}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn the_issuer_is_asked_at_its_own_pace_until_the_person_has_confirmed() {
    let issuer = ScriptedIssuer::new(&[(400, PENDING), (400, PENDING), (200, &issued())]);
    let tokens = log_in_at(&issuer).await.unwrap();
    let token = tokens.for_proxy(Some("p.test")).unwrap();
    assert_eq!(token.expires, 1_790_000_000);
    assert_eq!(tokens.refresh.unwrap().expose(), "r3fr3sh");
    let asked: Vec<String> = issuer.asked.lock().unwrap().iter().map(|(_, what)| what.clone()).collect();
    let poll = "/token grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=d3v1c3&client_id=cli";
    let expected = [
        "/realm/.well-known/openid-configuration",
        "/device client_id=cli&scope=openid offline_access&audience=p.test",
        poll,
        poll,
        poll,
    ];
    assert_eq!(asked, expected);
    assert_eq!(issuer.polled_at(), [5, 10, 15]);
}

#[tokio::test(start_paused = true)]
async fn slow_down_adds_five_seconds_each_time_and_trouble_doubles_the_pause() {
    let issuer = ScriptedIssuer::new(&[
        (400, SLOW_DOWN),
        (400, PENDING),
        (400, SLOW_DOWN),
        (503, "<html>busy</html>"),
        (400, PENDING),
        (200, &issued()),
    ]);
    issuer.tokens.lock().unwrap().insert(3, None);
    log_in_at(&issuer).await.unwrap();
    // 5, then 10, 10, 15, and 30 after the lost connection, and 60 at most after the 503.
    assert_eq!(issuer.polled_at(), [5, 15, 25, 40, 70, 130, 190]);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_or_too_late_ends_and_says_so() {
    for (answer, says) in [
        (r#"{"error":"access_denied"}"#, "refused on the page"),
        (r#"{"error":"expired_token"}"#, "not confirmed in time"),
        (
            r#"{"error":"invalid_client","error_description":"no \u001b[31msuch client"}"#,
            "invalid_client: no [31msuch client",
        ),
        ("not JSON", "400 Bad Request"),
    ] {
        let issuer = ScriptedIssuer::new(&[(400, PENDING), (400, answer)]);
        let refused = log_in_at(&issuer).await.unwrap_err();
        assert!(refused.contains(says) && !refused.contains('\u{1b}'), "{answer}: {refused}");
        assert_eq!(issuer.polled_at(), [5, 10]);
    }
    let issuer = ScriptedIssuer::new(&[(400, PENDING)]);
    let refused = log_in_at(&issuer).await.unwrap_err();
    assert!(refused.contains("not confirmed in time"), "{refused}");
    assert_eq!(issuer.polled_at().last(), Some(&895));
}

#[tokio::test(start_paused = true)]
async fn no_pause_and_no_patience_is_as_short_or_long_as_an_issuer_may_want() {
    for (numbers, pace, last) in [
        (r#""expires_in":10"#, 5, 5),
        (r#""expires_in":10,"interval":0"#, 1, 9),
        (r#""expires_in":100000000000,"interval":100000000000"#, 60, 3540),
    ] {
        let device =
            format!(r#"{{"device_code":"d","user_code":"A","verification_uri":"https://id.test/c",{numbers}}}"#);
        let issuer = ScriptedIssuer::new(&[(400, PENDING)]).with_device(200, &device);
        log_in_at(&issuer).await.unwrap_err();
        let polled = issuer.polled_at();
        assert_eq!((polled.first(), polled.last()), (Some(&pace), Some(&last)), "{numbers}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_not_what_it_should_be_gets_no_question_for_tokens() {
    let device = |from: &str, to: &str| DEVICE.replace(from, to);
    for (status, answer, says) in [
        (200, device("https://id.test/confirm", "http://id.test/confirm"), "not https"),
        (200, device("https://id.test/confirm", "javascript:alert(1)"), "not https"),
        (200, device("ABCD-EFGH", "A\\u001b[2J"), "cannot be shown"),
        (200, device("ABCD-EFGH", "\\u202eHGFE"), "cannot be shown"),
        (200, device("ABCD-EFGH", &"A".repeat(10_000)), "cannot be shown"),
        (200, device("ABCD-EFGH", ""), "cannot be shown"),
        (200, device("900", "\"soon\""), "without a code"),
        (200, device("900", "-1"), "without a code"),
        (200, "[]".to_owned(), "without a code"),
        (302, DEVICE.to_owned(), "without a code"),
        (400, r#"{"error":"invalid_scope"}"#.to_owned(), "invalid_scope"),
    ] {
        let issuer = ScriptedIssuer::new(&[(200, &issued())]).with_device(status, &answer);
        let refused = log_in_at(&issuer).await.unwrap_err();
        assert!(refused.contains(says) && !refused.contains('\u{1b}'), "{answer:.200}: {refused}");
        assert!(issuer.polled_at().is_empty());
    }
    let discovery = |from: &str, to: &str| DISCOVERY.replace(from, to);
    for (answer, says) in [
        (discovery("https://id.test/token", "http://id.test/token"), "not https"),
        (discovery("https://id.test/token", "http://169.254.169.254/token"), "not https"),
        (discovery("https://id.test/token", "http://127.0.0.1/token"), "not https"),
        (discovery("https://id.test/device", "http://id.test/device"), "not https"),
        (
            discovery(r#""issuer":"https://id.test/realm""#, r#""issuer":"https://evil.test""#),
            "is that of https://evil.test",
        ),
        (discovery("device_authorization_endpoint", "other"), "has no device flow"),
        (discovery(r#""https://id.test/token""#, "7"), "cannot be read"),
        ("<html>".to_owned(), "cannot be read"),
    ] {
        let issuer = ScriptedIssuer::new(&[(200, &issued())]).with_discovery(&answer);
        let refused = log_in_at(&issuer).await.unwrap_err();
        assert!(refused.contains(says), "{answer}: {refused}");
        assert!(issuer.asked.lock().unwrap().iter().all(|(_, what)| what.starts_with("/realm/")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_renewed_by_the_token_that_came_with_it() {
    let issuer = ScriptedIssuer::new(&[(200, &issued())]);
    let url = issuer_url(ISSUER).unwrap();
    let tokens = renew(&url, "cli", &Secret::new("0ld"), &issuer).await.unwrap();
    tokens.for_proxy(Some("p.test")).unwrap();
    let asked = issuer.asked.lock().unwrap()[1].1.clone();
    assert_eq!(asked, "/token grant_type=refresh_token&refresh_token=0ld&client_id=cli");
    for (status, answer, says) in
        [(400, r#"{"error":"invalid_grant"}"#, "invalid_grant"), (502, "", "502"), (200, "{}{}", "200")]
    {
        let issuer = ScriptedIssuer::new(&[(status, answer)]);
        let refused = renew(&url, "cli", &Secret::new("0ld"), &issuer).await.unwrap_err();
        assert!(refused.contains(says) && !refused.contains("0ld"), "{refused}");
    }
}

#[test]
fn the_proxy_gets_a_token_that_is_for_it_and_no_other() {
    let tokens = |id: Option<&str>, access: Option<&str>| IssuedTokens {
        id: id.map(|payload| Secret::new(token(payload))),
        access: access.map(|payload| Secret::new(token(payload))),
        refresh: None,
    };
    let for_client = r#"{"exp":1,"aud":"cli"}"#;
    let for_proxy = r#"{"exp":2,"aud":["account","p.test"]}"#;
    for (id, access, audience, expires) in [
        (Some(for_client), Some(for_proxy), None, 1),
        (Some(for_client), Some(for_proxy), Some("p.test"), 2),
        (Some(for_proxy), Some(for_client), Some("p.test"), 2),
        (None, Some(for_proxy), Some("p.test"), 2),
        (Some(for_client), None, Some("cli"), 1),
    ] {
        assert_eq!(
            tokens(id, access).for_proxy(audience).unwrap().expires,
            expires,
            "{id:?} {access:?} {audience:?}"
        );
    }
    for (id, access, audience, says) in [
        (None, Some(for_proxy), None, "openid"),
        (None, None, None, "openid"),
        (Some(for_client), None, Some("p.test"), "no token for p.test, but for cli"),
        (None, None, Some("p.test"), "no token that says it is for p.test"),
        (Some(r#"{"aud":"cli"}"#), None, None, "does not say when it ends"),
    ] {
        let refused = tokens(id, access).for_proxy(audience).unwrap_err();
        assert!(refused.contains(says), "{id:?} {access:?} {audience:?}: {refused}");
    }
    let opaque = IssuedTokens { access: Some(Secret::new("opaque")), ..tokens(None, None) };
    opaque.for_proxy(Some("p.test")).unwrap_err();
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    for (issuer, named, may) in [
        ("https://id.test", "https://other.test/token", true),
        ("https://id.test", "http://id.test/token", false),
        ("https://id.test", "http://127.0.0.1/token", false),
        ("http://127.0.0.1:80", "http://127.0.0.1:81/token", true),
        ("http://localhost", "http://[::1]/token", true),
        ("http://127.0.0.1", "https://id.test/token", true),
        ("http://127.0.0.1", "http://10.0.0.1/token", false),
    ] {
        assert_eq!(may_name(&issuer_url(issuer).unwrap(), &named.parse().unwrap()), may, "{issuer} {named}");
    }
    for issuer in ["http://id.test", "http://127.0.0.1.evil.test", "http://10.0.0.1", "file:///etc/passwd"] {
        issuer_url(issuer).unwrap_err();
    }
}
