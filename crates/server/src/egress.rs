//! Which egress proxy an address is reached through, by configuration or environment. Only decides; does not connect.

mod exceptions;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use registry_proxy_core::config::{ALLOWED_EGRESS, ConfigError, Egress};

use self::exceptions::Exceptions;

/// Variables that name a proxy, in upper or lower case; upper case wins.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// The egress routes of an upstream.
pub(crate) struct EgressRoutes {
    /// `None`: every address is reached directly.
    proxies: Option<Matcher>,
    /// `NO_PROXY`; used only with proxies from the environment.
    exceptions: Exceptions,
}

impl EgressRoutes {
    /// The routes of an upstream with this `proxy`.
    pub(crate) fn new(configured: Option<&Egress>) -> Self {
        match configured {
            None => Self::of_environment(),
            Some(Egress::Direct) => Self { proxies: None, exceptions: Exceptions::default() },
            Some(Egress::Proxy(url)) => {
                let all = Matcher::builder().all(url.as_str().trim_end_matches('/').to_owned());
                Self { proxies: Some(all.build()), exceptions: Exceptions::default() }
            }
        }
    }

    /// The routes if the configuration sets no proxy.
    pub(crate) fn of_environment() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let [http, https, all] = PROXIES.map(|name| find(&variable, name).unwrap_or_default());
        // A CGI server would set HTTP_PROXY from a client's `Proxy` header.
        let http = if variable("REQUEST_METHOD").is_some() { String::new() } else { http };
        let has_any = [&http, &https, &all].into_iter().any(|proxy| !proxy.is_empty());
        Self {
            proxies: has_any.then(|| Matcher::builder().http(http).https(https).all(all).build()),
            exceptions: Exceptions::parse(&find(&variable, "NO_PROXY").unwrap_or_default()),
        }
    }

    /// The proxy for an address; `None`: connect directly.
    pub(crate) fn proxy_to(&self, uri: &Uri) -> Option<Intercept> {
        self.proxies.as_ref()?.intercept(uri).filter(|_| !self.exceptions.include(uri))
    }
}

/// Whether the proxy forwards the request (absolute form, RFC 9112 section 3.2.2) instead of opening a tunnel. So for plain
/// HTTP: squid, tinyproxy and others allow CONNECT only to port 443.
pub(crate) fn is_forwarded(uri: &Uri, proxy: &Intercept) -> bool {
    uri.scheme_str() == Some("http") && matches!(proxy.uri().scheme_str(), Some("http" | "https"))
}

/// Rejects variables that do not name a valid proxy: ignoring an intended proxy would be worse.
pub(crate) fn check() -> Result<(), ConfigError> {
    check_variables(|name| std::env::var(name).ok())
}

fn check_variables(variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
    for name in PROXIES {
        let Some(value) = find(&variable, name) else { continue };
        // Without a scheme it is an HTTP proxy, as curl and Go read it.
        let url = if value.contains("://") { value } else { format!("http://{value}") };
        if !matches!(Egress::parse(&url), Some(Egress::Proxy(_))) {
            // Do not show the value: it may contain a password.
            return Err(ConfigError {
                place: name.to_owned(),
                what: ALLOWED_EGRESS.replace(", or none", ", or nothing"),
            });
        }
    }
    Ok(())
}

fn find(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let value =
        variable(name).filter(|value| !value.is_empty()).or_else(|| variable(&name.to_ascii_lowercase()))?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn ways(variables: &'static [(&str, &str)]) -> EgressRoutes {
        EgressRoutes::of(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy(routes: &EgressRoutes, uri: &str) -> Option<String> {
        routes.proxy_to(&uri.parse().unwrap()).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let routes =
            ways(&[("HTTPS_PROXY", "p.test:1"), ("http_proxy", "http://p.test:2"), ("no_proxy", "direct.test")]);
        assert_eq!(proxy(&routes, "https://r.test/v2/").as_deref(), Some("http://p.test:1/"));
        assert_eq!(proxy(&routes, "http://r.test/v2/").as_deref(), Some("http://p.test:2/"));
        assert_eq!(proxy(&routes, "https://direct.test/"), None);
    }

    #[test]
    fn what_is_configured_stands_above_the_environment() {
        assert_eq!(proxy(&EgressRoutes::new(Some(&Egress::Direct)), "https://r.test/"), None);
        let own = EgressRoutes::new(Some(&Egress::Proxy(Url::parse("http://own.test:3").unwrap())));
        for uri in ["https://r.test/", "http://127.0.0.1:5000/"] {
            assert_eq!(proxy(&own, uri).as_deref(), Some("http://own.test:3/"), "{uri}");
        }
    }

    #[test]
    fn a_client_of_a_cgi_server_names_no_proxy() {
        let routes = ways(&[("HTTP_PROXY", "http://evil.test"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(proxy(&routes, "http://r.test/"), None);
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_refused_without_its_value() {
        let check = |name: &'static str, value: &'static str| {
            check_variables(|asked| (asked == name).then(|| value.to_owned()))
        };
        for value in ["proxy.corp:3128", "http://me:secret@p:1", "socks5h://p", ""] {
            assert_eq!(check("HTTPS_PROXY", value), Ok(()), "{value}");
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            let error = check(name, "ftp://me:secret@p").unwrap_err();
            assert_eq!(error.place, name);
            assert!(error.what.contains("socks5://") && !error.what.contains("secret"), "{error}");
        }
    }
}
