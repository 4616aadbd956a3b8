//! The page at `/` and `registry-proxy client --print` say the same lines for the same address.

use crate::fixture::{Client, Setup};

/// An upstream with a name of its own, one with a host of its own, and one that images do not name.
const UPSTREAMS: &str = "trusted_proxies = ['127.0.0.0/8']\n\
    [[upstream]]\nname = 'hub'\nurls = ['https://registry-1.docker.io']\n\
    [[upstream]]\nname = 'ghcr.io'\nhosts = ['g.p.example']\n\
    [[upstream]]\nname = 'mine'\nurls = ['https://r.corp.example']\n";
const SECRET: &str = "what-is-in-secret";

/// A tab of the page: the boxes with lines in it, and the words around them.
struct Tab {
    html: String,
}

impl Tab {
    fn boxes(&self) -> Vec<String> {
        let after = self.html.split("<pre><code>").skip(1);
        after.map(|rest| resolved(rest.split("</code>").next().expect("a first part"))).collect()
    }

    /// The box of lines that has this in it.
    fn with(&self, part: &str) -> String {
        let found = self.boxes().into_iter().find(|text| text.contains(part));
        found.unwrap_or_else(|| panic!("no box with {part} in {:#?}", self.boxes()))
    }
}

fn resolved(html: &str) -> String {
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
        .into_iter()
        .fold(html.to_owned(), |html, (entity, letter)| html.replace(entity, letter))
}

fn tab(page: &str, id: &str) -> Tab {
    let mut tabs = page.split("<input type=\"radio\" name=\"client\"").skip(1);
    let html = tabs.find(|html| html.contains(&format!(" id=\"{id}\"")));
    Tab { html: html.unwrap_or_else(|| panic!("no tab {id} in {page}")).to_owned() }
}

/// What `client` prints for whoever pipes it, without the lines that name the files.
async fn printed(setup: &Setup, config: &str, words: &[&str]) -> String {
    let root = setup.path().join("root").display().to_string();
    let words = [&["--config", config, "client", "--print", "--root", &root], words].concat();
    let output = setup.run(&words).await;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The text below `# <file>`, of what [`printed`] gives for several files.
fn file<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("# {name}\n")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split("\n# /").next().expect("a first part").trim_end()
}

#[tokio::test]
async fn the_page_and_the_command_say_the_same_lines_for_every_client_at_every_address() {
    for (scheme, host, secret) in [
        ("https", "proxy.example.com", None),
        ("https", "proxy.example.com:8443", Some(SECRET)),
        // Without a dot: a part of a repository's name, unless a port is with it.
        ("https", "proxy", None),
        ("http", "proxy", None),
        ("http", "localhost:3000", None),
        ("http", "127.0.0.1:3000", None),
        ("http", "[::1]:3000", None),
        ("http", "192.0.2.7:3000", Some(SECRET)),
        // This host means one registry.
        ("https", "g.p.example", None),
    ] {
        let setup = Setup::new();
        let path_secret =
            secret.map(|secret| format!("[clients]\npath_secret = '{secret}'\n")).unwrap_or_default();
        let (top, rest) = UPSTREAMS.split_once('\n').unwrap();
        let toml = format!("{top}\n{path_secret}{rest}");
        let config = setup.file("client.toml", &toml);
        std::fs::create_dir(setup.path().join("root")).unwrap();
        let product = Setup::new().start(&toml).await;
        let headers = format!(
            "Accept: text/html\r\nAccept-Language: en\r\nX-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\n"
        );
        let below = secret.map_or_else(|| "/".to_owned(), |secret| format!("/{secret}/"));
        let (head, page) = Client::connect(product.address).await.get_with(&below, &headers).await;
        assert_eq!(head.status, 200);
        let page = String::from_utf8(page).unwrap();
        let url = format!("{scheme}://{host}");
        let what = format!("{url} {secret:?}");
        let is_only = host == "g.p.example";
        let is_loopback = ["localhost:3000", "127.0.0.1:3000", "[::1]:3000"].contains(&host);

        let client = |words: &'static [&'static str]| {
            let words =
                [words, &["--url", &url]].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let (setup, config) = (&setup, &config);
            async move { printed(setup, config, &words.iter().map(String::as_str).collect::<Vec<_>>()).await }
        };
        if !is_only {
            assert_eq!(tab(&page, "docker").with("registry-mirrors"), client(&["docker"]).await, "{what}");
        }
        let conf = tab(&page, "podman").with("[[registry]]");
        assert_eq!(conf, client(&["podman"]).await, "{what}");
        assert_eq!(tab(&page, "crio").with("[[registry]]"), client(&["crio"]).await, "{what}");
        let builder = tab(&page, "buildkit").with("[registry.");
        assert_eq!(builder, client(&["buildkit"]).await, "{what}");
        let rancher = tab(&page, "k3s").with("mirrors:");
        assert_eq!(rancher, client(&["k3s"]).await, "{what}");
        assert_eq!(rancher, client(&["rke2"]).await, "{what}");
        let containerd = client(&["containerd"]).await;
        let hosts = tab(&page, "containerd").with("[host.");
        let folder = if is_only { "ghcr.io" } else { "_default" };
        assert_eq!(hosts.trim_end(), file(&containerd, &format!("/etc/containerd/certs.d/{folder}/hosts.toml")));
        if !is_loopback {
            assert_eq!(conf, client(&["podman-machine"]).await, "{what}");
            assert_eq!(tab(&page, "talos").with("RegistryMirrorConfig"), client(&["talos"]).await, "{what}");
            let workflow = tab(&page, "github-actions");
            let docker =
                if is_only { String::new() } else { workflow.with("Pull from Docker Hub through registry-proxy") };
            let steps = docker + &workflow.with("Build with base images from registry-proxy");
            assert_eq!(steps, client(&["github-actions"]).await, "{what}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_docker_hub_by_another_name_is_docker_hub_to_clients() {
    let setup = Setup::new();
    let config = setup.file("client.toml", UPSTREAMS);
    let root = setup.path().display().to_string();
    let words =
        ["--config", &config, "client", "podman", "--print", "--root", &root, "--url", "https://p.example"];
    let output = setup.run(&words).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("location = \"docker.io\"\n[[registry.mirror]]\nlocation = \"p.example/hub\"\n"),
        "{text}"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("mine") && said.contains("left out") && said.contains("mine"), "{text}{said}");
    // The host that images name, in place of the upstream's own name.
    for (asked, expected) in [
        ("hub", "location = \"docker.io\"\n[[registry.mirror]]\nlocation = \"p.example/hub\"\n"),
        ("r.corp.example", "location = \"r.corp.example\"\n[[registry.mirror]]\nlocation = \"p.example/mine\"\n"),
        // Another proxy than that of this configuration may serve it.
        ("quay.io", "location = \"quay.io\"\n[[registry.mirror]]\nlocation = \"p.example/quay.io\"\n"),
    ] {
        let output = setup.run(&[&words[..], &["--registry", asked]].concat()).await;
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("[[registry]]\n{expected}"), "{asked}");
    }
    let output = setup.run(&[&words[..], &["--registry", "mine"]].concat()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("say the registry's host"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_wants_a_login_is_no_mirror_of_dockerd() {
    let setup = Setup::new();
    let config = setup
        .file("client.toml", "signing_key = 'k-0123456789abcdef0123456789abcdef'\n[clients]\nauth = 'upstream'\n");
    let root = setup.path().display().to_string();
    let client = ["--config", &config, "client", "--url", "https://p.example", "--root", &root];
    let output = setup.run(&[&client[..], &["docker"]].concat()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("docker login p.example"), "{said}");
    let output = setup.run(&[&client[..], &["k3s"]].concat()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("  \"p.example\":\n    auth:"), "{said}");
}
