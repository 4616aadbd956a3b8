//! The paths of the administration page.

use super::{EntryPoint, RequestTarget, Routes};

/// A part of the administration page.
#[derive(Debug, PartialEq, Eq)]
pub struct AdminTarget {
    /// Where its reader entered.
    pub entry: EntryPoint,
    /// What follows `/-/`.
    pub path: String,
}

impl Routes {
    /// What of the administration page a path means: `/-/…`, also behind the path secret, which must be there if there is
    /// one, and behind a registry. With `REGISTRY_BACKEND` such a path is the storage's, unless the page has an address
    /// of its own.
    pub fn admin_page(&self, request: RequestTarget<'_>, has_own_address: bool) -> Option<AdminTarget> {
        // Nearly all requests are for content, and end here.
        let is_content = request.path.starts_with("/v2/") || !request.path.contains("/-/");
        if is_content || (self.is_backend && !has_own_address) {
            return None;
        }
        let mut entry = EntryPoint { prefix: String::new(), upstream: self.by_host(request.host) };
        let mut rest = request.path.strip_prefix('/')?;
        match rest.split_once('/') {
            Some((first, behind)) if self.is_secret(first) => {
                (entry.prefix, rest) = (format!("/{first}"), behind);
            }
            Some(_) | None if self.has_secret() && !has_own_address => return None,
            Some(_) | None => {}
        }
        if let Some((first, behind)) = rest.split_once('/')
            && let (None, Some(upstream)) = (entry.upstream, self.by_name(first))
        {
            entry = EntryPoint { prefix: format!("{}/{first}", entry.prefix), upstream: Some(upstream) };
            rest = behind;
        }
        let path = rest.strip_prefix("-/")?.to_owned();
        Some(AdminTarget { entry, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn routes(text: &str) -> Routes {
        let read = |_: &str| Ok("what-is-in-secret".to_owned());
        Routes::new(&Config::load(&Sources { text: Some(text), variables: Vec::new(), read: &read }).unwrap())
    }

    /// Prefix and path of the page, by the main address and by the page's own.
    fn found(routes: &Routes, path: &str) -> [Option<(String, String)>; 2] {
        [false, true].map(|own| {
            let target = routes.admin_page(RequestTarget { host: "p.example", path, query: None }, own)?;
            Some((target.entry.prefix, target.path))
        })
    }

    #[test]
    fn the_page_is_below_its_own_segment_behind_secret_and_registry() {
        const OPEN: &str = "[[upstream]]\nname='ghcr.io'";
        let (open, guarded) = (routes(OPEN), routes(&format!("clients.path_secret_file='s'\n{OPEN}")));
        let at = |prefix: &str, path: &str| Some((prefix.to_owned(), path.to_owned()));
        for (routes, path, main, own) in [
            (&open, "/-/", at("", ""), at("", "")),
            (&open, "/-/images", at("", "images"), at("", "images")),
            (&open, "/ghcr.io/-/", at("/ghcr.io", ""), at("/ghcr.io", "")),
            (&open, "/-", None, None),
            (&open, "/", None, None),
            (&open, "/v2/-/", None, None),
            (&open, "/other.io/-/", None, None),
            (&guarded, "/-/", None, at("", "")),
            (&guarded, "/what-is-in-secret/-/", at("/what-is-in-secret", ""), at("/what-is-in-secret", "")),
            (
                &guarded,
                "/what-is-in-secret/ghcr.io/-/tags",
                at("/what-is-in-secret/ghcr.io", "tags"),
                at("/what-is-in-secret/ghcr.io", "tags"),
            ),
            (&guarded, "/wrong/-/", None, None),
        ] {
            assert_eq!(found(routes, path), [main, own], "{path}");
        }
    }
}
