//! Facts about public registries (U-01 … U-12), as data: the built-in catalogue, and profiles that are recognised by their
//! address.

/// A registry everybody uses.
pub struct KnownRegistry {
    /// Its name in references.
    pub name: &'static str,
    /// Other `ns` values that mean it (P-05).
    pub aliases: &'static [&'static str],
    /// Where its API is.
    pub url: &'static str,
    /// A small image that everybody may pull there, for `doctor`: repository and tag.
    pub small_image: Option<&'static str>,
}

/// The built-in catalogue: without a configuration the proxy connects to these registries only.
pub const CATALOGUE: [KnownRegistry; 12] = [
    // The API is not at docker.io itself, which redirects to a web site (U-01).
    KnownRegistry {
        name: "docker.io",
        aliases: &["registry-1.docker.io", "index.docker.io"],
        url: "https://registry-1.docker.io",
        small_image: Some("library/hello-world:latest"),
    },
    known("ghcr.io", "https://ghcr.io", Some("containerd/busybox:1.36")),
    known("quay.io", "https://quay.io", Some("prometheus/busybox:latest")),
    known("gcr.io", "https://gcr.io", Some("distroless/static:latest")),
    known("registry.k8s.io", "https://registry.k8s.io", Some("pause:3.9")),
    known("mcr.microsoft.com", "https://mcr.microsoft.com", Some("oss/kubernetes/pause:3.9")),
    known("public.ecr.aws", "https://public.ecr.aws", Some("docker/library/hello-world:latest")),
    known("nvcr.io", "https://nvcr.io", None),
    known("registry.gitlab.com", "https://registry.gitlab.com", None),
    known("docker.elastic.co", "https://docker.elastic.co", None),
    known("registry.rancher.com", "https://registry.rancher.com", None),
    known("cgr.dev", "https://cgr.dev", Some("chainguard/static:latest")),
];

const fn known(name: &'static str, url: &'static str, small_image: Option<&'static str>) -> KnownRegistry {
    KnownRegistry { name, aliases: &[], url, small_image }
}

/// The catalogue's entry of this name, if any.
pub fn find(name: &str) -> Option<&'static KnownRegistry> {
    CATALOGUE.iter().find(|known| known.name == name || known.aliases.contains(&name))
}

/// Whether a host is Docker Hub's API: single-segment names get `library/` there, and nowhere else (P-10).
pub fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "registry-1.docker.io" | "index.docker.io")
}

/// Token servers on another registrable domain than their registry: passwords may be sent there. All others are on the
/// registry's host or domain, or named by `realms`.
const REALMS_ELSEWHERE: [(&str, &str); 1] = [
    // After a token expires, nvcr.io challenges with another realm (U-10).
    ("nvcr.io", "authn.nvidia.com"),
];

/// Whether the registry at `host` is known to have its tokens issued by `realm_host`.
pub fn is_known_realm(host: &str, realm_host: &str) -> bool {
    REALMS_ELSEWHERE.contains(&(host, realm_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_its_other_names() {
        for name in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
            assert_eq!(find(name).unwrap().name, "docker.io");
            assert!(is_docker_hub(name));
        }
        assert!(find("evil.example").is_none());
    }

    #[test]
    fn every_address_is_https() {
        for known in &CATALOGUE {
            let url = url::Url::parse(known.url).unwrap();
            assert_eq!((url.scheme(), url.path()), ("https", "/"), "{}", known.name);
        }
    }
}
