//! Where the configuration comes from: arguments, environment, file. Kept, so that SIGHUP can read it again.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use registry_proxy_core::Config;
use registry_proxy_core::config::{ConfigError, Sources};
use registry_proxy_core::secret::Secret;

use crate::cli::Cli;
use crate::passwords::Htpasswd;

/// What was said when the process started.
pub(crate) struct Settings {
    file: Option<String>,
    listen: Option<String>,
    variables: Vec<(String, String)>,
}

impl Settings {
    pub(crate) fn new(cli: &Cli) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Self { file: cli.config.clone(), listen: cli.listen.clone(), variables: variables.collect() }
    }

    /// Reads everything, files included, and checks it.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let at = |place: &str, what: String| ConfigError { place: place.to_owned(), what };
        let text = match &self.file {
            Some(path) => Some(
                read(path).map_err(|error| at(&format!("--config {path}"), format!("cannot be read: {error}")))?,
            ),
            None => None,
        };
        let sources = Sources { text: text.as_deref(), variables: self.variables.clone(), read: &read };
        // Variables are in capitals, and keys are not.
        let is_of_a_variable = |error: &ConfigError| error.place.starts_with(|c: char| c.is_ascii_uppercase());
        let mut config = Config::load(&sources).map_err(|error| match &self.file {
            Some(path) if !is_of_a_variable(&error) => at(&format!("{path}: {}", error.place), error.what),
            _ => error,
        })?;
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
            if listen.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
                return Err(at(
                    &format!("--listen {listen}"),
                    "expected an address such as 127.0.0.1:3000".to_owned(),
                ));
            }
        }
        // Files that only the server reads are read here too, so that `check` finds what is wrong with them.
        if let Some(path) = &config.clients.users_file {
            let text =
                read(path).map_err(|error| at("clients.users_file", format!("cannot read {path}: {error}")))?;
            Htpasswd::parse(&text).map_err(|what| at("clients.users_file", format!("{path}: {what}")))?;
        }
        crate::tls::check(&config)?;
        crate::egress::check()?;
        crate::credentials::DockerCredentials::load(&config)?;
        crate::logging::filter(&config.log)?;
        Ok(config)
    }
}

/// A random key for this process, where the configuration has none: kept over reloads.
pub(crate) fn random_key() -> Secret {
    use registry_proxy_core::platform::Entropy as _;
    let mut bytes = [0; 32];
    crate::runtime::SystemEntropy.fill(&mut bytes);
    Secret::new(BASE64_STANDARD.encode(bytes))
}

/// Reads a file; `~/` is the home of whoever runs us.
pub(crate) fn read(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(expand(path))
}

/// `~/x` in full.
pub(crate) fn expand(path: &str) -> std::path::PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => std::path::Path::new(&home).join(rest),
        _ => path.into(),
    }
}
