//! What cannot be right is refused with the path of its key; what is dangerous is said.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::{Auth, Cache, Config, ConfigError, Upstream, guard};
use crate::name::RepositoryName;
use crate::platform::Profile;

/// Names that paths of our own already have.
const RESERVED: [&str; 5] = ["v2", "token", "healthz", "readyz", "metrics"];

/// Something that works and may hurt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path of the key.
    pub place: String,
    /// What may happen.
    pub what: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

fn refuse<T>(place: impl Into<String>, what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(place, what))
}

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    listen("listen", &config.listen)?;
    if let Some(address) = &config.metrics.listen {
        listen("metrics.listen", address)?;
    }
    if let Some(path) = &config.admin_socket
        && !(path == "none" || path.starts_with('/') || path.starts_with("~/"))
    {
        return refuse("admin_socket", "expected a path from / or ~/, or none");
    }
    if let Some(url) = &config.public_url {
        web_url("public_url", url)?;
        if url.path() != "/" {
            return refuse("public_url", "expected scheme and host only, without a path");
        }
    }
    if config.tls.cert_file.is_some() != config.tls.key_file.is_some() {
        return refuse("tls", "cert_file and key_file go together");
    }
    if config.clients.auth == Auth::Users && config.clients.users_file.is_none() {
        return refuse(
            "clients.users_file",
            "needed for auth = \"users\": lines of name:bcrypt-hash (htpasswd -B)",
        );
    }
    if let Some(secret) = &config.clients.path_secret {
        let text = secret.expose();
        if text.contains('/') || RepositoryName::parse(text).is_err() || RESERVED.contains(&text) {
            return refuse(
                "clients.path_secret_file",
                "expected one lower-case path segment: letters, digits, - _ .",
            );
        }
    }
    for (name, zero) in [
        ("connections", config.limits.connections == 0),
        ("waiting", config.limits.waiting == 0),
        ("tokens", config.limits.tokens == 0),
        ("request_head", config.limits.request_head.0 < 8192),
        ("form_body", config.limits.form_body.0 == 0),
        ("manifest", config.limits.manifest.0 == 0),
        ("listing", config.limits.listing.0 == 0),
    ] {
        if zero {
            let least = if name == "request_head" { "at least 8KiB" } else { "at least 1" };
            return refuse(format!("limits.{name}"), format!("expected {least}"));
        }
    }
    config.guard.validate()?;
    cache(&config.cache)?;
    let mut names = HashSet::new();
    let mut hosts = HashSet::new();
    let mut defaults = 0;
    for (i, upstream) in config.upstream.iter().enumerate() {
        let at = |key: &str| format!("upstream[{i}].{key}");
        check_upstream(upstream, &at)?;
        if !names.insert(upstream.name.as_str()) {
            return refuse(at("name"), format!("{} is named twice", upstream.name));
        }
        for (j, host) in upstream.hosts.iter().enumerate() {
            if host.is_empty() || host.contains('/') {
                return refuse(
                    at(&format!("hosts[{j}]")),
                    "expected a host name, with a port where it is not the usual one",
                );
            }
            if !hosts.insert(host.to_ascii_lowercase()) {
                return refuse(at(&format!("hosts[{j}]")), format!("{host} is named twice"));
            }
        }
        defaults += usize::from(upstream.default);
        if defaults > 1 {
            return refuse(at("default"), "another upstream is the default already");
        }
    }
    Ok(())
}

fn cache(cache: &Cache) -> Result<(), ConfigError> {
    for (name, is_wrong, expected) in [
        ("max_size", cache.max_size().0 == 0, "at least 1; store = \"none\" keeps nothing"),
        ("fill.parts", !(1..=64).contains(&cache.fill.parts), "1 to 64"),
        ("fill.part_size", cache.fill.part_size.0 < 64 << 10, "at least 64KiB"),
        ("fill.parts_per_upstream", cache.fill.parts_per_upstream == 0, "at least 1"),
    ] {
        if is_wrong {
            return refuse(format!("cache.{name}"), format!("expected {expected}"));
        }
    }
    match cache.tags.iter().position(|rule| rule.pattern.is_empty()) {
        Some(i) => {
            refuse(format!("cache.tags[{i}].match"), "expected a pattern such as docker.io/library/*:latest")
        }
        None => Ok(()),
    }
}

fn check_upstream(upstream: &Upstream, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
    let name = &upstream.name;
    if name.is_empty() {
        return refuse(at("name"), "expected the registry's name, such as ghcr.io");
    }
    if name.starts_with('.') {
        return refuse(at("name"), format!("{name:?} cannot begin with a dot"));
    }
    let legal = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    if !name.bytes().all(legal) || RESERVED.contains(&name.as_str()) {
        return refuse(
            at("name"),
            format!("{name:?} cannot be a path prefix; use lower-case letters, digits, . - _ :"),
        );
    }
    if upstream.urls.is_empty() {
        return refuse(at("urls"), format!("{name} is not in the built-in catalogue, so it needs an address"));
    }
    for (j, url) in upstream.urls.iter().enumerate() {
        let place = at(&format!("urls[{j}]"));
        web_url(&place, url)?;
        if url.scheme() == "http" && !upstream.insecure {
            return refuse(place, "plain HTTP needs insecure = true");
        }
    }
    for (j, url) in upstream.realms.iter().enumerate() {
        let place = at(&format!("realms[{j}]"));
        web_url(&place, url)?;
        // As `upstream::realm` decides it, for whichever address is asked.
        let is_plain = upstream.insecure && upstream.urls.iter().all(|url| url.scheme() == "http");
        if url.scheme() == "http" && !is_plain {
            return refuse(
                place,
                "a password does not go over plain HTTP, unless the registry itself does at all its urls (with insecure = true); use https",
            );
        }
    }
    if upstream.username.is_some() != upstream.password.is_some() {
        return refuse(at("username"), "username and password (or password_file) go together");
    }
    credentials(upstream, at)?;
    if upstream.client_cert_file.is_some() != upstream.client_key_file.is_some() {
        return refuse(at("client_cert_file"), "client_cert_file and client_key_file go together");
    }
    if let Some(proxy) = &upstream.proxy
        && !(matches!(proxy.scheme(), "http" | "https" | "socks5" | "socks5h") && proxy.host_str().is_some())
    {
        return refuse(at("proxy"), "expected http://host:port, https://… or socks5://…");
    }
    Ok(())
}

/// Several for the same prefix are a pool: each must be another account's.
fn credentials(upstream: &Upstream, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
    let mut known: Vec<(&str, &str, &str)> = Vec::new();
    known.extend(
        upstream.username.as_deref().zip(upstream.password.as_ref()).map(|(name, word)| ("", name, word.expose())),
    );
    for (j, credential) in upstream.credentials.iter().enumerate() {
        let place = || at(&format!("credentials[{j}]"));
        let Some(password) = &credential.password else {
            return refuse(place(), "needs password or password_file");
        };
        if credential.username.is_empty() {
            return refuse(place(), "needs a username");
        }
        let prefix = credential.prefix.as_str();
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b'/');
        if prefix.starts_with('/') || !prefix.bytes().all(legal) {
            return refuse(
                place(),
                format!("no repository's name begins with {prefix:?}; write acme/, or \"\" for all"),
            );
        }
        let this = (prefix, credential.username.as_str(), password.expose());
        if known.contains(&this) {
            return refuse(
                place(),
                format!(
                    "{} is there already for the prefix {prefix:?}: a pool takes another account",
                    credential.username
                ),
            );
        }
        known.push(this);
    }
    Ok(())
}

fn web_url(place: &str, url: &Url) -> Result<(), ConfigError> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return refuse(place, format!("{} is no web address; expected https://host", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(place, "no user name or password in an address");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(place, "expected an address without query");
    }
    Ok(())
}

fn listen(place: &str, text: &str) -> Result<(), ConfigError> {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid {
        Ok(())
    } else {
        refuse(place, format!("{text:?} is no address; expected 127.0.0.1:3000 or [::]:3000"))
    }
}

fn is_loopback(listen: &str) -> bool {
    listen.parse::<SocketAddr>().map_or_else(
        |_| listen.starts_with("localhost:"),
        |address| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        },
    )
}

impl Config {
    /// What works and may hurt, for `check` and the log at the start.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |place: String, what: String| warnings.push(Warning { place, what });
        let open = self.clients.auth == Auth::Open;
        // A function is reached by everybody, wherever it listens.
        let is_reached = !is_loopback(&self.listen) || self.platform != Profile::Server;
        let public = open && self.clients.path_secret.is_none() && is_reached;
        if public {
            let what = guard::unrestricted(self).unwrap_or("anybody who reaches this address may use it: restrict the network, or set auth or path_secret_file");
            warn("clients.auth".into(), what.into());
        }
        for (place, what) in self.guard.warnings() {
            warn(place.into(), what.into());
        }
        if !open && self.signing_key.is_none() {
            warn(
                "signing_key_file".into(),
                "not set: logins end when this process does, and replicas do not accept each other's".into(),
            );
        }
        if self.clients.path_secret.as_ref().is_some_and(|secret| secret.expose().len() < 16) {
            warn("clients.path_secret_file".into(), "shorter than 16 characters: it can be guessed".into());
        }
        let shared = self.upstream.iter().filter(|upstream| upstream.hosts.is_empty()).count();
        if self.clients.auth == Auth::Upstream && shared > 1 {
            warn(
                "clients.auth".into(),
                "a client has one login for this host, and it goes to whichever upstream a repository names: give each upstream a virtual host (hosts)".into(),
            );
        }
        if self.cache.offline && self.clients.auth == Auth::Upstream {
            let what = "with auth = \"upstream\" nobody is served: only the upstream could say who may read what";
            warn("cache.offline".into(), what.into());
        }
        for (i, upstream) in self.upstream.iter().enumerate() {
            let at = |key: &str| format!("upstream[{i}].{key}");
            let name = &upstream.name;
            for (j, credential) in upstream.credentials.iter().enumerate() {
                let mut before =
                    upstream.credentials.iter().take(j).map(|one| (one.prefix.as_str(), &one.username));
                let is_default =
                    credential.prefix.is_empty() && upstream.username.as_ref() == Some(&credential.username);
                if is_default || before.any(|one| one == (credential.prefix.as_str(), &credential.username)) {
                    warn(
                        at(&format!("credentials[{j}]")),
                        format!(
                            "{} is there twice with different passwords: registries count for each account, not for each token",
                            credential.username
                        ),
                    );
                }
            }
            let stored = upstream.docker_config.is_some() || self.docker_config.is_some();
            let credential = upstream.username.is_some() || !upstream.credentials.is_empty() || stored;
            if credential && open {
                warn(
                    at("username"),
                    format!(
                        "clients need no login, so whoever reaches this proxy reads what our account at {name} may read"
                    ),
                );
            }
            if credential && self.clients.auth == Auth::Upstream {
                warn(
                    at("username"),
                    format!("not used: with auth = \"upstream\" each client's own login goes to {name}"),
                );
            }
            if upstream.push && open && credential {
                warn(
                    at("push"),
                    format!("clients need no login, so whoever reaches this proxy may push to {name} as us"),
                );
            }
            if upstream.insecure && upstream.backend.is_none() {
                warn(at("insecure"), format!("{name} is reached without checking who answers"));
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sources;
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::load(&Sources { text: Some(text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) })
    }

    #[test]
    fn what_cannot_be_right_is_refused_at_its_key() {
        let upstream = |rest: &str| format!("[[upstream]]\nname='x.test'\nurls=['https://x.test']\n{rest}");
        for (text, place) in [
            ("listen='nowhere'".to_owned(), "listen"),
            ("admin_socket='here'".to_owned(), "admin_socket"),
            ("public_url='https://p.example/sub'".to_owned(), "public_url"),
            ("[tls]\ncert_file='c'".to_owned(), "tls"),
            ("[clients]\nauth='users'".to_owned(), "clients.users_file"),
            ("[clients]\npath_secret_file='Upper'".to_owned(), "clients.path_secret_file"),
            ("[clients]\npath_secret_file='a/b'".to_owned(), "clients.path_secret_file"),
            ("[limits]\nconnections=0".to_owned(), "limits.connections"),
            ("[[upstream]]\nurls=['https://x.test']".to_owned(), "upstream[0].name"),
            ("[[upstream]]\nname='a/b'\nurls=['https://x.test']".to_owned(), "upstream[0].name"),
            ("[[upstream]]\nname='v2'\nurls=['https://x.test']".to_owned(), "upstream[0].name"),
            ("[[upstream]]\nname='x.test'".to_owned(), "upstream[0].urls"),
            ("[[upstream]]\nname='x.test'\nurls=['http://x.test']".to_owned(), "upstream[0].urls[0]"),
            ("[[upstream]]\nname='x.test'\nurls=['https://u:p@x.test']".to_owned(), "upstream[0].urls[0]"),
            (upstream("username='u'"), "upstream[0].username"),
            (upstream("username='u'\npassword='p'\npassword_file='f'"), "upstream[0].password_file"),
            (upstream("credentials=[{prefix='a/',username='u'}]"), "upstream[0].credentials[0]"),
            (upstream("credentials=[{prefix='',username='',password='p'}]"), "upstream[0].credentials[0]"),
            (upstream("credentials=[{prefix='/a',username='u',password='p'}]"), "upstream[0].credentials[0]"),
            (upstream("credentials=[{prefix='Acme/',username='u',password='p'}]"), "upstream[0].credentials[0]"),
            (
                upstream(
                    "credentials=[{prefix='a/',username='u',password='p'},{prefix='a/',username='u',password='p'}]",
                ),
                "upstream[0].credentials[1]",
            ),
            (
                upstream("username='u'\npassword='p'\ncredentials=[{prefix='',username='u',password='p'}]"),
                "upstream[0].credentials[0]",
            ),
            (upstream("client_cert_file='c'"), "upstream[0].client_cert_file"),
            (upstream("proxy='ftp://p'"), "upstream[0].proxy"),
            (upstream("realms=['http://r.test']"), "upstream[0].realms[0]"),
            // A password for an https registry goes over https only, insecure or not.
            (upstream("insecure=true\nrealms=['http://r.test']"), "upstream[0].realms[0]"),
            (upstream("hosts=['a','A']"), "upstream[0].hosts[1]"),
            (format!("{0}\n{0}", upstream("")), "upstream[1].name"),
            (
                format!("{}\n{}", upstream("default=true"), upstream("default=true").replace("x.test", "y.test")),
                "upstream[1].default",
            ),
        ] {
            assert_eq!(load(&text).unwrap_err().place, place, "{text}");
        }
    }

    #[test]
    fn a_pool_of_accounts_is_right() {
        let keys = "username='u'\npassword='p'\ncredentials=[{prefix='',username='v',password='p'},\
                    {prefix='',username='v',password='q'},{prefix='a/',username='u',password='p'}]";
        let config = load(&format!("[[upstream]]\nname='x.test'\nurls=['https://x.test']\n{keys}")).unwrap();
        let places: Vec<String> = config.warnings().into_iter().map(|warning| warning.place).collect();
        assert_eq!(places, ["upstream[0].credentials[1]", "upstream[0].username"]);
    }

    #[test]
    fn a_realm_may_be_plain_http_where_the_registry_itself_is() {
        let text = |urls: &str| {
            format!("[[upstream]]\nname='x.test'\nurls=[{urls}]\ninsecure=true\nrealms=['http://r.test']")
        };
        assert!(load(&text("'http://x.test'")).is_ok());
        let mixed = load(&text("'http://x.test','https://y.test'")).unwrap_err();
        assert_eq!(mixed.place, "upstream[0].realms[0]");
        assert!(mixed.what.contains("https"), "{mixed}");
    }

    #[test]
    fn what_is_dangerous_is_said() {
        let places =
            |text: &str| -> Vec<String> { load(text).unwrap().warnings().into_iter().map(|w| w.place).collect() };
        let account = "[[upstream]]\nname='x.test'\nurls=['https://x.test']\nusername='u'\npassword='p'\n";
        assert_eq!(places(""), Vec::<String>::new());
        assert_eq!(places("listen='0.0.0.0:80'"), ["clients.auth"]);
        assert_eq!(
            places("listen='0.0.0.0:80'\n[clients]\npath_secret_file='long-enough-to-be-a-secret'"),
            Vec::<String>::new()
        );
        assert_eq!(places(account), ["upstream[0].username"]);
        assert_eq!(places(&format!("{account}push=true")), ["upstream[0].username", "upstream[0].push"]);
        assert_eq!(places("docker_config='f'").len(), 12);
        assert_eq!(
            places(&format!("signing_key_file='k'\n[clients]\nauth='upstream'\n{account}")),
            ["upstream[0].username"]
        );
        assert_eq!(places("[clients]\nauth='users'\nusers_file='u'"), ["signing_key_file"]);
        assert_eq!(places("[clients]\nauth='upstream'"), ["signing_key_file", "clients.auth"]);
    }
}
