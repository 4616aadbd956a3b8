//! The page at `/` for people, as browsers get it.

mod limits;

use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use registry_proxy_core::testing::Registry;
use sha2::{Digest as _, Sha256};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, ORIGIN, STORAGE, Seen, Setup, manifest_of, upstream};

/// What Firefox and Chromium send.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const SECRET: &str = "/what-is-in-secret";
const GUARDED: &str = "[clients]\npath_secret_file='secret'";
const USERS: &str = "[clients]\nauth='users'\nusers_file='u'";

fn page(lab: &Fixture, path: &str) -> Call {
    lab.get(path).header("accept", BROWSER)
}

fn is_page(seen: &Seen) -> bool {
    seen.status == 200 && seen.header("content-type") == "text/html; charset=utf-8"
}

/// The text of the page, with its entities resolved.
fn text(seen: &Seen) -> String {
    let html = String::from_utf8(seen.body.to_vec()).expect("UTF-8");
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
        .into_iter()
        .fold(html, |html, (entity, letter)| html.replace(entity, letter))
}

/// What stands in the boxes with lines to copy.
fn boxes(seen: &Seen) -> Vec<String> {
    let html = text(seen);
    let after = html.split("<pre><code>").skip(1);
    after.map(|rest| rest.split("</code>").next().expect("a first part").to_owned()).collect()
}

/// The lines of all boxes that begin with this, without it.
fn lines(seen: &Seen, beginning: &str) -> Vec<String> {
    let all = boxes(seen);
    let lines = all.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| line.trim().strip_prefix(beginning)).map(str::to_owned).collect()
}

/// `proxy.example/a/b:v1` as the request of a client.
fn request_of(name: &str) -> String {
    let (_, path) = name.split_once('/').expect("a host");
    let (name, reference) = path.split_once('@').or_else(|| path.rsplit_once(':')).expect("a reference");
    format!("/v2/{name}/manifests/{reference}")
}

/// Docker Hub by default and two others, of which one has a host of its own.
fn three(rest: &str) -> Fixture {
    let upstreams = "[[upstream]]\nname='docker.io'\nurls=['https://hub.test']\ndefault=true\n\
                     [[upstream]]\nname='ghcr.io'\nurls=['https://g.test']\nhosts=['g.example']\n\
                     [[upstream]]\nname='reg.test:5000'\nurls=['https://r.test']\n";
    let lab = Fixture::new(&format!("{rest}\n{upstreams}"));
    for (address, repository) in [
        ("https://hub.test", "library/alpine"),
        ("https://g.test", "owner/image"),
        ("https://r.test", "owner/image"),
    ] {
        let registry = Registry::default();
        for tag in ["latest", "tag", "v1"] {
            registry.put_manifest(repository, tag, OCI_MANIFEST, manifest_of(10));
        }
        lab.net.serve(address, registry);
    }
    lab
}

#[tokio::test(start_paused = true)]
async fn a_browser_gets_the_page_and_a_program_the_text_it_always_got() {
    let lab = three("");
    let seen = page(&lab, "/").await;
    assert!(is_page(&seen), "{seen:?}");
    assert_eq!(seen.header("x-registry-proxy"), "answered; why=\"front page\"");
    for accept in ["*/*", "text/plain, text/html", "application/json", "text/html;q=0"] {
        let seen = lab.get("/").header("accept", accept).await;
        assert_eq!(seen.header("content-type"), "text/plain; charset=utf-8", "{accept}");
        assert!(seen.body.starts_with(b"registry-proxy: a proxy for container registries."), "{accept}");
    }
    assert_eq!(lab.get("/").await.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(lab.post("/").header("accept", BROWSER).await.status, 405);
    assert!(!is_page(&page(&lab, "/index.html").await));
    let off = three("[page]\npublic=false");
    assert!(!is_page(&page(&off, "/").await));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_the_headers_of_the_page() {
    let lab = three("");
    let (head, get) = (lab.head("/").header("accept", BROWSER).await, page(&lab, "/").await);
    assert!(is_page(&head) && head.body.is_empty());
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert_eq!(head.header("content-security-policy"), get.header("content-security-policy"));
}

#[tokio::test(start_paused = true)]
async fn the_language_is_the_readers_until_another_is_chosen() {
    let lab = three("");
    for (path, accepted, expected) in [
        ("/", "", "en"),
        ("/", "zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("/", "de,en;q=0.5,zh;q=0.4", "en"),
        ("/?lang=zh", "en", "zh-CN"),
        ("/?lang=en", "zh", "en"),
        ("/?lang=xx", "zh", "zh-CN"),
        ("/?lang=%3Cb%3E", "", "en"),
    ] {
        let seen = page(&lab, path).header("accept-language", accepted).await;
        let html = text(&seen);
        assert_eq!(seen.header("content-language"), expected, "{path} {accepted}");
        assert!(html.contains(&format!("<html lang=\"{expected}\">")), "{path} {accepted}");
        assert_eq!(html.contains("配置客户端"), expected == "zh-CN", "{path} {accepted}");
        assert_eq!(html.contains("Set up your client"), expected == "en", "{path} {accepted}");
    }
    let seen = page(&lab, "/?lang=zh&image=ghcr.io/owner/image&client=podman").await;
    let other = "?lang=en&image=ghcr.io%2Fowner%2Fimage%3Alatest&client=podman";
    assert!(
        text(&seen).contains(&format!("href=\"{other}\"")),
        "the switch keeps what was asked: {}",
        text(&seen)
    );
}

#[tokio::test(start_paused = true)]
async fn the_lines_have_the_address_by_which_the_reader_came() {
    const PEER: &str = "10.0.0.9";
    for (config, headers, expected) in [
        ("", &[("host", "p.example")][..], "https://p.example"),
        ("", &[("host", "P.Example:8443")], "https://p.example:8443"),
        ("public_url='https://public.example'", &[("host", "inner:3000")], "https://public.example"),
        (
            "trusted_proxies=['10.0.0.0/8']",
            &[("host", "inner:3000"), ("x-forwarded-host", "outer.example"), ("x-forwarded-proto", "http")],
            "http://outer.example",
        ),
        (
            "trusted_proxies=['192.0.2.0/24']",
            &[("host", "inner:3000"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http")],
            "https://inner:3000",
        ),
        ("", &[("host", "a\"><script>alert(1)</script>")], "https://localhost"),
        ("", &[("host", "a b")], "https://localhost"),
        (
            "trusted_proxies=['10.0.0.0/8']",
            &[("host", "inner:3000"), ("x-forwarded-host", "<b>evil</b>")],
            "https://localhost",
        ),
    ] {
        let lab = three(config);
        let call = headers.iter().fold(page(&lab, "/").from(PEER), |call, (name, value)| call.header(name, value));
        let seen = call.await;
        let (_, host) = expected.split_once("://").unwrap();
        assert!(
            lines(&seen, "docker pull ").contains(&format!("{host}/docker.io/library/alpine:latest")),
            "{expected}"
        );
        assert!(lines(&seen, "\"registry-mirrors\": ").iter().all(|line| line.contains(expected)), "{expected}");
        assert!(!text(&seen).contains("evil") && !text(&seen).contains("alert(1)"), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_allowed_in_the_lines_where_clients_need_to_be_told() {
    let lab = three("");
    for (host, is_told) in [("192.0.2.7:3000", true), ("127.0.0.1:3000", false), ("localhost:3000", false)] {
        let seen = page(&lab, "/").header("host", host).in_the_clear().await;
        assert_eq!(text(&seen).contains("insecure-registries"), is_told, "{host}");
        assert!(lines(&seen, "podman pull ").iter().all(|line| line.starts_with("--tls-verify=false ")));
    }
    let seen = page(&lab, "/").header("host", "192.0.2.7:3000").await;
    assert!(!text(&seen).contains("insecure") && !text(&seen).contains("tls-verify"));
}

/// Every address in the lines is asked as its client would ask it.
#[tokio::test(start_paused = true)]
async fn every_line_of_the_page_leads_to_its_image() {
    for (config, root) in [("", ""), (GUARDED, SECRET)] {
        let lab = three(config);
        let seen = page(&lab, &format!("{root}/")).await;
        assert!(is_page(&seen), "{root}: {seen:?}");
        let mut requests = BTreeSet::new();
        for command in ["docker pull ", "podman pull ", "ctr images pull ", "crictl pull ", "FROM ", "image: "] {
            let names = lines(&seen, command);
            assert_eq!(names.len(), 2, "{command}: {names:?}");
            requests.extend(names.iter().map(|name| request_of(name)));
        }
        assert_eq!(requests.len(), 2, "the programs agree: {requests:?}");
        let image = |registry: &str| if registry == "docker.io" { "library/alpine" } else { "owner/image" };
        // Podman, BuildKit: a place that stands in for the registry in names.
        let conf = boxes(&seen).into_iter().find(|text| text.contains("[[registry.mirror]]")).unwrap();
        let places: Vec<_> = conf.lines().filter_map(|line| line.strip_prefix("location = ")).collect();
        assert_eq!(places.len(), 4, "{conf}");
        for pair in places.chunks(2) {
            let (registry, place) = (pair[0].trim_matches('"'), pair[1].trim_matches('"'));
            requests.insert(request_of(
                &format!("{place}/{}:latest", image(registry)).replace("owner/image:latest", "owner/image:tag"),
            ));
        }
        // Docker and containerd put /v2/ behind the address; k3s and Talos have it there.
        let mirror = lines(&seen, "\"registry-mirrors\": ").concat();
        let base = mirror.trim_matches(['[', ']', '"']).strip_prefix("https://proxy.example").unwrap().to_owned();
        requests.insert(format!("{base}/v2/library/alpine/manifests/latest"));
        let host = lines(&seen, "[host.").concat();
        let base = host.trim_matches(['[', ']', '"']).strip_prefix("https://proxy.example").unwrap().to_owned();
        for (registry, name, tag) in [
            ("docker.io", "library/alpine", "latest"),
            ("ghcr.io", "owner/image", "tag"),
            ("reg.test:5000", "owner/image", "tag"),
        ] {
            let registry = registry.replace(':', "%3A");
            requests.insert(format!("{base}/v2/{name}/manifests/{tag}?ns={registry}"));
        }
        for endpoint in lines(&seen, "- \"https://proxy.example")
            .into_iter()
            .chain(lines(&seen, "- url: https://proxy.example"))
        {
            let endpoint = endpoint.trim_matches('"');
            let (name, tag) = if endpoint.ends_with("docker.io") {
                ("library/alpine", "latest")
            } else {
                ("owner/image", "tag")
            };
            requests.insert(format!("{endpoint}/{name}/manifests/{tag}"));
        }
        // Two images by name; the mirror of Docker Hub; three registries by `ns`. Endpoints of nodes are the names' own.
        assert_eq!(requests.len(), 6, "{requests:?}");
        for request in &requests {
            assert!(root.is_empty() || request.contains(SECRET), "{request}");
            assert_eq!(lab.get(request).await.status, 200, "{request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_box_gives_a_command_that_pulls_the_image() {
    let lab = three("");
    for (typed, expected) in [
        ("alpine", "proxy.example/docker.io/library/alpine:latest"),
        ("alpine:v1", "proxy.example/docker.io/library/alpine:v1"),
        ("ghcr.io/owner/image:v1", "proxy.example/ghcr.io/owner/image:v1"),
        ("docker+pull+proxy.example/ghcr.io/owner/image:v1", "proxy.example/ghcr.io/owner/image:v1"),
    ] {
        let seen = page(&lab, &format!("/?image={typed}")).await;
        assert_eq!(lines(&seen, "docker pull ")[0], expected, "{typed}");
        assert_eq!(lab.get(&request_of(expected)).await.status, 200, "{typed}");
    }
    // Where the host means one registry.
    let seen = page(&lab, "/?image=ghcr.io/owner/image:v1").header("host", "g.example").await;
    assert_eq!(lines(&seen, "docker pull ")[0], "g.example/owner/image:v1");
    let seen = page(&lab, "/?image=quay.io/owner/image").header("host", "g.example").await;
    assert!(text(&seen).contains("serves one registry only: <code>ghcr.io</code>"), "{}", text(&seen));
    let seen = page(&lab, "/?image=quay.io/owner/image").await;
    assert!(text(&seen).contains("does not serve this registry: <code>quay.io</code>"), "{}", text(&seen));
    let seen = page(&lab, "/?image=reg.test:5000/owner/image").await;
    assert!(text(&seen).contains("<code>reg.test:5000</code></p>"), "{}", text(&seen));
}
