//! Where the configuration comes from: a file, the environment and `--listen`. The source is kept for the life of the
//! process, so that SIGHUP can load the configuration again.

use registry_proxy_core::Config;
use registry_proxy_core::config::{ConfigError, Sources};

use crate::config_excerpt::{did_you_mean, excerpt};
use crate::files::read;
use crate::passwords::Htpasswd;
use crate::terminal::Palette;

/// The inputs of the configuration, as they were when the process started.
pub(crate) struct ConfigSource {
    /// `--config`
    file: Option<String>,
    /// `--listen`
    listen: Option<String>,
    /// The environment.
    variables: Vec<(String, String)>,
}

impl ConfigSource {
    pub(crate) fn new(file: Option<String>, listen: Option<String>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Self { file, listen, variables: variables.collect() }
    }

    /// Loads the configuration with every file that it names, and checks all of it.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let at = |place: &str, what: String| ConfigError { place: place.to_owned(), what };
        let text = match &self.file {
            Some(path) => Some(
                read(path).map_err(|error| at(&format!("--config {path}"), format!("cannot be read: {error}")))?,
            ),
            None => None,
        };
        let sources = Sources { text: text.as_deref(), variables: self.variables.clone(), read: &read };
        let mut config = Config::load(&sources).map_err(|mut error| {
            error.what.extend(did_you_mean(&error.what));
            match &self.file {
                Some(path) if !is_of_a_variable(&error) => at(&format!("{path}: {}", error.place), error.what),
                _ => error,
            }
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
        // Files that only the server uses are read here as well, so that `check` finds errors in them.
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

    /// The line of the file that is wrong, with a caret, for people at a terminal.
    pub(crate) fn excerpt(&self, error: &ConfigError, palette: Palette) -> Option<String> {
        let path = self.file.as_ref().filter(|_| !is_of_a_variable(error))?;
        let place = error.place.strip_prefix(&format!("{path}: ")).unwrap_or(&error.place);
        excerpt(path, &read(path).ok()?, place, &error.what, palette)
    }
}

/// Variables are upper case, keys are not.
fn is_of_a_variable(error: &ConfigError) -> bool {
    error.place.starts_with(|c: char| c.is_ascii_uppercase())
}
