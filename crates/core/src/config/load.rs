//! From text and variables to a [`Config`]: file, overlay, the original's variables, secrets, validation, in that
//! order. Every error names the key or the variable it is about.

use std::io;

use toml::{Table, Value};
use url::Url;

use super::{Config, ConfigError, Upstream, check, original};
use crate::secret::Secret;
use crate::upstream::catalogue;

const PREFIX: &str = "REGISTRY_PROXY_";

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

/// One variable of the overlay: `REGISTRY_PROXY_CLIENTS__AUTH`.
struct Overlay {
    variable: String,
    value: String,
    path: String,
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
        let overlays = overlay(&mut table, &sources.variables)?;
        let is_platform_named = table.contains_key("platform");
        let mut config: Self = serde_path_to_error::deserialize(Value::Table(table))
            .map_err(|error| located(&error.path().to_string(), error.inner().message(), &overlays))?;
        if !is_platform_named {
            config.platform = super::platform::detect(&sources.variables)?;
        }
        config.suit_platform(&sources.variables);
        config.measure_room();
        original::apply(&mut config, &sources.variables)?;
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
                self.upstream.push(Upstream {
                    name: known.name.to_owned(),
                    urls: Url::parse(known.url).into_iter().collect(),
                    default: known.name == "docker.io" && !has_default,
                    ..Upstream::default()
                });
            }
        }
    }

    fn read_secrets(&mut self, read: Reader<'_>) -> Result<(), ConfigError> {
        let fetch = |place: String, file: &Option<String>, into: &mut Option<Secret>| match file {
            Some(_) if into.is_some() => {
                Err(ConfigError::new(place, "given beside the value itself; keep one of them"))
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

/// Lays `REGISTRY_PROXY_SECTION__KEY=value` over the file.
fn overlay(table: &mut Table, variables: &[(String, String)]) -> Result<Vec<Overlay>, ConfigError> {
    let mut overlays = Vec::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        // A blank field of a console is an unset one.
        if is_not_ours(rest) || (rest == "PLATFORM" && value.is_empty()) {
            continue;
        }
        let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if keys.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                variable,
                "`__` stands between the names of sections and key; one is missing",
            ));
        }
        let mut place = &mut *table;
        let (last, sections) = keys.split_last().ok_or_else(|| ConfigError::new(variable, "names no key"))?;
        for section in sections {
            let entry = place.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            place = entry.as_table_mut().ok_or_else(|| {
                ConfigError::new(variable, format!("{section} is a list; set the whole of it, as ['…', …]"))
            })?;
        }
        place.insert(last.clone(), typed(value));
        overlays.push(Overlay { variable: variable.clone(), value: value.clone(), path: keys.join(".") });
    }
    Ok(overlays)
}

/// `REGISTRY_PROXY_CONFIG` names the file itself. The others Kubernetes puts into every container beside a Service
/// called `registry-proxy` (`REGISTRY_PROXY_SERVICE_HOST`, `REGISTRY_PROXY_PORT_3000_TCP`).
fn is_not_ours(rest: &str) -> bool {
    rest == "CONFIG" || rest == "PORT" || rest.starts_with("SERVICE_") || rest.starts_with("PORT_")
}

/// Lists, tables, numbers and booleans are written as in TOML; all else is text.
fn typed(value: &str) -> Value {
    let value = value.trim();
    let is_toml = value.starts_with(['[', '{'])
        || matches!(value, "true" | "false")
        || (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()));
    let parsed = is_toml.then(|| format!("value = {value}").parse::<Table>().ok()).flatten();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(value.to_owned()))
}

/// Puts the variable in the key's place where it was the variable that said it.
fn located(path: &str, what: &str, overlays: &[Overlay]) -> ConfigError {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let by = overlays.iter().find(|overlay| {
        let missing =
            overlay.path.rsplit('.').next().is_some_and(|key| what.contains(&format!("unknown field `{key}`")));
        path == overlay.path || path.starts_with(&format!("{}[", overlay.path)) || missing
    });
    match by {
        // A list may hold passwords: its text is not repeated.
        Some(overlay) if overlay.value.trim_start().starts_with(['[', '{']) => {
            ConfigError::new(&overlay.variable, what)
        }
        Some(overlay) => ConfigError::new(format!("{}={}", overlay.variable, overlay.value), what),
        None => ConfigError::new(if matches!(path, "" | ".") { "configuration" } else { path }, what),
    }
}

/// Reads a value of the environment that stands for true or false.
pub(super) fn boolean(variable: &str, value: &str) -> Result<bool, ConfigError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ConfigError::new(format!("{variable}={value}"), "expected true or false")),
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
        assert!(
            error("", &[("REGISTRY_PROXY_CLIENTS__NOPE", "x")]).starts_with("REGISTRY_PROXY_CLIENTS__NOPE=x: ")
        );
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
    fn an_egress_proxys_password_is_not_shown() {
        let text =
            "[[upstream]]\nname='x.test'\nurls=['https://x.test']\nproxy='http://me:hunter2@corp.test:3128'";
        let config = load(text, &[]).unwrap();
        assert_eq!(config.upstream[0].proxy.as_ref().unwrap().password(), Some("hunter2"));
        assert!(!config.to_toml().contains("hunter2"), "{}", config.to_toml());
        let list = " [{name='x.test',urls=['nonsense'],username='u',password='hunter2'}]";
        assert!(!error("", &[("REGISTRY_PROXY_UPSTREAM", list)]).contains("hunter2"));
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
