//! How the images of our upstreams are called at an address of ours: what people are told who set a client up. It follows
//! the rules by which [`Routes`] reads paths.

use super::{EntryPoint, Names, Routes, looks_like_host};
use crate::catalogue;

/// How images are called at an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Naming<'a> {
    /// With their registry, which is one of these.
    ByRegistry(Vec<ServedRegistry<'a>>),
    /// Without a registry: the address means this one. `None`: people do not know it by a name that they may be told.
    Single(Option<&'a str>),
}

/// A registry that is served at an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServedRegistry<'a> {
    /// Its segment of the path.
    pub(crate) segment: &'a str,
    /// The registry in the names of images, where the segment or the registry itself says it.
    pub(crate) registry: Option<&'a str>,
    /// Names without a registry mean this one.
    pub(crate) is_default: bool,
}

impl Routes {
    /// How images are called for clients that enter here.
    pub(crate) fn naming(&self, entry: &EntryPoint) -> Naming<'_> {
        if self.is_backend {
            // The upstream's name is its address, which is told only where everybody knows it.
            let name = self.default.and_then(|upstream| self.upstreams.get(upstream)).map(|names| &names.name);
            return Naming::Single(name.and_then(|name| catalogue::find(name)).map(|known| known.name));
        }
        if let Some(names) = entry.upstream.and_then(|upstream| self.upstreams.get(upstream)) {
            return Naming::Single(names.registry());
        }
        let served = self.upstreams.iter().enumerate().map(|(index, names)| ServedRegistry {
            segment: &names.name,
            registry: names.registry(),
            is_default: self.default == Some(index),
        });
        Naming::ByRegistry(served.collect())
    }
}

impl Names {
    /// The registry as it stands in the names of images.
    fn registry(&self) -> Option<&str> {
        match &self.name {
            _ if self.is_docker_hub => Some("docker.io"),
            name if looks_like_host(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn routes(text: &str, variables: &[(&str, &str)]) -> Routes {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { text: Some(text), variables, read: &|path| Ok(path.to_owned()) };
        Routes::new(&Config::load(&sources).unwrap())
    }

    fn at<'a>(routes: &'a Routes, host: &str) -> Naming<'a> {
        routes.naming(&EntryPoint { prefix: String::new(), upstream: routes.by_host(host) })
    }

    #[test]
    fn registries_are_called_as_images_call_them_and_named_as_paths_name_them() {
        let ours = routes(
            "[[upstream]]\nname='hub'\nurls=['https://registry-1.docker.io']\ndefault=true\n\
             [[upstream]]\nname='ghcr.io'\nhosts=['g.p.example']\n\
             [[upstream]]\nname='mine'\nurls=['https://r.corp.example']\nhosts=['m.p.example']",
            &[],
        );
        let served = |segment, registry, is_default| ServedRegistry { segment, registry, is_default };
        assert_eq!(
            at(&ours, "p.example"),
            Naming::ByRegistry(vec![
                served("hub", Some("docker.io"), true),
                served("ghcr.io", Some("ghcr.io"), false),
                served("mine", None, false),
            ])
        );
        assert_eq!(at(&ours, "g.p.example:8443"), Naming::Single(Some("ghcr.io")));
        assert_eq!(at(&ours, "m.p.example"), Naming::Single(None));
    }

    #[test]
    fn the_address_behind_a_backend_is_told_only_where_everybody_knows_it() {
        for (backend, expected) in [
            ("https://registry-1.docker.io", Some("docker.io")),
            ("https://ghcr.io", Some("ghcr.io")),
            ("https://far.example", None),
            ("https://registry.corp.internal:5000", None),
        ] {
            let routes = routes("", &[("REGISTRY_BACKEND", backend)]);
            assert_eq!(at(&routes, "p.example"), Naming::Single(expected), "{backend}");
        }
    }
}
