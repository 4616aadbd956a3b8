//! `registry-proxy login` and `logout`: a person's login at a proxy, by the device flow of an issuer that the proxy trusts.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::device_flow::{DevicePrompt, LoginWish, issuer_url, log_in};
use super::docker_config::{self, Configured};
use super::issuer_client::IssuerClient;
use super::server_key::ServerKey;
use super::stored::{CredentialsFile, LoginGrant, StoredLogin};
use super::{USERNAME, docker_helper, unix_seconds};
use crate::cli::{LoginArguments, LogoutArguments};
use crate::terminal::{WRONG_USAGE, complain, print};

/// An ID token, and a token to renew it with (OpenID Connect Core 1.0 sections 3.1.2.1 and 11).
const DEFAULT_SCOPE: &str = "openid offline_access";

/// Logs in. Exit status 1 if nobody let this program in, 2 if it is not clear where.
pub(crate) fn login(arguments: &LoginArguments) -> ExitCode {
    let begun = server(&arguments.host).and_then(|server| {
        let file = CredentialsFile::of_user()?;
        let stored = file.read()?.get(&server).and_then(|login| login.grant.clone());
        Ok((wanted(arguments, stored)?, server, file))
    });
    let (grant, server, file) = match begun {
        Ok(begun) => begun,
        Err(what) => {
            complain(&what);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    ended(carry_out(arguments, &grant, &server, &file))
}

/// Forgets a login.
pub(crate) fn logout(arguments: &LogoutArguments) -> ExitCode {
    let forgotten = server(&arguments.host).and_then(|server| {
        let file = CredentialsFile::of_user()?;
        let locked = file.lock()?;
        let mut logins = locked.read()?;
        if !logins.remove(&server) {
            return Ok(format!("there was no login at {server}\n"));
        }
        locked.write(&logins)?;
        Ok(format!("the login at {server} is forgotten here; its issuer was not asked to end it\n"))
    });
    ended(forgotten)
}

fn ended(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(text) => print(&text),
        Err(what) => {
            complain(&what);
            ExitCode::FAILURE
        }
    }
}

fn server(host: &str) -> Result<ServerKey, String> {
    ServerKey::whole_server(host).ok_or_else(|| format!("{host:?}: expected a host, as in proxy.example.com"))
}

/// What the issuer is asked for: by the arguments, or as the last time. An issuer on the command line begins anew.
fn wanted(arguments: &LoginArguments, stored: Option<LoginGrant>) -> Result<LoginGrant, String> {
    let mut grant = match (&arguments.issuer, &arguments.client_id, stored) {
        (Some(issuer), Some(client_id), _) => LoginGrant {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            scope: DEFAULT_SCOPE.to_owned(),
            audience: None,
            refresh_token: None,
        },
        (_, _, Some(stored)) => stored,
        (_, _, None) => {
            return Err(
                "no login was made there before: say by --issuer and --client-id who lets you in".to_owned()
            );
        }
    };
    if let Some(scope) = &arguments.scope {
        grant.scope.clone_from(scope);
    }
    if let Some(audience) = &arguments.audience {
        grant.audience = Some(audience.clone());
    }
    issuer_url(&grant.issuer)?;
    Ok(grant)
}

fn carry_out(
    arguments: &LoginArguments,
    grant: &LoginGrant,
    server: &ServerKey,
    file: &CredentialsFile,
) -> Result<String, String> {
    let (issuer, client) = (issuer_url(&grant.issuer)?, IssuerClient::new()?);
    let wish = LoginWish { client_id: &grant.client_id, scope: &grant.scope, audience: grant.audience.as_deref() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let tell = |prompt: &DevicePrompt| {
        let _ = print(&instructions(server, prompt));
    };
    let tokens = runtime.block_on(log_in(&issuer, wish, &client, tell))?;
    let token = tokens.for_proxy(grant.audience.as_deref())?;
    let left = Duration::from_secs(token.expires.saturating_sub(unix_seconds()));
    let renews = tokens.refresh.is_some();
    let login = StoredLogin {
        username: USERNAME.to_owned(),
        secret: token.token,
        expires: Some(token.expires),
        grant: Some(LoginGrant { refresh_token: tokens.refresh, ..grant.clone() }),
    };
    let locked = file.lock()?;
    let mut logins = locked.read()?;
    logins.set(server, login);
    locked.write(&logins)?;
    let mut text = result(server, left, renews);
    if arguments.configure_docker {
        let became = match docker_config::configure(&docker_config::place()?, server)? {
            Configured::Unchanged(path) => format!("unchanged  {}\n", path.display()),
            Configured::Created(path) => format!("created    {}\n", path.display()),
            Configured::Changed(path, before) => {
                format!("changed    {}, before: {}\n", path.display(), before.display())
            }
        };
        text.push_str(&became);
    } else {
        let _ = writeln!(
            text,
            "For docker, podman and skopeo, add this to ~/.docker/config.json, or run login with --configure-docker:\n  {}",
            docker_config::line(server)
        );
    }
    if !docker_helper::is_on_path(std::env::var_os("PATH").as_deref()) {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().unwrap_or(Path::new("registry-proxy")).display().to_string();
        let _ = writeln!(
            text,
            "And give clients the helper:\n  ln -s {program} /usr/local/bin/{}",
            docker_helper::PROGRAM
        );
    }
    Ok(text)
}

/// What a person has to do. Everything in it was checked when it came.
fn instructions(server: &ServerKey, prompt: &DevicePrompt) -> String {
    let DevicePrompt { verification_uri, verification_uri_complete, user_code, patience } = prompt;
    let minutes = patience.as_secs().div_ceil(60);
    let begin =
        format!("To log in at {server}, open this page within {minutes} minutes, on this machine or another:\n\n");
    match verification_uri_complete {
        Some(complete) => format!(
            "{begin}  {complete}\n\nConfirm the code {user_code} there. The page without the code: {verification_uri}\n"
        ),
        None => format!("{begin}  {verification_uri}\n\nEnter the code {user_code} there.\n"),
    }
}

fn result(server: &ServerKey, left: Duration, renews: bool) -> String {
    let minutes = left.as_secs() / 60;
    if renews {
        format!(
            "Logged in at {server}. The login lasts {minutes} minutes, and is renewed when a client asks for it.\n"
        )
    } else {
        format!(
            "Logged in at {server} for {minutes} minutes. The issuer gave nothing to renew the login with: log in again then.\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::secret::Secret;

    use super::*;

    fn arguments(issuer: Option<&str>, scope: Option<&str>, audience: Option<&str>) -> LoginArguments {
        LoginArguments {
            host: "p.test".to_owned(),
            issuer: issuer.map(str::to_owned),
            client_id: issuer.map(|_| "cli".to_owned()),
            scope: scope.map(str::to_owned),
            audience: audience.map(str::to_owned),
            configure_docker: false,
        }
    }

    fn stored() -> LoginGrant {
        LoginGrant {
            issuer: "https://old.test".to_owned(),
            client_id: "old".to_owned(),
            scope: "openid email".to_owned(),
            audience: Some("a".to_owned()),
            refresh_token: Some(Secret::new("r")),
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_last_time_and_never_guessed() {
        let issuer = Some("https://id.test/realm");
        let of = |arguments, stored| {
            let grant = wanted(&arguments, stored).unwrap();
            (grant.issuer, grant.client_id, grant.scope, grant.audience.unwrap_or_default())
        };
        let expected = |issuer: &str, client: &str, scope: &str, audience: &str| {
            (issuer.to_owned(), client.to_owned(), scope.to_owned(), audience.to_owned())
        };
        assert_eq!(
            of(arguments(issuer, None, None), Some(stored())),
            expected("https://id.test/realm", "cli", "openid offline_access", "")
        );
        assert_eq!(
            of(arguments(None, None, None), Some(stored())),
            expected("https://old.test", "old", "openid email", "a")
        );
        assert_eq!(
            of(arguments(None, Some("openid"), Some("b")), Some(stored())),
            expected("https://old.test", "old", "openid", "b")
        );
        assert!(wanted(&arguments(None, None, None), None).unwrap_err().contains("--issuer"));
        for issuer in
            ["http://id.test", "id.test", "ftp://id.test", "https://u:p@id.test", "https://id.test/?x", "https://"]
        {
            wanted(&arguments(Some(issuer), None, None), None).unwrap_err();
        }
    }

    #[test]
    fn a_person_reads_the_page_and_the_code() {
        let server = ServerKey::parse("p.test").unwrap();
        let mut prompt = DevicePrompt {
            verification_uri: "https://id.test/device".parse().unwrap(),
            verification_uri_complete: None,
            user_code: "ABCD-EFGH".to_owned(),
            patience: Duration::from_secs(899),
        };
        assert_eq!(
            instructions(&server, &prompt),
            "To log in at p.test, open this page within 15 minutes, on this machine or another:\n\n  https://id.test/device\n\n\
             Enter the code ABCD-EFGH there.\n"
        );
        prompt.verification_uri_complete = Some("https://id.test/device?user_code=ABCD-EFGH".parse().unwrap());
        assert_eq!(
            instructions(&server, &prompt),
            "To log in at p.test, open this page within 15 minutes, on this machine or another:\n\n  \
             https://id.test/device?user_code=ABCD-EFGH\n\n\
             Confirm the code ABCD-EFGH there. The page without the code: https://id.test/device\n"
        );
    }
}
