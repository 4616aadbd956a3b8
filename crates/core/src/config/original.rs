//! The five variables of the original Node.js project, each doing what its table said.

use url::Url;

use super::overlay::shown;
use super::{Backend, Config, ConfigError, Redirects, UpstreamConfig};

/// Applies the variables. `PORT` wins over the file's `listen`; the redirect variables act only where
/// `REGISTRY_BACKEND` is set.
pub(super) fn apply(config: &mut Config, variables: &[(String, String)]) -> Result<(), ConfigError> {
    // An empty variable is an unset one: that is what compose files and function consoles make of a blank field.
    let find = |name: &str| {
        variables
            .iter()
            .find(|(key, value)| key == name && !value.trim().is_empty())
            .map(|(_, value)| value.trim())
    };
    let flag = |name: &str, default: bool| find(name).map_or(Ok(default), |value| boolean(name, value));

    if let Some(port) = find("PORT") {
        let number = port.parse::<u16>().ok().filter(|number| *number != 0);
        let number =
            number.ok_or_else(|| ConfigError::new(format!("PORT={port}"), "expected a port, 1 to 65535"))?;
        config.listen = format!("0.0.0.0:{number}");
    }
    // Read even where they do not act: a value that cannot be understood is better said than ignored.
    let proxy_redirect = flag("PROXY_REDIRECT", true)?;
    let handle_redirect = flag("HANDLE_REDIRECT", false)?;
    let storage =
        find("DEFAULT_BACKEND_HOST").map(|value| storage_url("DEFAULT_BACKEND_HOST", value)).transpose()?;

    let Some(backend) = find("REGISTRY_BACKEND") else { return Ok(()) };
    if !config.upstream.is_empty() || config.catalogue {
        let what = "the configuration already names upstreams; keep one of the two";
        return Err(ConfigError::new(shown("REGISTRY_BACKEND", backend), what));
    }
    let url = backend_url("REGISTRY_BACKEND", backend)?;
    config.upstream = vec![UpstreamConfig {
        name: host_and_port(&url),
        default: true,
        insecure: url.scheme() == "http",
        redirects: match (handle_redirect, proxy_redirect) {
            (true, _) => Redirects::Follow,
            (false, true) => Redirects::Rewrite,
            (false, false) => Redirects::Pass,
        },
        backend: Some(Backend { storage: storage.unwrap_or_else(|| url.clone()) }),
        urls: vec![url],
        ..UpstreamConfig::default()
    }];
    Ok(())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn backend_url(variable: &str, value: &str) -> Result<Url, ConfigError> {
    let wrong = |what: &str| ConfigError::new(shown(variable, value), what);
    let expected = "expected an address such as https://registry-1.docker.io";
    let url = Url::parse(value).map_err(|_| wrong(expected))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(expected));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::new(
            variable,
            "the address must not contain a user name or password; see upstream.username",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected an address without a query"));
    }
    Ok(url)
}

/// The variable is called a host, so a bare one is understood.
fn storage_url(variable: &str, value: &str) -> Result<Url, ConfigError> {
    if value.contains("://") {
        backend_url(variable, value)
    } else {
        backend_url(variable, &format!("https://{value}"))
            .map_err(|error| ConfigError::new(shown(variable, value), error.what))
    }
}

/// Reads a variable whose value is true or false.
fn boolean(variable: &str, value: &str) -> Result<bool, ConfigError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ConfigError::new(format!("{variable}={value}"), "expected true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sources;
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(&Sources {
            text: None,
            variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn the_backend_is_all_there_is_and_its_storage_is_itself_by_default() {
        let config = load(&[("REGISTRY_BACKEND", "https://far.example/dh")]).unwrap();
        let upstream = &config.upstream[0];
        assert_eq!(config.upstream.len(), 1);
        assert_eq!(upstream.redirects, Redirects::Rewrite);
        assert_eq!(upstream.backend.as_ref().unwrap().storage.as_str(), "https://far.example/dh");
        assert!(upstream.default && !upstream.insecure);
    }

    #[test]
    fn the_redirect_variables_are_independent() {
        for (proxy, handle, expected) in [
            ("true", "false", Redirects::Rewrite),
            ("false", "false", Redirects::Pass),
            ("true", "true", Redirects::Follow),
            ("false", "true", Redirects::Follow),
            ("", "", Redirects::Rewrite),
            ("0", "TRUE", Redirects::Follow),
        ] {
            let variables =
                [("REGISTRY_BACKEND", "http://h:1"), ("PROXY_REDIRECT", proxy), ("HANDLE_REDIRECT", handle)];
            assert_eq!(load(&variables).unwrap().upstream[0].redirects, expected, "{proxy} {handle}");
        }
    }

    #[test]
    fn without_a_backend_the_redirect_variables_do_nothing() {
        let config = load(&[("PROXY_REDIRECT", "true"), ("DEFAULT_BACKEND_HOST", "https://cdn.example")]).unwrap();
        assert_eq!(config.upstream.len(), 12);
        assert!(config.upstream.iter().all(|u| u.redirects == Redirects::Follow && u.backend.is_none()));
    }

    #[test]
    fn a_port_opens_every_interface() {
        assert_eq!(load(&[("PORT", "9000")]).unwrap().listen, "0.0.0.0:9000");
    }

    #[test]
    fn values_that_do_not_parse_are_named_with_what_is_allowed() {
        for (variable, value, allowed) in [
            ("PORT", "http", "1 to 65535"),
            ("PORT", "70000", "1 to 65535"),
            ("PORT", "0", "1 to 65535"),
            ("PROXY_REDIRECT", "maybe", "true or false"),
            ("HANDLE_REDIRECT", "2", "true or false"),
            ("REGISTRY_BACKEND", "registry-1.docker.io", "https://"),
            ("REGISTRY_BACKEND", "ftp://x", "https://"),
            ("REGISTRY_BACKEND", "https://", "https://"),
            ("DEFAULT_BACKEND_HOST", "not a host", "https://"),
        ] {
            let error = load(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}={value}: ")) && error.contains(allowed), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for (variable, value) in [
            ("REGISTRY_BACKEND", "https://u:hunter2@h"),
            ("REGISTRY_BACKEND", "https://u:hunter2/@h"),
            ("DEFAULT_BACKEND_HOST", "u:hunter2@h"),
        ] {
            let error = load(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}: ")) && !error.contains("hunter2"), "{error}");
        }
    }
}
