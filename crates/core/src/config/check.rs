//! Refuses values that cannot be right, with the path of the key. Dangerous values get a warning, in [`warnings`].

mod cloud_login;
mod holds;
mod issuers;
mod page;
mod warnings;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

pub use self::warnings::Warning;
use super::{Auth, CacheConfig, Config, ConfigError, Limits, PageAuth, StoreAddress, Timeouts, UpstreamConfig};
use super::{access, block, events, policy, tag_rule, timer, warm_rule};
use crate::name::RepositoryName;

/// Names that paths of our own already have.
const RESERVED: [&str; 6] = ["v2", "token", "healthz", "readyz", "metrics", "-"];

/// A number beyond what any machine has, since counters are finite.
const MOST_CONNECTIONS: usize = 1_000_000;

/// At least what clients are told; at most what a stolen token may be worth.
const READ_TOKEN_LIFE: RangeInclusive<Duration> = Duration::from_mins(5)..=Duration::from_hours(24);

fn refuse<T>(place: impl Into<String>, what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(place, what))
}

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    listen("listen", &config.listen)?;
    if let Some(address) = &config.metrics.listen {
        listen("metrics.listen", address)?;
    }
    if let Some(address) = &config.page.listen {
        listen("page.listen", address)?;
    }
    page::validate(config)?;
    if let Some(path) = &config.admin_socket
        && !(path == "none" || path.starts_with('/') || path.starts_with("~/"))
    {
        return refuse("admin_socket", "expected a path that begins with / or ~/, or none");
    }
    if let Some(url) = &config.public_url {
        web_url("public_url", url)?;
        if url.path() != "/" {
            return refuse("public_url", "expected scheme and host only, without a path");
        }
    }
    if config.tls.cert_file.is_some() != config.tls.key_file.is_some() {
        return refuse("tls", "set both cert_file and key_file, or neither");
    }
    issuers::validate(config)?;
    let has_issuers = !config.clients.issuer.is_empty();
    let needs_users = config.clients.auth == Auth::Users && !has_issuers || config.page.auth == PageAuth::Users;
    if needs_users && config.clients.users_file.is_none() {
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
    if !READ_TOKEN_LIFE.contains(&config.clients.read_token_life.0) {
        return refuse("clients.read_token_life", "expected 5m to 24h; clients are told 5m");
    }
    limits(&config.limits)?;
    timeouts(&config.timeouts)?;
    config.quota.validate()?;
    cache(&config.cache)?;
    events::validate(&config.events)?;
    access::check(&config.access, &config.clients)?;
    block::check(&config.block)?;
    policy::check(&config.policy)?;
    warm_rule::check(&config.warm)?;
    timer::check(&config.timer)?;
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
                    "expected a host name, with the port unless it is the default port",
                );
            }
            if !hosts.insert(host.to_ascii_lowercase()) {
                return refuse(at(&format!("hosts[{j}]")), format!("{host} is named twice"));
            }
        }
        defaults += usize::from(upstream.default);
        if defaults > 1 {
            return refuse(at("default"), "another upstream is already the default");
        }
    }
    Ok(())
}

/// One piece of a body.
const LEAST_PER_CONNECTION: u64 = 64 << 10;

fn limits(limits: &Limits) -> Result<(), ConfigError> {
    if !(1..=MOST_CONNECTIONS).contains(&limits.connections) {
        return refuse("limits.connections", format!("expected 1 to {MOST_CONNECTIONS}"));
    }
    for (name, zero) in [
        ("waiting", limits.waiting == 0),
        ("logins", limits.logins == 0),
        ("tokens", limits.tokens == 0),
        ("in_flight", limits.in_flight.0 == 0),
        ("in_flight_per_connection", limits.in_flight_per_connection.0 < LEAST_PER_CONNECTION),
        ("token_memory", limits.token_memory.0 < 2 << 20),
        ("request_head", limits.request_head.0 < 8192),
        ("form_body", limits.form_body.0 == 0),
        ("manifest", limits.manifest.0 == 0),
        ("listing", limits.listing.0 == 0),
    ] {
        if zero {
            let least = match name {
                "request_head" => "at least 8KiB",
                "in_flight_per_connection" => "at least 64KiB",
                "token_memory" => "at least 2MiB",
                _ => "at least 1",
            };
            return refuse(format!("limits.{name}"), format!("expected {least}"));
        }
    }
    Ok(())
}

/// Timeouts that end in an error. With zero everything would fail before it began.
fn timeouts(timeouts: &Timeouts) -> Result<(), ConfigError> {
    for (name, span) in [
        ("connect", timeouts.connect),
        ("first_byte", timeouts.first_byte),
        ("head", timeouts.head),
        ("idle", timeouts.idle),
        ("client_first_byte", timeouts.client_first_byte),
        ("client_idle", timeouts.client_idle),
        ("client_stall", timeouts.client_stall),
    ] {
        if span.0.is_zero() {
            return refuse(format!("timeouts.{name}"), "expected more than 0, such as 10s");
        }
    }
    Ok(())
}

fn cache(cache: &CacheConfig) -> Result<(), ConfigError> {
    for (name, is_wrong, expected) in [
        ("max_size", cache.max_size().0 == 0, "at least 1; to disable the cache set store = \"none\""),
        ("fill.parts", !(1..=64).contains(&cache.fill.parts), "1 to 64"),
        ("fill.part_size", cache.fill.part_size.0 < 64 << 10, "at least 64KiB"),
        ("fill.parts_per_upstream", cache.fill.parts_per_upstream == 0, "at least 1"),
    ] {
        if is_wrong {
            return refuse(format!("cache.{name}"), format!("expected {expected}"));
        }
    }
    tag_rule::check(&cache.tags, cache.store != StoreAddress::None)
}

fn check_upstream(upstream: &UpstreamConfig, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
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
                "passwords are not sent over plain HTTP, unless all urls of the registry are http:// (with insecure = true); use https",
            );
        }
    }
    if upstream.username.is_some() != upstream.password.is_some() {
        return refuse(at("username"), "set both username and password (or password_file), or neither");
    }
    credentials(upstream, at)?;
    cloud_login::validate(upstream, at)?;
    if upstream.client_cert_file.is_some() != upstream.client_key_file.is_some() {
        return refuse(at("client_cert_file"), "set both client_cert_file and client_key_file, or neither");
    }
    if upstream.max_connections > MOST_CONNECTIONS {
        return refuse(at("max_connections"), format!("expected 0 to {MOST_CONNECTIONS}; 0 is no limit"));
    }
    Ok(())
}

/// Several credentials for one prefix are a pool, so each must be of another account.
fn credentials(upstream: &UpstreamConfig, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
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
                format!("no repository name can begin with {prefix:?}; write acme/, or \"\" for all"),
            );
        }
        let this = (prefix, credential.username.as_str(), password.expose());
        if known.contains(&this) {
            return refuse(
                place(),
                format!(
                    "{} is already configured for the prefix {prefix:?}: the accounts of a pool must differ",
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
        return refuse(place, format!("{} is not http or https; expected https://host", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(place, "an address must not contain a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(place, "expected an address without a query");
    }
    Ok(())
}

fn listen(place: &str, text: &str) -> Result<(), ConfigError> {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid {
        Ok(())
    } else {
        refuse(place, format!("{text:?} is not an address; expected 127.0.0.1:3000 or [::]:3000"))
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
            ("[page]\nauth='users'".to_owned(), "clients.users_file"),
            ("[page]\nlisten='here'".to_owned(), "page.listen"),
            ("[page]\nadmins=['alice']".to_owned(), "page.admins"),
            ("[page]\nsearch=true\n[[upstream]]\nname='ghcr.io'".to_owned(), "page.search"),
            ("[[upstream]]\nname='-'\nurls=['https://x.test']".to_owned(), "upstream[0].name"),
            ("[clients]\npath_secret_file='Upper'".to_owned(), "clients.path_secret_file"),
            // As a deploy tool fills it in that finds no such variable: nobody meant to be open.
            ("[clients]\npath_secret=''".to_owned(), "clients.path_secret_file"),
            ("[clients]\npath_secret_file='a/b'".to_owned(), "clients.path_secret_file"),
            ("[limits]\nconnections=0".to_owned(), "limits.connections"),
            ("[limits]\nin_flight=0".to_owned(), "limits.in_flight"),
            ("[limits]\nin_flight_per_connection='63KiB'".to_owned(), "limits.in_flight_per_connection"),
            ("[timeouts]\nclient_first_byte='0s'".to_owned(), "timeouts.client_first_byte"),
            ("[limits]\nlogins=0".to_owned(), "limits.logins"),
            ("[limits]\ntoken_memory='1MiB'".to_owned(), "limits.token_memory"),
            ("[clients]\nread_token_life='4m'".to_owned(), "clients.read_token_life"),
            ("[clients]\nread_token_life='25h'".to_owned(), "clients.read_token_life"),
            ("[limits]\nconnections=9000000000000000000".to_owned(), "limits.connections"),
            (upstream("max_connections=9000000000000000000"), "upstream[0].max_connections"),
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
            (upstream("proxy='proxy.corp:3128'"), "upstream[0].proxy"),
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
    fn a_deadline_that_is_over_at_once_is_refused() {
        for key in ["connect", "first_byte", "head", "idle", "client_idle", "client_stall"] {
            let place = load(&format!("[timeouts]\n{key}='0s'")).unwrap_err().place;
            assert_eq!(place, format!("timeouts.{key}"));
        }
        assert!(load("[timeouts]\ndrain='0s'\ndown='0s'").is_ok());
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
}
