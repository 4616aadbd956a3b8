//! What the box answers for an image: its name at this address, or why it has none. Pure.

use super::image::ImageName;
use crate::client_snippets::{MirroredRegistry, ProxyAddress};
use crate::name::RepositoryName;
use crate::route::naming::{Naming, ServedRegistry};

/// The registries that stand for all others where the page may not say which are served.
const EXAMPLES: [&str; 2] = ["docker.io", "ghcr.io"];
const DOCKER_HUB: &str = "docker.io";

/// Which registries the reader may be told of.
pub(super) enum Offer<'a> {
    /// These are served, and named in the path.
    Registries(Vec<ServedRegistry<'a>>),
    /// Which are served is not said; they are named in the path.
    Unsaid,
    /// The address means one registry, whose name may be told or not.
    Single(Option<&'a str>),
}

/// What becomes of an image that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PullAnswer {
    /// Nobody has asked.
    Unasked,
    /// The text is no image's name.
    NotAnImage,
    /// This name pulls it.
    Pull(String),
    /// The registry is not served here.
    NotServed(String),
    /// Only this registry is served here.
    OtherRegistry(String),
    /// A single registry is served here, whose name is not told: names must not say any.
    WithoutRegistry(String),
    /// The registry has a port, which no client accepts inside of a name.
    PortInside(String),
}

impl PullAnswer {
    /// The name that pulls the image.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Pull(name) => Some(name),
            Self::Unasked
            | Self::NotAnImage
            | Self::NotServed(_)
            | Self::OtherRegistry(_)
            | Self::WithoutRegistry(_)
            | Self::PortInside(_) => None,
        }
    }
}

impl<'a> Offer<'a> {
    /// Where clients must log in, nothing is said of the registries: a person who reads the page has not logged in.
    pub(super) fn of(naming: Naming<'a>, needs_login: bool) -> Self {
        match naming {
            Naming::ByRegistry(_) if needs_login => Self::Unsaid,
            Naming::ByRegistry(served) => Self::Registries(served),
            Naming::Single(_) if needs_login => Self::Single(None),
            Naming::Single(registry) => Self::Single(registry),
        }
    }

    /// Registries for configuration files. A registry whose segment cannot stand in an image's name is left out: most clients
    /// build such names from their files.
    pub(super) fn mirrored(&self) -> Vec<MirroredRegistry<'a>> {
        match self {
            Self::Registries(served) => {
                let known = served.iter().filter_map(ServedRegistry::mirrored);
                known.filter(MirroredRegistry::is_in_names).collect()
            }
            Self::Unsaid => {
                let example = |registry| MirroredRegistry {
                    registry,
                    segment: Some(registry),
                    is_default: false,
                    host: None,
                };
                EXAMPLES.into_iter().map(example).collect()
            }
            Self::Single(registry) => {
                let alone = |registry| MirroredRegistry { registry, segment: None, is_default: true, host: None };
                registry.map(alone).into_iter().collect()
            }
        }
    }

    /// Images to be shown as examples, as they are called at this address.
    pub(super) fn examples(&self, address: &ProxyAddress<'_>) -> Vec<String> {
        let example = |segment: Option<&str>, is_docker_hub| {
            let image = if is_docker_hub { "library/alpine:latest" } else { "owner/image:tag" };
            format!("{}/{image}", address.in_names(segment))
        };
        match self {
            Self::Registries(served) => {
                let named = served.iter().filter(|served| is_in_names(served.segment));
                named
                    .take(EXAMPLES.len())
                    .map(|served| example(Some(served.segment), served.registry == Some(DOCKER_HUB)))
                    .collect()
            }
            Self::Unsaid => {
                EXAMPLES.into_iter().map(|segment| example(Some(segment), segment == DOCKER_HUB)).collect()
            }
            Self::Single(registry) => vec![example(None, *registry == Some(DOCKER_HUB))],
        }
    }

    /// What becomes of the image.
    pub(super) fn answer(&self, image: &ImageName, address: &ProxyAddress<'_>) -> PullAnswer {
        let at = |segment: Option<&str>, repository: &RepositoryName| {
            PullAnswer::Pull(format!("{}/{repository}{}", address.in_names(segment), image.ending()))
        };
        let registry = image.registry.as_deref();
        let named = registry.unwrap_or(DOCKER_HUB);
        let below = |segment: &str| {
            if !is_in_names(segment) {
                return PullAnswer::PortInside(segment.to_owned());
            }
            let with_library = image.repository.clone().with_library().ok().filter(|_| named == DOCKER_HUB);
            at(Some(segment), with_library.as_ref().unwrap_or(&image.repository))
        };
        match self {
            Self::Registries(served) => {
                let mut all = served.iter();
                match all.find(|served| served.registry == Some(named) || served.segment == named) {
                    Some(served) => below(served.segment),
                    None => PullAnswer::NotServed(named.to_owned()),
                }
            }
            Self::Unsaid => below(named),
            Self::Single(known) => match (registry, *known) {
                (None, _) => at(None, &image.repository),
                (Some(registry), Some(known)) if registry == known => at(None, &image.repository),
                (Some(_), Some(known)) => PullAnswer::OtherRegistry(known.to_owned()),
                (Some(_), None) => PullAnswer::WithoutRegistry(format!("{}{}", image.repository, image.ending())),
            },
        }
    }
}

fn is_in_names(segment: &str) -> bool {
    RepositoryName::parse(segment).is_ok()
}

/// The commands that pull an image of this name, each with the program that it is for.
pub(super) fn commands(name: &str, address: &ProxyAddress<'_>) -> [(&'static str, String); 6] {
    let (podman, ctr) = if address.is_https { ("", "") } else { ("--tls-verify=false ", "--plain-http ") };
    [
        ("Docker", format!("docker pull {name}")),
        ("Podman", format!("podman pull {podman}{name}")),
        ("containerd", format!("ctr images pull {ctr}{name}")),
        ("skopeo", format!("skopeo inspect {podman}docker://{name}")),
        ("Dockerfile", format!("FROM {name}")),
        ("Kubernetes", format!("image: {name}")),
    ]
}
