use proptest::prelude::*;

use super::*;
use crate::config::Sources;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn routes(text: &str, variables: &[(&str, &str)]) -> Routes {
    let config = Config::load(&Sources {
        text: Some(text),
        variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        read: &|path| Ok(path.to_owned()),
    });
    Routes::new(&config.unwrap())
}

/// The catalogue, Docker Hub on a virtual host of its own, and a registry with a port.
fn ours() -> Routes {
    routes(
        "catalogue = true\n\
         [[upstream]]\nname='docker.io'\ndefault=true\nhosts=['hub.proxy.example.com']\n\
         [[upstream]]\nname='myregistry.io:5000'\nurls=['https://myregistry.io:5000']\n",
        &[],
    )
}

/// `upstream|name|client name|endpoint`, or the error.
fn show(routes: &Routes, host: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    match routes.route(RequestTarget { host, path, query }) {
        Ok(Route::Repository(target)) => format!(
            "{}|{}|{}|{}",
            routes.upstreams[target.upstream].name,
            target.name,
            target.client_path,
            match &target.endpoint {
                Endpoint::Manifest(reference) => format!("manifest {}", reference.as_str()),
                Endpoint::Blob(_) => "blob".to_owned(),
                Endpoint::Uploads => "uploads".to_owned(),
                Endpoint::Upload => "upload".to_owned(),
                Endpoint::Tags => "tags".to_owned(),
                Endpoint::Referrers(_) => "referrers".to_owned(),
            }
        ),
        Ok(Route::Ping(entry)) => format!("ping {}", entry.prefix),
        Ok(Route::Token(entry)) => format!("token {}", entry.prefix),
        Ok(Route::Front(entry)) => format!("front {}", entry.prefix),
        Ok(Route::Search { entry, .. }) => format!("search {}", entry.prefix),
        Ok(Route::StorageRoot(_)) => "front or storage".to_owned(),
        Ok(other @ (Route::Catalog | Route::Storage)) => format!("{other:?}"),
        Err(error) => error.to_response("").status().as_u16().to_string(),
    }
}

#[test]
fn one_registry_can_be_named_in_many_ways() {
    let ours = ours();
    let proxy = "proxy.example.com";
    for (host, target, expected) in [
        // P-02: after v2.
        (proxy, "/v2/ghcr.io/o/i/manifests/x", "ghcr.io|o/i|/v2/ghcr.io/o/i|manifest x"),
        // P-03: before v2. P-13: without v2 at all.
        (proxy, "/ghcr.io/v2/o/i/manifests/x", "ghcr.io|o/i|/ghcr.io/v2/o/i|manifest x"),
        (proxy, "/ghcr.io/o/i/manifests/x", "ghcr.io|o/i|/ghcr.io/o/i|manifest x"),
        (proxy, "/ghcr.io/v2/", "ping /ghcr.io"),
        (proxy, "/ghcr.io/v2", "ping /ghcr.io"),
        (proxy, "/ghcr.io/token", "token /ghcr.io"),
        // ns.
        (proxy, "/v2/o/i/manifests/x?ns=ghcr.io", "ghcr.io|o/i|/v2/o/i|manifest x"),
        (proxy, "/v2/o/i/manifests/x?ns=GHCR.io", "ghcr.io|o/i|/v2/o/i|manifest x"),
        (proxy, "/v2/o/i/tags/list?ns=myregistry.io%3A5000", "myregistry.io:5000|o/i|/v2/o/i|tags"),
        // P-04: both at once.
        (proxy, "/v2/ghcr.io/o/i/manifests/x?ns=ghcr.io", "ghcr.io|o/i|/v2/ghcr.io/o/i|manifest x"),
        (proxy, "/v2/ghcr.io/o/i/manifests/x?ns=quay.io", "400"),
        // P-05: the other names of Docker Hub.
        (proxy, "/v2/a/b/manifests/x?ns=registry-1.docker.io", "docker.io|a/b|/v2/a/b|manifest x"),
        (proxy, "/v2/a/b/manifests/x?ns=index.docker.io", "docker.io|a/b|/v2/a/b|manifest x"),
        // P-06: nothing else is ever dialled.
        (proxy, "/v2/o/i/manifests/x?ns=evil.example", "404"),
        (proxy, "/v2/o/i/manifests/x?ns=169.254.169.254", "404"),
        (proxy, "/v2/evil.example/o/i/manifests/x", "404"),
        (proxy, "/v2/localhost/o/i/manifests/x", "404"),
        (proxy, "/v2/127.0.0.1:22/o/i/manifests/x", "404"),
        // P-10: library/ for Docker Hub's single segments, however it is named.
        (proxy, "/v2/busybox/manifests/x", "docker.io|library/busybox|/v2/busybox|manifest x"),
        (proxy, "/v2/docker.io/busybox/manifests/x", "docker.io|library/busybox|/v2/docker.io/busybox|manifest x"),
        (proxy, "/v2/library/busybox/manifests/x", "docker.io|library/busybox|/v2/library/busybox|manifest x"),
        (proxy, "/v2/gcr.io/pause/manifests/x", "gcr.io|pause|/v2/gcr.io/pause|manifest x"),
        ("hub.proxy.example.com", "/v2/busybox/manifests/x", "docker.io|library/busybox|/v2/busybox|manifest x"),
        // P-12: on a virtual host a first segment is never a host.
        ("hub.proxy.example.com:443", "/v2/ghcr.io/i/manifests/x", "docker.io|ghcr.io/i|/v2/ghcr.io/i|manifest x"),
        ("HUB.proxy.example.com", "/v2/a/b/manifests/x?ns=docker.io", "docker.io|a/b|/v2/a/b|manifest x"),
        ("hub.proxy.example.com", "/v2/a/b/manifests/x?ns=ghcr.io", "400"),
        // P-11: from the right.
        (proxy, "/v2/a/manifests/b/manifests/x", "docker.io|a/manifests/b|/v2/a/manifests/b|manifest x"),
        (proxy, "/v2/a/blobs/uploads/", "docker.io|library/a|/v2/a|uploads"),
        (proxy, "/v2/a/b/blobs/uploads/1234?_s=x", "docker.io|a/b|/v2/a/b|upload"),
        (proxy, "/v2/", "ping "),
        (proxy, "/v2", "ping "),
        (proxy, "/token", "token "),
        (proxy, "/v2/_catalog", "Catalog"),
        (proxy, "/", "front "),
        // Nothing else is there.
        (proxy, "/v1/", "404"),
        (proxy, "/v2/x", "404"),
        (proxy, "/v2//manifests/x", "400"),
        (proxy, "/v2/a/../b/manifests/x", "400"),
        (proxy, "/v2/A/b/manifests/x", "400"),
        (proxy, "/v2/a%2Fb/manifests/x", "400"),
        (proxy, "/v2/a/b/manifests/.x", "400"),
        (proxy, "/v2/a/b/blobs/sha256:123", "400"),
        (proxy, "/v2/a/b/tags/", "404"),
        (proxy, "/ghcr.io", "404"),
        (proxy, "/ghcr.io/index.html", "404"),
    ] {
        assert_eq!(show(&ours, host, target), expected, "{host}{target}");
    }
}

#[test]
fn a_percent_coded_digest_is_understood() {
    let target = format!("/v2/a/b/blobs/sha256%3A{HEX}");
    assert_eq!(show(&ours(), "h", &target), "docker.io|a/b|/v2/a/b|blob");
}

#[test]
fn only_ns_that_chose_the_upstream_is_echoed() {
    let ours = ours();
    let namespace = |path, query| match ours.route(RequestTarget { host: "h", path, query: Some(query) }) {
        Ok(Route::Repository(target)) => target.namespace.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(namespace("/v2/o/i/tags/list", "ns=ghcr.io").as_deref(), Some("ghcr.io"));
    assert_eq!(namespace("/v2/ghcr.io/o/i/tags/list", "ns=ghcr.io"), None);
}

#[test]
fn with_a_backend_names_are_never_hosts_and_other_paths_are_storage() {
    let backend = routes("", &[("REGISTRY_BACKEND", "https://far.example/sub")]);
    for (target, expected) in [
        ("/v2/ghcr.io/o/i/manifests/x", "far.example|ghcr.io/o/i|/v2/ghcr.io/o/i|manifest x"),
        ("/v2/busybox/manifests/x?ns=docker.io", "far.example|busybox|/v2/busybox|manifest x"),
        ("/far.example/v2/a/manifests/x", "Storage"),
        ("/registry-v2/docker/registry/v2/blobs/sha256/ab/data?verify=1", "Storage"),
        ("/", "front or storage"),
        ("//", "Storage"),
        ("/index.html", "Storage"),
        ("/token", "token "),
        ("/v2/", "ping "),
    ] {
        assert_eq!(show(&backend, "h", target), expected, "{target}");
    }
    let hub = routes("", &[("REGISTRY_BACKEND", "https://registry-1.docker.io")]);
    assert_eq!(show(&hub, "h", "/v2/busybox/tags/list"), "registry-1.docker.io|library/busybox|/v2/busybox|tags");
}

#[test]
fn without_the_path_secret_only_the_ping_answers() {
    let guarded =
        routes("[clients]\npath_secret_file='s3cret-path-0123'\n[[upstream]]\nname='ghcr.io'\ndefault=true", &[]);
    for (target, expected) in [
        ("/v2/", "ping "),
        ("/token", "token "),
        ("/", "front "),
        ("/s3cret-path-0123/", "front /s3cret-path-0123"),
        ("/s3cret-path-0123", "front /s3cret-path-0123"),
        ("/s3cret-path-0124/", "404"),
        ("/s3cret-path-0124", "404"),
        ("/s3cret-path-0123/s3cret-path-0123/", "404"),
        ("/s3cret-path-0123/v2/", "ping /s3cret-path-0123"),
        ("/s3cret-path-0123/token", "token /s3cret-path-0123"),
        ("/v2/s3cret-path-0123/o/i/manifests/x", "ghcr.io|o/i|/v2/s3cret-path-0123/o/i|manifest x"),
        ("/s3cret-path-0123/v2/o/i/manifests/x", "ghcr.io|o/i|/s3cret-path-0123/v2/o/i|manifest x"),
        ("/v2/s3cret-path-0123/ghcr.io/o/i/tags/list", "ghcr.io|o/i|/v2/s3cret-path-0123/ghcr.io/o/i|tags"),
        ("/s3cret-path-0123/ghcr.io/v2/o/i/tags/list", "ghcr.io|o/i|/s3cret-path-0123/ghcr.io/v2/o/i|tags"),
        ("/s3cret-path-0123/ghcr.io/o/i/tags/list", "ghcr.io|o/i|/s3cret-path-0123/ghcr.io/o/i|tags"),
        ("/ghcr.io/s3cret-path-0123/o/i/tags/list", "ghcr.io|o/i|/ghcr.io/s3cret-path-0123/o/i|tags"),
        (
            "/s3cret-path-0123/ghcr.io/s3cret-path-0123/o/i/tags/list",
            "ghcr.io|o/i|/s3cret-path-0123/ghcr.io/s3cret-path-0123/o/i|tags",
        ),
        ("/v2/s3cret-path-0123/s3cret-path-0123/i/tags/list", "404"),
        ("/v2/s3cret-path-0123/ghcr.io/o/s3cret-path-0123/tags/list", "404"),
        ("/s3cret-path-0123/ghcr.io/v2/s3cret-path-0123/s3cret-path-0123/i/tags/list", "404"),
        ("/v2/o/i/manifests/x", "404"),
        ("/v2/s3cret-path-0124/o/i/manifests/x", "404"),
        ("/ghcr.io/v2/o/i/manifests/x", "404"),
        ("/ghcr.io/o/i/manifests/x", "404"),
        ("/v2/_catalog", "404"),
    ] {
        assert_eq!(show(&guarded, "h", target), expected, "{target}");
    }
}

#[test]
fn scopes_are_read_as_paths_are() {
    let ours = ours();
    let entry = EntryPoint { prefix: String::new(), upstream: None };
    let scope = |name: &str| {
        ours.identify_scope(&entry, name)
            .map(|(upstream, name)| format!("{}|{name}", ours.upstreams[upstream].name))
    };
    assert_eq!(scope("ghcr.io/o/i").as_deref(), Some("ghcr.io|o/i"));
    assert_eq!(scope("busybox").as_deref(), Some("docker.io|library/busybox"));
    assert_eq!(scope("evil.example/o/i"), None);
    assert_eq!(scope("BAD"), None);
}

proptest! {
    #[test]
    fn any_path_is_read_without_panic(host in "[ -~]{0,20}", path in "/[ -~]{0,80}", query in "[ -~]{0,40}") {
        let _ = ours().route(RequestTarget { host: &host, path: &path, query: Some(&query) });
    }

    #[test]
    fn what_is_routed_has_a_legal_name_and_the_clients_own_path(
        segments in proptest::collection::vec("[a-z0-9.:_-]{1,8}|v2|manifests|blobs|tags|ghcr.io", 1..8)
    ) {
        let path = format!("/{}/manifests/latest", segments.join("/"));
        if let Ok(Route::Repository(target)) = ours().route(RequestTarget { host: "h", path: &path, query: None }) {
            prop_assert!(RepositoryName::parse(target.name.as_str()).is_ok());
            prop_assert_eq!(format!("{}/manifests/latest", target.client_path), path);
        }
    }
}
