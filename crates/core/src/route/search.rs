//! The path of searches: `/v1/search`, where `page.search` passes them to Docker Hub.

use super::{EntryPoint, Route, Routes};
use crate::error::Error;

impl Routes {
    /// A search by a client that entered here. At the host of another registry there is none.
    pub(super) fn search(&self, entry: EntryPoint) -> Result<Route, Error> {
        let hub = self.searched.filter(|hub| entry.upstream.is_none_or(|upstream| upstream == *hub));
        match hub {
            Some(upstream) => Ok(Route::Search { entry, upstream }),
            None if self.is_backend && !self.has_secret() => Ok(Route::Storage),
            None => Err(Error::NoSuchEndpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequestTarget;
    use super::*;
    use crate::config::{Config, Sources};

    /// The prefix before a search, where there is one.
    fn found(text: &str, host: &str, path: &str) -> Option<String> {
        let read = |_: &str| Ok("what-is-in-secret".to_owned());
        let config = Config::load(&Sources { text: Some(text), variables: Vec::new(), read: &read }).unwrap();
        match Routes::new(&config).route(RequestTarget { host, path, query: Some("q=x") }) {
            Ok(Route::Search { entry, upstream }) => {
                assert_eq!(config.upstream[upstream].name, "docker.io");
                Some(entry.prefix)
            }
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn a_search_is_for_docker_hub_where_it_is_on_and_behind_the_path_secret() {
        const SEARCH: &str = "page.search=true\n[[upstream]]\nname='ghcr.io'\nhosts=['g.example']\n[[upstream]]\nname='docker.io'\nhosts=['d.example']";
        let guarded = format!("clients.path_secret_file='s'\n{SEARCH}");
        let off = SEARCH.replace("true", "false");
        let here = |prefix: &str| Some(prefix.to_owned());
        for (text, host, path, expected) in [
            (SEARCH, "p.example", "/v1/search", here("")),
            (SEARCH, "d.example", "/v1/search", here("")),
            (SEARCH, "g.example", "/v1/search", None),
            (SEARCH, "p.example", "/v1/search/", None),
            (SEARCH, "p.example", "/v1/_ping", None),
            (SEARCH, "p.example", "/v1/repositories/x", None),
            (SEARCH, "p.example", "/ghcr.io/v1/search", None),
            (&guarded, "p.example", "/v1/search", None),
            (&guarded, "p.example", "/what-is-in-secret/v1/search", here("/what-is-in-secret")),
            (&guarded, "p.example", "/wrong/v1/search", None),
            (&off, "p.example", "/v1/search", None),
            ("page.search=true", "p.example", "/v1/search", here("")),
        ] {
            assert_eq!(found(text, host, path), expected, "{host}{path}");
        }
    }
}
