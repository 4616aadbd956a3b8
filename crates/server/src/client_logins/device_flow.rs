//! The device authorization grant (RFC 8628): a person confirms a code in a browser on any device, and this program asks the
//! issuer until it has. What answers mean is decided here; `issuer_client` carries requests.

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, StatusCode};
use registry_proxy_core::secret::Secret;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use url::{Host, Url};

use super::web_token::WebToken;

/// The pause between two questions where the issuer names none (RFC 8628 section 3.2).
const DEFAULT_INTERVAL: u64 = 5;
/// What `slow_down` adds to the pause (section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The shortest and the longest pause, whatever an issuer says.
const INTERVALS: [u64; 2] = [1, 60];
/// The longest time that a person has for the confirmation, whatever an issuer says.
const MOST_PATIENCE: u64 = 60 * 60;
/// The most characters of a user code, an address or an error that are shown.
const MOST_SHOWN: usize = 512;
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Asks an issuer.
#[async_trait]
pub(super) trait AskIssuer: Sync {
    /// The answer to a GET, whatever its status.
    async fn get(&self, url: &Url) -> Result<Response<Bytes>, String>;
    /// The answer to a POST of a form, whatever its status.
    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<Response<Bytes>, String>;
}

/// Whom a login is for, and what it may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoginWish<'a> {
    pub(super) client_id: &'a str,
    pub(super) scope: &'a str,
    pub(super) audience: Option<&'a str>,
}

/// The issuer's addresses (OpenID Connect Discovery 1.0 section 3).
#[derive(Debug)]
pub(super) struct IssuerEndpoints {
    pub(super) token: Url,
    /// `None`: it has no device flow.
    pub(super) device_authorization: Option<Url>,
}

/// What a person is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DevicePrompt {
    pub(super) verification_uri: Url,
    pub(super) verification_uri_complete: Option<Url>,
    pub(super) user_code: String,
    pub(super) patience: Duration,
}

/// What a person confirms, and how the issuer is asked for the outcome.
struct DeviceGrant {
    prompt: DevicePrompt,
    device_code: Secret,
    interval: Duration,
}

/// Tokens of an issuer.
#[derive(Debug, Deserialize)]
pub(super) struct IssuedTokens {
    #[serde(rename = "id_token")]
    id: Option<Secret>,
    #[serde(rename = "access_token")]
    access: Option<Secret>,
    /// What the next ones are asked for with.
    #[serde(rename = "refresh_token")]
    pub(super) refresh: Option<Secret>,
}

/// The token that the proxy takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProxyToken {
    pub(super) token: Secret,
    /// In seconds since 1970.
    pub(super) expires: u64,
}

/// What an answer to the question for tokens means.
enum PollVerdict {
    Issued(IssuedTokens),
    Pending,
    SlowDown,
    /// The issuer is in trouble.
    Later,
    Never(String),
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    token_endpoint: Url,
    device_authorization_endpoint: Option<Url>,
}

#[derive(Deserialize)]
struct DeviceAuthorizationAnswer {
    device_code: Secret,
    user_code: String,
    // Google's name for it.
    #[serde(alias = "verification_url")]
    verification_uri: Url,
    verification_uri_complete: Option<Url>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct OAuthError {
    error: String,
    error_description: Option<String>,
}

/// The issuer's address, if it is one that secrets may be sent to.
pub(super) fn issuer_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    let url = url.filter(|url| url.host().is_some() && url.username().is_empty() && url.password().is_none());
    url.filter(|url| url.scheme() == "https" || is_local(url))
        .ok_or_else(|| format!("--issuer {}: expected https://…", shown(text)))
}

/// Plain HTTP on this machine, as issuers on trial have it.
fn is_local(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && is_loopback
}

/// Whether an issuer may name this address: TLS, unless the issuer itself has none.
fn may_name(issuer: &Url, url: &Url) -> bool {
    url.host().is_some() && (url.scheme() == "https" || is_local(issuer) && is_local(url))
}

/// Asks for the issuer's addresses.
pub(super) async fn endpoints(issuer: &Url, ask: &impl AskIssuer) -> Result<IssuerEndpoints, String> {
    let mut address = issuer.clone();
    address.set_path(&format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/')));
    let answer = ask.get(&address).await?;
    let document: DiscoveryDocument = parsed(&answer, StatusCode::OK)
        .ok_or_else(|| format!("{issuer}: its openid-configuration cannot be read ({})", answer.status()))?;
    // OpenID Connect Discovery 1.0 section 4.3; people leave the slash at the end away.
    if document.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        return Err(format!("{issuer}: its openid-configuration is that of {}", shown(&document.issuer)));
    }
    let named = [Some(&document.token_endpoint), document.device_authorization_endpoint.as_ref()];
    if let Some(wrong) = named.into_iter().flatten().find(|url| !may_name(issuer, url)) {
        return Err(format!(
            "{issuer}: its openid-configuration names {}, which is not https",
            shown(wrong.as_str())
        ));
    }
    let DiscoveryDocument { token_endpoint: token, device_authorization_endpoint: device_authorization, .. } =
        document;
    Ok(IssuerEndpoints { token, device_authorization })
}

/// Has a person confirm the login, and waits for it. `tell` is called once.
pub(super) async fn log_in(
    issuer: &Url,
    wish: LoginWish<'_>,
    ask: &impl AskIssuer,
    tell: impl FnOnce(&DevicePrompt),
) -> Result<IssuedTokens, String> {
    let endpoints = endpoints(issuer, ask).await?;
    let device = endpoints.device_authorization.as_ref();
    let device = device.ok_or_else(|| format!("{issuer} has no device flow (device_authorization_endpoint)"))?;
    let mut form = vec![("client_id", wish.client_id), ("scope", wish.scope)];
    form.extend(wish.audience.map(|audience| ("audience", audience)));
    let answer = ask.post(device, &form).await?;
    let grant = DeviceGrant::read(issuer, &answer)?;
    // The time for the confirmation begins with the answer (section 3.2).
    let until = Instant::now() + grant.prompt.patience;
    tell(&grant.prompt);
    let form =
        [("grant_type", GRANT_TYPE), ("device_code", grant.device_code.expose()), ("client_id", wish.client_id)];
    let mut interval = grant.interval;
    loop {
        sleep(interval).await;
        if Instant::now() >= until {
            return Err("the code was not confirmed in time: begin again".to_owned());
        }
        let verdict = match ask.post(&endpoints.token, &form).await {
            Ok(answer) => PollVerdict::of(&answer),
            Err(_) => PollVerdict::Later,
        };
        match verdict {
            PollVerdict::Issued(tokens) => return Ok(tokens),
            PollVerdict::Pending => {}
            PollVerdict::SlowDown => interval += SLOWER,
            // Section 3.5: less often where nobody answers.
            PollVerdict::Later => interval = (interval * 2).min(Duration::from_secs(INTERVALS[1])),
            PollVerdict::Never(what) => return Err(what),
        }
    }
}

/// Asks for new tokens in place of those that end (RFC 6749 section 6).
pub(super) async fn renew(
    issuer: &Url,
    client_id: &str,
    refresh_token: &Secret,
    ask: &impl AskIssuer,
) -> Result<IssuedTokens, String> {
    let endpoints = endpoints(issuer, ask).await?;
    let form =
        [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose()), ("client_id", client_id)];
    let answer = ask.post(&endpoints.token, &form).await?;
    match PollVerdict::of(&answer) {
        PollVerdict::Issued(tokens) => Ok(tokens),
        PollVerdict::Never(what) => Err(what),
        PollVerdict::Pending | PollVerdict::SlowDown | PollVerdict::Later => {
            Err(format!("{issuer} answers {}", answer.status()))
        }
    }
}

impl DeviceGrant {
    fn read(issuer: &Url, answer: &Response<Bytes>) -> Result<Self, String> {
        let Some(read) = parsed::<DeviceAuthorizationAnswer>(answer, StatusCode::OK) else {
            return Err(
                refusal(answer).unwrap_or_else(|| format!("{issuer} answers {} without a code", answer.status()))
            );
        };
        let pages = [Some(&read.verification_uri), read.verification_uri_complete.as_ref()];
        if let Some(wrong) = pages.into_iter().flatten().find(|url| !may_name(issuer, url)) {
            return Err(format!("{issuer} wants the code on {}, which is not https", shown(wrong.as_str())));
        }
        if read.user_code.is_empty() || shown(&read.user_code) != read.user_code {
            return Err(format!("{issuer} gave a code that cannot be shown"));
        }
        let [shortest, longest] = INTERVALS;
        let prompt = DevicePrompt {
            verification_uri: read.verification_uri,
            verification_uri_complete: read.verification_uri_complete,
            user_code: read.user_code,
            patience: Duration::from_secs(read.expires_in.min(MOST_PATIENCE)),
        };
        let interval = Duration::from_secs(read.interval.unwrap_or(DEFAULT_INTERVAL).clamp(shortest, longest));
        Ok(Self { prompt, device_code: read.device_code, interval })
    }
}

impl PollVerdict {
    fn of(answer: &Response<Bytes>) -> Self {
        if let Some(tokens) = parsed(answer, StatusCode::OK) {
            return Self::Issued(tokens);
        }
        let status = answer.status();
        let Ok(refused) = serde_json::from_slice::<OAuthError>(answer.body()) else {
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return if is_passing {
                Self::Later
            } else {
                Self::Never(format!("the issuer answers {status} without tokens"))
            };
        };
        match refused.error.as_str() {
            "authorization_pending" => Self::Pending,
            "slow_down" => Self::SlowDown,
            "expired_token" => Self::Never("the code was not confirmed in time: begin again".to_owned()),
            "access_denied" => Self::Never("the login was refused on the page".to_owned()),
            _ => Self::Never(refused.message()),
        }
    }
}

impl OAuthError {
    fn message(&self) -> String {
        let why = self.error_description.as_deref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
        format!("the issuer refuses: {}{why}", shown(&self.error))
    }
}

fn refusal(answer: &Response<Bytes>) -> Option<String> {
    serde_json::from_slice::<OAuthError>(answer.body()).ok().map(|refused| refused.message())
}

fn parsed<T: for<'a> Deserialize<'a>>(answer: &Response<Bytes>, status: StatusCode) -> Option<T> {
    Some(answer)
        .filter(|answer| answer.status() == status)
        .and_then(|answer| serde_json::from_slice(answer.body()).ok())
}

/// A text of another's for the terminal: short, and without what would move its cursor.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !is_invisible(*c)).take(MOST_SHOWN).collect()
}

/// Marks of Unicode that turn the direction of text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl IssuedTokens {
    /// The token that the proxy takes: the ID token, or an access token that is for the audience which was asked for.
    pub(super) fn for_proxy(&self, audience: Option<&str>) -> Result<ProxyToken, String> {
        let tokens = [&self.id, &self.access];
        let read =
            tokens.map(|token| token.as_ref().and_then(|token| Some((token, WebToken::read(token.expose())?))));
        let is_meant = |token: &WebToken| match audience {
            Some(audience) => token.audiences.iter().any(|other| other == audience),
            None => true,
        };
        let [id, access] = read.each_ref();
        // Without an audience nothing shows that an access token is for the proxy.
        let access = access.as_ref().filter(|_| audience.is_some());
        let found = [id.as_ref(), access].into_iter().flatten().find(|(_, token)| is_meant(token));
        let Some((secret, token)) = found else {
            let audiences = read.iter().flatten().flat_map(|(_, token)| &token.audiences);
            let audiences: Vec<String> = audiences.map(|audience| shown(audience)).collect();
            return Err(match audience {
                None => "the issuer gave no ID token: --scope needs openid, or --audience says for whom an access token is"
                    .to_owned(),
                Some(audience) if audiences.is_empty() => format!("the issuer gave no token that says it is for {audience}"),
                Some(audience) => {
                    format!("the issuer gave no token for {audience}, but for {}", audiences.join(", "))
                }
            });
        };
        let expires = token.expires.ok_or("the issuer gave a token that does not say when it ends")?;
        Ok(ProxyToken { token: (*secret).clone(), expires })
    }
}
