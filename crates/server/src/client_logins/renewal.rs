//! Logins that end: when they are renewed, and what becomes of them.

use std::time::Duration;

use super::device_flow::{AskIssuer, issuer_url, renew};
use super::issuer_client::IssuerClient;
use super::server_key::ServerKey;
use super::stored::{CredentialsFile, LoginGrant, StoredLogin};
use super::unix_seconds;
use crate::terminal::complain;

/// A login is renewed when it has no more than these seconds left.
const EARLY: u64 = 60;
/// Docker waits meanwhile, and so does every other process that wants to renew.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is to be done with a stored login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RenewalState {
    /// It can be used.
    Good,
    /// The issuer is to be asked for another one.
    Due,
    /// It has ended, and only its user can get another one.
    Over,
}

impl RenewalState {
    /// `now` is in seconds since 1970.
    pub(super) fn of(login: &StoredLogin, now: u64) -> Self {
        let left = login.expires.map_or(u64::MAX, |expires| expires.saturating_sub(now));
        let can_be_renewed = login.grant.as_ref().is_some_and(|grant| grant.refresh_token.is_some());
        match (left, can_be_renewed) {
            (0, false) => Self::Over,
            (0..=EARLY, true) => Self::Due,
            (1.., false) | (_, true) => Self::Good,
        }
    }
}

/// The login for a server, renewed unless another process has done so meanwhile.
pub(super) fn renewed(server: &ServerKey, file: &CredentialsFile) -> Result<StoredLogin, String> {
    // Issuers that renew the refresh token as well take each of them once only.
    let locked = file.lock()?;
    let mut logins = locked.read()?;
    let login = logins.get(server).cloned().ok_or_else(|| over(server))?;
    match RenewalState::of(&login, unix_seconds()) {
        RenewalState::Good => return Ok(login),
        RenewalState::Over => return Err(over(server)),
        RenewalState::Due => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let asked = IssuerClient::new().and_then(|client| {
        let asked = runtime.block_on(async { tokio::time::timeout(DEADLINE, again(&login, &client)).await });
        asked.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    });
    match asked {
        Ok(new) => {
            logins.set(server, new.clone());
            if let Err(what) = locked.write(&logins) {
                complain(&what);
            }
            Ok(new)
        }
        Err(why) => {
            complain(&format_args!("the login at {server} is not renewed: {why}: registry-proxy login {server}"));
            // It counts a little while yet.
            if login.expires.is_some_and(|expires| expires > unix_seconds()) {
                Ok(login)
            } else {
                Err(over(server))
            }
        }
    }
}

/// Asks the issuer for a login in place of this one.
async fn again(login: &StoredLogin, ask: &impl AskIssuer) -> Result<StoredLogin, String> {
    let cannot = "its issuer gave nothing to renew it with";
    let grant = login.grant.as_ref().ok_or(cannot)?;
    let refresh_token = grant.refresh_token.as_ref().ok_or(cannot)?;
    let tokens = renew(&issuer_url(&grant.issuer)?, &grant.client_id, refresh_token, ask).await?;
    let token = tokens.for_proxy(grant.audience.as_deref())?;
    // Without a new one the old one goes on (RFC 6749 section 6).
    let refresh_token = tokens.refresh.or_else(|| grant.refresh_token.clone());
    let grant = Some(LoginGrant { refresh_token, ..grant.clone() });
    Ok(StoredLogin { username: login.username.clone(), secret: token.token, expires: Some(token.expires), grant })
}

/// What a person reads whose login has ended.
pub(super) fn over(server: &ServerKey) -> String {
    format!("the login at {server} is over: registry-proxy login {server}")
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::secret::Secret;

    use super::*;

    #[test]
    fn a_login_is_renewed_in_its_last_minute_and_over_only_where_it_cannot_be() {
        let now = 1_790_000_000;
        let login = |expires, refresh_token: Option<&str>| StoredLogin {
            username: "oidc".to_owned(),
            secret: Secret::new("jwt"),
            expires,
            grant: Some(LoginGrant {
                issuer: "https://id.test".to_owned(),
                client_id: "cli".to_owned(),
                scope: "openid".to_owned(),
                audience: None,
                refresh_token: refresh_token.map(Secret::new),
            }),
        };
        for (left, refresh_token, expected) in [
            (Some(3600), Some("r"), RenewalState::Good),
            (Some(61), Some("r"), RenewalState::Good),
            (Some(60), Some("r"), RenewalState::Due),
            (Some(0), Some("r"), RenewalState::Due),
            (Some(60), None, RenewalState::Good),
            (Some(1), None, RenewalState::Good),
            (Some(0), None, RenewalState::Over),
            (None, None, RenewalState::Good),
        ] {
            let login = login(left.map(|left| now + left), refresh_token);
            assert_eq!(RenewalState::of(&login, now), expected, "{left:?} {refresh_token:?}");
        }
        assert_eq!(RenewalState::of(&login(Some(1), Some("r")), now), RenewalState::Due);
        let password = StoredLogin { grant: None, ..login(Some(1), None) };
        assert_eq!(RenewalState::of(&password, now), RenewalState::Over);
    }
}
