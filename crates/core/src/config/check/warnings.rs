//! Warnings about settings that work and may be dangerous.

use std::net::SocketAddr;

use super::super::{Auth, Config, PageAuth, UpstreamConfig, renamed};
use super::{holds, issuers};
use crate::platform::Profile;
use crate::secret::Secret;

/// As the reference says. Whoever has a token can try keys on it offline.
const KEY_CHARACTERS: usize = 32;
/// A path secret can only be tried by asking us.
const PATH_SECRET_CHARACTERS: usize = 16;

/// A setting that works and may be dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path of the key.
    pub place: String,
    /// What may happen.
    pub what: String,
    /// What to do about it, where `what` does not say it.
    pub next: Option<&'static str>,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        self.next.map_or(Ok(()), |next| write!(f, "; {next}"))
    }
}

impl Config {
    /// The warnings that `check` prints and the log begins with.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let warn = &mut |place: String, what: String| warnings.push(Warning { place, what, next: None });
        for place in &self.old_names {
            warn(place.clone(), renamed::WARNING.into());
        }
        access(self, warn);
        issuers::warn(self, warn);
        introductions(self, warn);
        for (place, what) in self.quota.warnings() {
            warn(place.into(), what.into());
        }
        if self.platform == Profile::CloudflareWorkers && !self.policy.is_empty() {
            let what = "this platform verifies no signatures and asks no services: mode = \"enforce\" refuses everything that verdict_default = \"allow\" does not let through, and \"warn\" only logs that";
            warn("policy".into(), what.into());
        }
        if !self.warm.is_empty() && !self.platform.runs_by_itself() {
            let what = "every and at have no effect on this platform: a timer of its own begins what is fetched (docs/how-to/warm.md)";
            warn("warm".into(), what.into());
            if self.platform.has_timer_by_http() && self.timer.token.is_none() {
                warn("timer.token_file".into(), "not set: calls of a timer are refused".into());
            }
        }
        secrets(self, warn);
        metrics(self, warn);
        page(self, warn);
        logins(self, warn);
        for (i, upstream) in self.upstream.iter().enumerate() {
            accounts(self, upstream, &mut |key, what| warn(format!("upstream[{i}].{key}"), what));
        }
        warnings.extend(holds::endless(self).into_iter().map(|(place, (what, next))| Warning {
            place,
            what,
            next: Some(next),
        }));
        warnings
    }
}

/// Warns where anybody may use the proxy, and of a password file without effect.
fn access(config: &Config, warn: &mut dyn FnMut(String, String)) {
    let is_reached = is_reached(config);
    let is_open = config.clients.auth == Auth::Open;
    if is_open && config.clients.path_secret.is_none() && is_reached {
        let what = unrestricted(config).unwrap_or(
            "anybody who reaches this address may use the proxy: restrict the network, or set auth or path_secret_file",
        );
        warn("clients.auth".into(), what.into());
    }
    let has_users = config.clients.auth == Auth::Users || config.page.auth == PageAuth::Users;
    if config.clients.users_file.is_some() && !has_users {
        let what = "not used: its passwords are checked only with auth = \"users\"";
        warn("clients.users_file".into(), what.into());
    }
}

/// The warning for a proxy that others can reach, where nothing restricts who uses it, what, or how much.
fn unrestricted(config: &Config) -> Option<&'static str> {
    let is_restricted = config.clients.auth != Auth::Open
        || config.clients.path_secret.is_some()
        || config.upstream.iter().all(|upstream| !upstream.repositories.allow.is_empty())
        || !config.access.is_empty()
        || config.quota.limits();
    (!is_restricted).then_some(
        "anybody who finds this address may pull whatever they like, and you pay for it. Besides closing the network, you can limit who pulls (clients.auth, or clients.path_secret_file), what (access, or upstream[].repositories.allow), or how much (quota.client and quota.total)",
    )
}

/// Warns of `proxy_protocol` where it has no effect or closes connections.
fn introductions(config: &Config, warn: &mut dyn FnMut(String, String)) {
    if config.proxy_protocol && config.trusted_proxies.is_empty() {
        let what = "not used: it applies only to connections from trusted_proxies, and there are none";
        warn("proxy_protocol".into(), what.into());
    } else if config.proxy_protocol && config.platform != Profile::Server {
        let what = "this platform sends no PROXY protocol header, so its connections are closed if their address is in trusted_proxies";
        warn("proxy_protocol".into(), what.into());
    }
}

/// Whether other machines reach us. A function is reached by everybody, wherever it listens.
fn is_reached(config: &Config) -> bool {
    !is_loopback(&config.listen) || config.platform != Profile::Server
}

/// Warns about who may read the metrics.
fn metrics(config: &Config, warn: &mut dyn FnMut(String, String)) {
    let is_apart = config.metrics.listen.is_some();
    let what = match config.metrics.public {
        Some(true) if is_apart => "not used: metrics.listen takes /metrics off the main address",
        Some(true) if is_reached(config) => {
            "anybody who reaches this address can read which registries are used, and how much: prefer metrics.listen"
        }
        // Nobody collects metrics of a function: each instance has its own.
        None if !is_apart && is_reached(config) && config.platform == Profile::Server => {
            "not set: /metrics answers only this machine, and others get 403. To collect metrics from elsewhere, set metrics.listen, or public = true to answer everybody; if this is intended, set public = false"
        }
        Some(_) | None => return,
    };
    warn("metrics.public".into(), what.into());
}

/// Warns about who may read the administration page.
fn page(config: &Config, warn: &mut dyn FnMut(String, String)) {
    let Some(address) = &config.page.listen else { return };
    let is_reached = !is_loopback(address);
    match config.page.login(config.clients.auth) {
        Auth::Open if is_reached => {
            let what = "anybody who reaches this address can read which images are cached: restrict the network, or set page.auth = \"users\"";
            warn("page.listen".into(), what.into());
        }
        Auth::Users | Auth::Upstream if is_reached && config.tls.cert_file.is_none() => {
            let what = "passwords are sent to it unencrypted: set tls.cert_file, or listen on 127.0.0.1 behind an HTTPS server";
            warn("page.listen".into(), what.into());
        }
        Auth::Open | Auth::Users | Auth::Upstream => {}
    }
}

/// Warns of weak secrets.
fn secrets(config: &Config, warn: &mut dyn FnMut(String, String)) {
    if config.clients.auth != Auth::Open && config.signing_key.is_none() {
        warn(
            "signing_key_file".into(),
            "not set: logins end with this process, and replicas do not accept each other's tokens".into(),
        );
    }
    let is_short = |secret: Option<&Secret>, least: usize| {
        secret.is_some_and(|secret| secret.expose().chars().count() < least)
    };
    if is_short(config.signing_key.as_ref(), KEY_CHARACTERS) {
        let place = if config.signing_key_file.is_some() { "signing_key_file" } else { "signing_key" };
        let what = format!(
            "shorter than {KEY_CHARACTERS} characters: anybody who has a token can guess the key, and then forge tokens and read the passwords in them"
        );
        warn(place.into(), what);
    }
    if is_short(config.clients.path_secret.as_ref(), PATH_SECRET_CHARACTERS) {
        let what = format!("shorter than {PATH_SECRET_CHARACTERS} characters: it can be guessed");
        warn("clients.path_secret_file".into(), what);
    }
}

/// Warns about where passwords of clients go.
fn logins(config: &Config, warn: &mut dyn FnMut(String, String)) {
    let is_upstream = config.clients.auth == Auth::Upstream;
    if config.clients.auth != Auth::Open && is_plain(config) {
        warn(
            "clients.auth".into(),
            "clients send their passwords unencrypted: set tls.cert_file; or put an HTTPS server in front, and set public_url or trusted_proxies".into(),
        );
    }
    if config.clients.auth != Auth::Open && config.limits.wrong_logins == 0 {
        let what = "0: anybody who reaches this address may guess passwords without limit; with auth = \"upstream\" each guess is passed to the registry";
        warn("limits.wrong_logins".into(), what.into());
    }
    let shared = config.upstream.iter().filter(|upstream| upstream.hosts.is_empty()).count();
    if is_upstream && shared > 1 {
        warn(
            "clients.auth".into(),
            "a client has one login for this host, and the proxy sends it to whichever upstream a repository name selects: give each upstream a virtual host (hosts)".into(),
        );
    }
    if is_upstream && config.cache.offline {
        let what = "with auth = \"upstream\" nothing is served: only the upstream can say who may read what";
        warn("cache.offline".into(), what.into());
    }
}

/// Whether other machines reach us, and nothing says that HTTPS is used on the way.
fn is_plain(config: &Config) -> bool {
    let is_fronted = config.platform != Profile::Server || !config.trusted_proxies.is_empty();
    let is_https = config.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    !(is_loopback(&config.listen) || is_fronted || is_https || config.tls.cert_file.is_some())
}

/// Warns about what our accounts at an upstream may be used for.
fn accounts(config: &Config, upstream: &UpstreamConfig, warn: &mut dyn FnMut(&str, String)) {
    let name = &upstream.name;
    for (j, credential) in upstream.credentials.iter().enumerate() {
        let mut before = upstream.credentials.iter().take(j).map(|one| (one.prefix.as_str(), &one.username));
        let is_default = credential.prefix.is_empty() && upstream.username.as_ref() == Some(&credential.username);
        if is_default || before.any(|one| one == (credential.prefix.as_str(), &credential.username)) {
            warn(
                &format!("credentials[{j}]"),
                format!(
                    "{} is configured twice with different passwords: registries count pulls per account, not per token",
                    credential.username
                ),
            );
        }
    }
    let is_open = config.clients.auth == Auth::Open;
    let stored = upstream.docker_config.is_some() || config.docker_config.is_some();
    let is_issued = upstream.login.is_some();
    let credential = upstream.username.is_some() || !upstream.credentials.is_empty() || stored || is_issued;
    let key = if is_issued { "login" } else { "username" };
    if credential && is_open {
        warn(
            key,
            format!(
                "clients need no login, so anybody who reaches this proxy can read what its account at {name} may read"
            ),
        );
    }
    if credential && config.clients.auth == Auth::Upstream {
        warn(key, format!("not used: with auth = \"upstream\" clients log in to {name} with their own accounts"));
    }
    if upstream.push && is_open && credential {
        warn(
            "push",
            format!(
                "clients need no login, so anybody who reaches this proxy can push to {name} with its account"
            ),
        );
    }
    if upstream.insecure && upstream.backend.is_none() {
        warn("insecure", format!("the proxy does not verify that it is connected to {name}"));
    }
}

fn is_loopback(listen: &str) -> bool {
    listen
        .parse::<SocketAddr>()
        .map_or_else(|_| listen.starts_with("localhost:"), |address| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::super::Sources;
    use super::*;

    /// A file of this name holds it.
    const KEY: &str = "0123456789abcdef0123456789abcdef";

    /// Others than this machine reach us, and may not read the metrics.
    const REACHED: &str = "listen='0.0.0.0:80'\nmetrics.public=false";

    fn places(text: &str) -> Vec<String> {
        let sources = Sources { text: Some(text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) };
        Config::load(&sources).unwrap().warnings().into_iter().map(|warning| warning.place).collect()
    }

    #[test]
    fn what_is_dangerous_is_said() {
        let account = "[[upstream]]\nname='x.test'\nurls=['https://x.test']\nusername='u'\npassword='p'\n";
        assert_eq!(places(""), Vec::<String>::new());
        assert_eq!(places(REACHED), ["clients.auth"]);
        assert_eq!(
            places(&format!("{REACHED}\n[clients]\npath_secret_file='long-enough-to-be-a-secret'")),
            Vec::<String>::new()
        );
        assert_eq!(places(account), ["upstream[0].username"]);
        assert_eq!(places(&format!("{account}push=true")), ["upstream[0].username", "upstream[0].push"]);
        assert_eq!(places("docker_config='f'").len(), 12);
        assert_eq!(
            places(&format!("signing_key_file='{KEY}'\n[clients]\nauth='upstream'\n{account}")),
            ["upstream[0].username"]
        );
        assert_eq!(places("[clients]\nauth='users'\nusers_file='u'"), ["signing_key_file"]);
        assert_eq!(places("[clients]\nauth='upstream'"), ["signing_key_file", "clients.auth"]);
        let guesses =
            format!("signing_key_file='{KEY}'\n[limits]\nwrong_logins=0\n[clients]\nauth='users'\nusers_file='u'");
        assert_eq!(places(&guesses), ["limits.wrong_logins"]);
    }

    #[test]
    fn a_password_file_that_nobody_is_asked_for_is_said() {
        assert_eq!(places("[clients]\nusers_file='u'"), ["clients.users_file"]);
        assert_eq!(
            places(&format!("{REACHED}\n[clients]\nusers_file='u'")),
            ["clients.auth", "clients.users_file"]
        );
        let users = format!("signing_key_file='{KEY}'\n[clients]\nauth='users'\nusers_file='u'");
        assert_eq!(places(&users), Vec::<String>::new());
    }

    #[test]
    fn metrics_that_nobody_elsewhere_or_everybody_can_read_are_said() {
        let secret = "clients.path_secret='long-enough-to-be-a-secret'";
        for (keys, is_said) in [
            ("", false),
            ("metrics.public=true", false),
            ("listen='0.0.0.0:80'", true),
            ("listen='0.0.0.0:80'\nmetrics.public=false", false),
            ("listen='0.0.0.0:80'\nmetrics.public=true", true),
            ("listen='0.0.0.0:80'\nmetrics.listen='127.0.0.1:9090'", false),
            ("listen='0.0.0.0:80'\nmetrics={listen='127.0.0.1:9090',public=false}", false),
            ("listen='0.0.0.0:80'\nmetrics={listen='127.0.0.1:9090',public=true}", true),
            ("platform='cloud-run'", false),
            ("platform='cloud-run'\nmetrics.public=true", true),
        ] {
            let expected: &[&str] = if is_said { &["metrics.public"] } else { &[] };
            assert_eq!(places(&format!("{secret}\n{keys}")), expected, "{keys}");
        }
    }

    #[test]
    fn a_proxy_protocol_that_nobody_may_speak_is_said() {
        assert_eq!(places("proxy_protocol=true"), ["proxy_protocol"]);
        assert_eq!(places("proxy_protocol=true\ntrusted_proxies=['10.0.0.0/8']"), Vec::<String>::new());
    }

    #[test]
    fn a_key_that_can_be_guessed_is_said() {
        assert_eq!(places("signing_key_file='short'"), ["signing_key_file"]);
        assert_eq!(places(&format!("signing_key='{}'", &KEY[1..])), ["signing_key"]);
        assert_eq!(places(&format!("signing_key='{KEY}'")), Vec::<String>::new());
    }

    #[test]
    fn passwords_that_others_can_read_on_their_way_are_said() {
        let one = "[[upstream]]\nname='ghcr.io'";
        let said = |keys: &str, clients: &str| {
            places(&format!("signing_key_file='{KEY}'\n{keys}\n[clients]\n{clients}\n{one}"))
        };
        for clients in ["auth='users'\nusers_file='u'", "auth='upstream'"] {
            assert_eq!(said(REACHED, clients), ["clients.auth"]);
            assert_eq!(said(&format!("{REACHED}\npublic_url='http://p.example'"), clients), ["clients.auth"]);
            assert_eq!(said("listen='[::1]:80'", clients), Vec::<String>::new());
            for keys in [
                "public_url='https://p.example'",
                "trusted_proxies=['10.0.0.0/8']",
                "tls={cert_file='c',key_file='k'}",
                "platform='cloud-run'",
            ] {
                assert_eq!(said(&format!("{REACHED}\n{keys}"), clients), Vec::<String>::new(), "{keys}");
            }
        }
    }
}
