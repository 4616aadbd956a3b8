//! How the images of our upstreams are called at an address of ours: what people are told who set a client up. It follows
//! the rules by which [`Routes`] reads paths.

use super::{EntryPoint, Names, Routes, looks_like_host};
use crate::catalogue;
use crate::client_snippets::MirroredRegistry;

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
    /// A host of ours that means this registry alone.
    pub(crate) host: Option<&'a str>,
}

impl<'a> ServedRegistry<'a> {
    /// The same for the files of clients, unless images do not call it by a name that we know.
    pub(crate) fn mirrored(&self) -> Option<MirroredRegistry<'a>> {
        let Self { segment, registry, is_default, host } = *self;
        registry.map(|registry| MirroredRegistry { registry, segment: Some(segment), is_default, host })
    }
}

/// Which registries a client is to ask us for.
#[derive(Debug, PartialEq, Eq)]
pub enum Mirrors<'a> {
    /// Every one that we serve.
    Every {
        /// Those that clients can be told of.
        registries: Vec<MirroredRegistry<'a>>,
        /// The upstreams that are left out: images do not call their registry by a name that we know, or that name has a port,
        /// which no client accepts inside of a name.
        left_out: Vec<&'a str>,
    },
    /// These.
    These(Vec<MirroredRegistry<'a>>),
}

/// Why a client cannot be told which registry to ask us for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorsError {
    /// The address means one registry, and we do not know what images call it.
    #[error("this address serves one registry, and what images call it is not known")]
    Unnamed,
    /// The address means one registry, and it is another one.
    #[error("this address serves {served} and no other registry")]
    OtherRegistry {
        /// Which one it means.
        served: String,
    },
    /// It is the name of an upstream, and no registry's.
    #[error("{0} is the name of an upstream, which images do not have in their names")]
    NotInNames(String),
}

impl<'a> Mirrors<'a> {
    /// Those that a client can be told of.
    pub fn registries(&self) -> &[MirroredRegistry<'a>] {
        match self {
            Self::Every { registries, .. } | Self::These(registries) => registries,
        }
    }
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
            host: names.hosts.first().map(String::as_str),
        });
        Naming::ByRegistry(served.collect())
    }

    /// Which registries a client is to ask us for that reaches us at `host`: those `asked` for by the names that images have,
    /// or all that we serve there. A name that the configuration does not know may be served by another proxy's.
    pub fn mirrors<'a>(&'a self, host: &str, asked: &'a [String]) -> Result<Mirrors<'a>, MirrorsError> {
        let entry = EntryPoint { prefix: String::new(), upstream: self.by_host(host) };
        match (self.naming(&entry), asked) {
            (Naming::Single(None), []) => Err(MirrorsError::Unnamed),
            (Naming::Single(Some(registry)), []) => Ok(Mirrors::These(vec![alone(registry)])),
            (Naming::Single(known), asked) => {
                let of_asked = |name: &'a String| match known {
                    Some(served) if catalogue_name(name) != served => {
                        Err(MirrorsError::OtherRegistry { served: served.to_owned() })
                    }
                    Some(served) => Ok(alone(served)),
                    None => Ok(alone(catalogue_name(name))),
                };
                Ok(Mirrors::These(asked.iter().map(of_asked).collect::<Result<_, _>>()?))
            }
            (Naming::ByRegistry(served), []) => {
                let mirrored =
                    |served: &ServedRegistry<'a>| served.mirrored().filter(MirroredRegistry::is_in_names);
                let registries = served.iter().filter_map(mirrored).collect();
                let left_out = served.iter().filter(|served| mirrored(served).is_none());
                Ok(Mirrors::Every { registries, left_out: left_out.map(|served| served.segment).collect() })
            }
            (Naming::ByRegistry(served), asked) => {
                let of_asked = |name: &'a String| self.mirrored(&served, catalogue_name(name));
                Ok(Mirrors::These(asked.iter().map(of_asked).collect::<Result<_, _>>()?))
            }
        }
    }

    /// One of those that we serve, by the name that images have or by its upstream's.
    fn mirrored<'a>(
        &self,
        served: &[ServedRegistry<'a>],
        name: &'a str,
    ) -> Result<MirroredRegistry<'a>, MirrorsError> {
        let by_name = served.iter().find(|served| served.registry == Some(name) || served.segment == name);
        let by_address = || {
            let upstream = self.upstreams.iter().find(|names| names.aliases.iter().any(|alias| alias == name))?;
            served.iter().find(|served| served.segment == upstream.name)
        };
        match by_name {
            Some(served) => served.mirrored().ok_or_else(|| MirrorsError::NotInNames(name.to_owned())),
            None => Ok(match by_address() {
                Some(&ServedRegistry { segment, is_default, host, .. }) => {
                    MirroredRegistry { registry: name, segment: Some(segment), is_default, host }
                }
                None => MirroredRegistry { registry: name, segment: Some(name), is_default: false, host: None },
            }),
        }
    }
}

/// A registry that the host alone means.
fn alone(registry: &str) -> MirroredRegistry<'_> {
    MirroredRegistry { registry, segment: None, is_default: true, host: None }
}

/// The usual name of a registry.
fn catalogue_name(name: &str) -> &str {
    catalogue::find(name).map_or(name, |known| known.name)
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
        let served = |segment, registry, is_default, host| ServedRegistry { segment, registry, is_default, host };
        assert_eq!(
            at(&ours, "p.example"),
            Naming::ByRegistry(vec![
                served("hub", Some("docker.io"), true, None),
                served("ghcr.io", Some("ghcr.io"), false, Some("g.p.example")),
                served("mine", None, false, Some("m.p.example")),
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

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_client_asks_for_registries_by_the_names_that_images_have() {
        let ours = routes(
            "[[upstream]]\nname='hub'\nurls=['https://registry-1.docker.io']\n\
             [[upstream]]\nname='ghcr.io'\nhosts=['g.p.example']\n\
             [[upstream]]\nname='mine'\nurls=['https://r.corp.example:5000']\ndefault=true",
            &[],
        );
        let mirrored = |registry, segment, is_default, host| MirroredRegistry {
            registry,
            segment: Some(segment),
            is_default,
            host,
        };
        let hub = mirrored("docker.io", "hub", false, None);
        let github = mirrored("ghcr.io", "ghcr.io", false, Some("g.p.example"));
        assert_eq!(
            ours.mirrors("p.example", &[]),
            Ok(Mirrors::Every { registries: vec![hub, github], left_out: vec!["mine"] })
        );
        for (asked, expected) in [
            ("docker.io", hub),
            ("index.docker.io", hub),
            ("hub", hub),
            ("ghcr.io", github),
            ("r.corp.example:5000", mirrored("r.corp.example:5000", "mine", true, None)),
            ("quay.io", mirrored("quay.io", "quay.io", false, None)),
        ] {
            let asked = names(&[asked]);
            assert_eq!(ours.mirrors("p.example:8443", &asked), Ok(Mirrors::These(vec![expected])), "{asked:?}");
        }
        assert_eq!(ours.mirrors("p.example", &names(&["mine"])), Err(MirrorsError::NotInNames("mine".to_owned())));
    }

    #[test]
    fn a_host_that_means_one_registry_has_no_other() {
        let ours =
            routes("[[upstream]]\nname='ghcr.io'\nhosts=['g.p.example']\n[[upstream]]\nname='docker.io'", &[]);
        let github = MirroredRegistry { registry: "ghcr.io", segment: None, is_default: true, host: None };
        for asked in [&[][..], &["ghcr.io"]] {
            let asked = names(asked);
            assert_eq!(ours.mirrors("g.p.example", &asked), Ok(Mirrors::These(vec![github])));
        }
        let other = MirrorsError::OtherRegistry { served: "ghcr.io".to_owned() };
        assert_eq!(ours.mirrors("g.p.example", &names(&["docker.io"])), Err(other));
        let behind = routes("", &[("REGISTRY_BACKEND", "https://far.example")]);
        assert_eq!(behind.mirrors("p.example", &[]), Err(MirrorsError::Unnamed));
        let asked = names(&["far.example"]);
        let far = MirroredRegistry { registry: "far.example", ..github };
        assert_eq!(behind.mirrors("p.example", &asked), Ok(Mirrors::These(vec![far])));
    }
}
