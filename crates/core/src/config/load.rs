//! Makes a [`Config`] from text and variables: file, overlay, the original's variables, secrets, validation, in that order. Every
//! error names its key or variable.

use std::io;

use toml::{Table, Value};
use url::Url;

use super::overlay::{self, located, without_passwords};
use super::{Config, ConfigError, Groups, UpstreamConfig, check, original, renamed};
use crate::catalogue;
use crate::secret::Secret;

/// Reads a file that the configuration names. The core cannot; the platform can.
pub type Reader<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// Where a configuration comes from.
pub struct Sources<'a> {
    /// The TOML file's text.
    pub text: Option<&'a str>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Reads secret files.
    pub read: Reader<'a>,
}

impl Config {
    /// Reads, overlays and validates.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut table: Table = match sources.text {
            Some(text) => text.parse().map_err(|error: toml::de::Error| {
                let line = error
                    .span()
                    .map_or(1, |span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
                ConfigError::new(format!("line {line}"), error.message())
            })?,
            None => Table::new(),
        };
        let is_old_in_file = renamed::is_in(&table);
        let mut overlays = overlay::lay(&mut table, &sources.variables)?;
        let old_names = renamed::rename(&mut table, is_old_in_file, &mut overlays)?;
        let is_platform_named = table.contains_key("platform");
        let mut config: Self = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            located(&error.path().to_string(), &without_passwords(error.inner().message()), &overlays)
        })?;
        config.old_names = old_names;
        if !is_platform_named {
            config.platform = super::platform::detect(&sources.variables)?;
        }
        config.suit_platform(&sources.variables);
        config.measure_room();
        original::apply(&mut config, &sources.variables)?;
        config.upstream.iter_mut().flat_map(|upstream| &mut upstream.urls).for_each(without_api);
        config.add_catalogue();
        config.read_secrets(sources.read)?;
        check::validate(&config).map_err(|error| located(&error.place, &error.what, &overlays))?;
        Ok(config)
    }

    /// Without upstreams of its own a configuration has the whole catalogue, Docker Hub being the default; an
    /// upstream that bears a name of the catalogue need not repeat its address.
    fn add_catalogue(&mut self) {
        let alone = self.upstream.is_empty();
        for upstream in &mut self.upstream {
            if let (true, Some(known)) = (upstream.urls.is_empty(), catalogue::find(&upstream.name)) {
                upstream.urls.extend(Url::parse(known.url));
            }
        }
        if !(alone || self.catalogue) {
            return;
        }
        let has_default = self.upstream.iter().any(|upstream| upstream.default);
        for known in &catalogue::CATALOGUE {
            if self.upstream.iter().all(|upstream| upstream.name != known.name) {
                self.upstream.push(UpstreamConfig {
                    name: known.name.to_owned(),
                    urls: Url::parse(known.url).into_iter().collect(),
                    default: known.name == "docker.io" && !has_default,
                    ..UpstreamConfig::default()
                });
            }
        }
    }

    fn read_secrets(&mut self, read: Reader<'_>) -> Result<(), ConfigError> {
        let fetch = |place: String, file: &Option<String>, into: &mut Option<Secret>| match file {
            Some(_) if into.is_some() => {
                Err(ConfigError::new(place, "set together with the value itself; keep one of them"))
            }
            Some(path) => {
                let text = read(path)
                    .map_err(|error| ConfigError::new(&place, format!("cannot read {path}: {error}")))?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    return Err(ConfigError::new(place, format!("{path} is empty")));
                }
                *into = Some(Secret::new(text));
                Ok(())
            }
            None => Ok(()),
        };
        fetch("signing_key_file".into(), &self.signing_key_file, &mut self.signing_key)?;
        fetch("clients.path_secret_file".into(), &self.clients.path_secret_file, &mut self.clients.path_secret)?;
        fetch("timer.token_file".into(), &self.timer.token_file, &mut self.timer.token)?;
        if let Some(path) = &self.clients.groups_file {
            let wrong = |what: String| ConfigError::new("clients.groups_file", what);
            let text = read(path).map_err(|error| wrong(format!("cannot read {path}: {error}")))?;
            self.clients.groups = Groups::parse(&text).map_err(|what| wrong(format!("{path}: {what}")))?;
        }
        for (i, receiver) in self.events.iter_mut().enumerate() {
            fetch(format!("events[{i}].key_file"), &receiver.key_file, &mut receiver.key)?;
        }
        for (i, upstream) in self.upstream.iter_mut().enumerate() {
            fetch(format!("upstream[{i}].password_file"), &upstream.password_file, &mut upstream.password)?;
            for (j, credential) in upstream.credentials.iter_mut().enumerate() {
                let place = format!("upstream[{i}].credentials[{j}].password_file");
                fetch(place, &credential.password_file, &mut credential.password)?;
            }
        }
        Ok(())
    }
}

/// Removes the `/v2/` of the registry API, with which people copy an address.
fn without_api(url: &mut Url) {
    let path = url.path().trim_end_matches('/');
    if let Some(base) = path.strip_suffix("/v2").map(ToOwned::to_owned) {
        url.set_path(&base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Auth, Redirects};

    pub(crate) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(&Sources {
            text: Some(text),
            variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            read: &|path| match path {
                "secret" => Ok("s3cr3t-of-the-path\n".to_owned()),
                "empty" => Ok("\n".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        })
    }

    fn error(text: &str, variables: &[(&str, &str)]) -> String {
        load(text, variables).unwrap_err().to_string()
    }

    #[test]
    fn nothing_at_all_gives_the_catalogue_with_docker_hub_as_default() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.upstream.len(), 12);
        let default: Vec<_> = config.upstream.iter().filter(|u| u.default).map(|u| u.name.as_str()).collect();
        assert_eq!(default, ["docker.io"]);
        assert_eq!(config.clients.auth, Auth::Open);
        assert_eq!(config.listen, "127.0.0.1:3000");
    }

    #[test]
    fn a_named_upstream_is_all_there_is_unless_the_catalogue_is_asked_for() {
        let one = "[[upstream]]\nname = 'ghcr.io'\ndefault = true\n";
        let config = load(one, &[]).unwrap();
        assert_eq!(config.upstream.len(), 1);
        assert_eq!(config.upstream[0].urls[0].as_str(), "https://ghcr.io/");
        let config = load(&format!("catalogue = true\n{one}"), &[]).unwrap();
        assert_eq!(config.upstream.len(), 12);
        assert_eq!(config.upstream.iter().filter(|u| u.default).count(), 1);
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let config = load(
            "[clients]\nauth = 'open'\n",
            &[
                ("REGISTRY_PROXY_CLIENTS__AUTH", "upstream"),
                ("REGISTRY_PROXY_LIMITS__CONNECTIONS", "7"),
                ("REGISTRY_PROXY_TIMEOUTS__IDLE", "40s"),
                ("REGISTRY_PROXY_TRUSTED_PROXIES", "['10.0.0.0/8']"),
                ("REGISTRY_PROXY_UPSTREAM", "[{name='x.test',urls=['https://x.test'],redirects='pass'}]"),
                ("PATH", "/usr/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.clients.auth, Auth::Upstream);
        assert_eq!(config.limits.connections, 7);
        assert_eq!(config.timeouts.idle.0.as_secs(), 40);
        assert_eq!(config.trusted_proxies.len(), 1);
        assert_eq!(config.upstream[0].redirects, Redirects::Pass);
    }

    #[test]
    fn a_name_that_is_missing_is_said_of_the_variable_or_the_file() {
        for variable in
            ["REGISTRY_PROXY___AUTH", "REGISTRY_PROXY_", "REGISTRY_PROXY_CLIENTS__", "REGISTRY_PROXY_A____B"]
        {
            let error = error("", &[(variable, "open")]);
            assert!(error.starts_with(variable) && error.contains("one is missing"), "{error}");
        }
        assert!(error("'' = 1", &[]).starts_with("configuration"));
    }

    #[test]
    fn what_kubernetes_puts_into_the_environment_is_no_error() {
        let variables = [
            ("REGISTRY_PROXY_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_PROXY_PORT", "tcp://1"),
            ("REGISTRY_PROXY_PORT_3000_TCP", "x"),
        ];
        assert!(load("", &variables).is_ok());
    }

    #[test]
    fn an_error_names_the_key() {
        assert_eq!(
            error("[clients]\nauth = 'none'", &[]),
            "clients.auth: unknown variant `none`, expected one of `open`, `users`, `upstream`"
        );
        assert!(error("[clients]\nauht = 'open'", &[]).contains("unknown field `auht`"));
        assert!(
            error("[[upstream]]\nname='x'\nurls=['https://ok.test','nonsense']", &[])
                .starts_with("upstream[0].urls[1]: ")
        );
        assert!(error("listen = ", &[]).starts_with("line 1: "));
        assert!(error("[timeouts]\nidle = '3'", &[]).contains("write 250ms, 3s, 5m or 1h"));
    }

    #[test]
    fn an_error_names_the_variable_its_value_and_what_is_allowed() {
        let text = error("", &[("REGISTRY_PROXY_CLIENTS__AUTH", "anyone")]);
        assert_eq!(
            text,
            "REGISTRY_PROXY_CLIENTS__AUTH=anyone: unknown variant `anyone`, expected one of `open`, `users`, `upstream`"
        );
        // Which key was meant nobody knows, so the value may be anything.
        assert!(error("", &[("REGISTRY_PROXY_CLIENTS__NOPE", "x")]).starts_with("REGISTRY_PROXY_CLIENTS__NOPE: "));
        assert!(
            error("", &[("REGISTRY_PROXY_PUBLIC_URL", "proxy")]).starts_with("REGISTRY_PROXY_PUBLIC_URL=proxy: ")
        );
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let text = "signing_key_file='secret'\n[[upstream]]\nname='x.test'\nurls=['https://x.test']\nusername='u'\npassword_file='secret'";
        let config = load(text, &[]).unwrap();
        assert_eq!(config.upstream[0].password.as_ref().unwrap().expose(), "s3cr3t-of-the-path");
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert_eq!(error("signing_key_file='empty'", &[]), "signing_key_file: empty is empty");
        assert!(error("signing_key_file='missing'", &[]).starts_with("signing_key_file: cannot read missing"));
    }

    #[test]
    fn an_address_may_end_in_that_of_the_registry_api() {
        for (given, meant) in [
            ("https://x.test/v2/", "https://x.test/"),
            ("https://x.test:5000/v2", "https://x.test:5000/"),
            ("https://x.test/harbor/v2//", "https://x.test/harbor"),
            ("https://x.test/v2/team", "https://x.test/v2/team"),
            ("https://x.test/rev2/", "https://x.test/rev2/"),
        ] {
            let config = load(&format!("[[upstream]]\nname='x.test'\nurls=['{given}']"), &[]).unwrap();
            assert_eq!(config.upstream[0].urls[0].as_str(), meant);
            let original = load("", &[("REGISTRY_BACKEND", given)]).unwrap();
            assert_eq!(original.upstream[0].urls[0].as_str(), meant);
        }
    }

    #[test]
    fn an_egress_proxys_password_is_not_shown() {
        let text =
            "[[upstream]]\nname='x.test'\nurls=['https://x.test']\nproxy='http://me:hunter2@corp.test:3128'";
        let config = load(text, &[]).unwrap();
        let proxy = Url::parse("http://me:hunter2@corp.test:3128").unwrap();
        assert_eq!(config.upstream[0].proxy, Some(super::super::Egress::Proxy(proxy)));
        let shown = format!("{config:?}{}", config.to_toml());
        assert!(!shown.contains("hunter2"), "{shown}");
        let list = " [{name='x.test',urls=['nonsense'],username='u',password='hunter2'}]";
        assert!(!error("", &[("REGISTRY_PROXY_UPSTREAM", list)]).contains("hunter2"));
    }

    #[test]
    fn no_error_of_a_variable_repeats_a_secret() {
        for (variable, value, what) in [
            (
                "REGISTRY_PROXY_UPSTREAM",
                "[{name='x.test',username='u',password='hunter2'}",
                "is not valid TOML; write ['…', …]",
            ),
            ("REGISTRY_PROXY_CLIENTS", "{path_secret='hunter2'", "is not valid TOML; write ['…', …]"),
            // As `docker run --env-file` leaves quotes where they stand.
            ("REGISTRY_PROXY_UPSTREAM", "'[{name=\"x.test\",password=\"hunter2\"}]'", "expected a sequence"),
            ("REGISTRY_PROXY_UPSTREAM", "[{name='x.test',password=8675309867530986}]", "in quotes"),
            (
                "REGISTRY_PROXY_UPSTREAM",
                "[{name='x.test',proxy='http://u:hun/ter2@h'}]",
                "socks5h://host:port, or none",
            ),
            ("REGISTRY_PROXY_PUBLIC_URL", "https://u:hun/ter2@h", "invalid port number"),
            ("REGISTRY_PROXY_PASSWORD", "hunter2", "unknown field `password`"),
            ("REGISTRY_PROXY_CLIENTS__PATHSECRET", "hunter2", "unknown field `pathsecret`"),
            ("REGISTRY_PROXY_CLIENTS__PASSPHRASE", "hunter2", "unknown field `passphrase`"),
            ("REGISTRY_PROXY_CLIENTS__PATH_SECRET", "Hunter2/8675309867530986", "lower-case path segment"),
        ] {
            let text = error("", &[(variable, value)]);
            assert!(text.contains(what), "{text}");
            let is_told =
                ["hunter2", "Hunter2", "ter2@", "8675309867530986"].iter().any(|part| text.contains(part));
            assert!(!is_told, "{text}");
        }
        let file = error("clients.path_secret = 8675309867530986", &[]);
        assert_eq!(file, "clients.path_secret: expected text in quotes");
    }

    #[test]
    fn a_secret_of_digits_is_text_and_an_address_in_brackets_is_no_list() {
        let config = load(
            "",
            &[
                ("REGISTRY_PROXY_CLIENTS__PATH_SECRET", "8675309867530986"),
                ("REGISTRY_PROXY_SIGNING_KEY", "[01234567890123456789012345678901"),
                ("REGISTRY_PROXY_LISTEN", "[::]:3000"),
            ],
        )
        .unwrap();
        assert_eq!(config.clients.path_secret.as_ref().unwrap().expose(), "8675309867530986");
        assert_eq!(config.signing_key.as_ref().unwrap().expose(), "[01234567890123456789012345678901");
        assert_eq!(config.listen, "[::]:3000");
    }

    #[test]
    fn secrets_without_files_come_from_the_environment() {
        let key = "0123456789abcdef0123456789abcdef";
        let variables =
            [("REGISTRY_PROXY_CLIENTS__PATH_SECRET", "quite-a-long-secret"), ("REGISTRY_PROXY_SIGNING_KEY", key)];
        let config = load("", &variables).unwrap();
        assert_eq!(config.clients.path_secret.as_ref().unwrap().expose(), "quite-a-long-secret");
        assert_eq!(config.signing_key.as_ref().unwrap().expose(), key);
        let printed = toml::to_string(&config).unwrap();
        assert!(!printed.contains("quite-a-long-secret") && !printed.contains(key), "{printed}");
        assert!(error("clients.path_secret_file='secret'", &variables).contains("keep one of them"));
    }

    #[test]
    fn what_check_prints_can_be_read_again() {
        let config = load("", &[]).unwrap();
        let again = load(&toml::to_string(&config).unwrap(), &[]).unwrap();
        assert_eq!(toml::to_string(&again).unwrap(), toml::to_string(&config).unwrap());
    }
}
