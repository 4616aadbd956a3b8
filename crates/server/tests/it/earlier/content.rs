//! Two registries and what of theirs is in the earlier store. All of it is made anew here, so that the store's bytes are
//! held against something that does not come from the store.

use std::net::SocketAddr;
use std::path::Path;

use registry_proxy_core::digest::Digest;

use crate::fixture::{Exchange, Request, Upstream, noise};

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// Something that a registry has.
#[derive(Clone)]
pub(super) struct Piece {
    upstream: &'static str,
    repository: &'static str,
    /// Its tag; `None`: a blob, or a manifest without one.
    tag: Option<&'static str>,
    is_blob: bool,
    /// What the registry says that it is.
    told: &'static str,
    /// What it is served as; `None`: it is no manifest, or a test of its own asks.
    pub(super) kind: Option<&'static str>,
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    fn blob(upstream: &'static str, repository: &'static str, bytes: &[u8]) -> Self {
        let told = "application/octet-stream";
        Self { upstream, repository, tag: None, is_blob: true, told, kind: None, bytes: bytes.to_vec() }
    }

    fn manifest(
        [upstream, repository]: [&'static str; 2],
        tag: Option<&'static str>,
        [told, kind]: [&'static str; 2],
        text: &str,
    ) -> Self {
        let (kind, bytes) = (Some(kind), text.as_bytes().to_vec());
        Self { upstream, repository, tag, is_blob: false, told, kind, bytes }
    }

    pub(super) fn digest(&self) -> String {
        Digest::sha256(&self.bytes).to_string()
    }

    /// Its key in the store.
    pub(super) fn key(&self) -> String {
        let digest = self.digest();
        let (kind, hex) = (if self.is_blob { "blobs" } else { "manifests" }, digest.trim_start_matches("sha256:"));
        format!("v1/{kind}/sha256/{}/{hex}", &hex[..2])
    }

    /// What a client asks for: by tag, if it has one.
    pub(super) fn path(&self) -> String {
        self.tag.map_or_else(|| self.path_by_digest(), |tag| self.path_of(self.upstream_part(), tag))
    }

    /// The same by digest.
    pub(super) fn path_by_digest(&self) -> String {
        self.path_of(self.upstream_part(), &self.digest())
    }

    fn upstream_part(&self) -> &'static str {
        if self.upstream == "up.test" { "" } else { "other.test/" }
    }

    fn path_of(&self, upstream: &str, reference: &str) -> String {
        let kind = if self.is_blob { "blobs" } else { "manifests" };
        format!("/v2/{upstream}{}/{kind}/{reference}", self.repository)
    }

    /// Whether it is what a registry is asked for.
    fn is_at(&self, path: &str) -> bool {
        let is_tag = self.tag.is_some_and(|tag| self.path_of("", tag) == path);
        is_tag || self.path_of("", &self.digest()) == path
    }
}

const APP: [&str; 2] = ["up.test", "acme/app"];
const OLD: [&str; 2] = ["up.test", "acme/old"];
const TEAM: [&str; 2] = ["other.test", "team/app"];

fn blob([upstream, repository]: [&'static str; 2], bytes: &[u8]) -> Piece {
    Piece::blob(upstream, repository, bytes)
}

/// The layers of `acme/app`; the first is in `team/app` of the other registry, too.
fn layers() -> [Vec<u8>; 2] {
    [noise(1, 3000).to_vec(), noise(2, 700).to_vec()]
}

fn config(of: &str) -> Vec<u8> {
    format!(r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"of":"{of}"}}}}}}"#).into_bytes()
}

/// An image's manifest.
fn image(kind: &str, config: &[u8], layers: &[&[u8]]) -> String {
    let piece = |bytes: &[u8]| format!(r#"{{"digest":"{}","size":{}}}"#, Digest::sha256(bytes), bytes.len());
    let layers: Vec<String> = layers.iter().map(|layer| piece(layer)).collect();
    let (config, layers) = (piece(config), layers.join(","));
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{layers}]}}"#)
}

/// `acme/app:v1` of one platform.
fn amd64() -> String {
    let [one, two] = layers();
    image(OCI_MANIFEST, &config("v1"), &[&one, &two])
}

/// The image of another platform, which nobody has pulled.
fn arm64() -> Piece {
    let text = image(OCI_MANIFEST, &config("arm64"), &[]);
    Piece::manifest(APP, None, [OCI_MANIFEST; 2], &text)
}

/// A manifest that its registry gave out as an index.
pub(super) fn lied() -> Piece {
    let text = image(OCI_MANIFEST, &config("lied"), &[]);
    Piece { kind: None, ..Piece::manifest(APP, Some("lied"), [OCI_INDEX, OCI_MANIFEST], &text) }
}

/// A blob whose fetching was under way when the earlier build was killed.
pub(super) fn stalled() -> Piece {
    blob(APP, &noise(3, 5000))
}

/// What the store holds, in the order in which it was pulled.
pub(super) fn kept() -> Vec<Piece> {
    let [one, two] = layers();
    let platform = |name: &str, text: &[u8]| {
        let platform = format!(r#"{{"os":"linux","architecture":"{name}"}}"#);
        format!(r#"{{"digest":"{}","size":{},"platform":{platform}}}"#, Digest::sha256(text), text.len())
    };
    let children = [platform("amd64", amd64().as_bytes()), platform("arm64", &arm64().bytes)].join(",");
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{children}]}}"#);
    let old = format!(
        r#"{{"schemaVersion":1,"name":"acme/old","tag":"1","architecture":"amd64","fsLayers":[{{"blobSum":"{}"}}],"history":[{{"v1Compatibility":"{{}}"}}]}}"#,
        Digest::sha256(&two)
    );
    vec![
        Piece::manifest(APP, Some("v1"), [OCI_MANIFEST; 2], &amd64()),
        blob(APP, &one),
        blob(APP, &two),
        blob(APP, &config("v1")),
        Piece::manifest(APP, Some("multi"), [OCI_INDEX; 2], &index),
        Piece::manifest(APP, None, [OCI_MANIFEST; 2], &amd64()),
        // A registry that says nothing of what it is.
        Piece::manifest(
            APP,
            Some("docker"),
            ["application/json", DOCKER_MANIFEST],
            &image(DOCKER_MANIFEST, &config("docker"), &[&two]),
        ),
        blob(APP, &config("docker")),
        lied(),
        blob(APP, &config("lied")),
        Piece::manifest(OLD, Some("1"), [SCHEMA_1; 2], &old),
        blob(OLD, &two),
        Piece::manifest(TEAM, Some("v1"), [OCI_MANIFEST; 2], &image(OCI_MANIFEST, &config("team"), &[&one])),
        blob(TEAM, &config("team")),
        blob(TEAM, &one),
    ]
}

/// The two registries.
pub(super) struct Registries([(&'static str, Upstream); 2]);

impl Registries {
    /// Of one blob only the beginning comes, and then nothing more.
    pub(super) async fn start(stalls: Option<Piece>) -> Self {
        let start = |name: &'static str| {
            let stalls = stalls.clone();
            Upstream::start(move |request, exchange| answer(name, stalls.clone(), request, exchange))
        };
        Self([("up.test", start("up.test").await), ("other.test", start("other.test").await)])
    }

    /// The configuration of a cache in this folder, before both of them.
    pub(super) fn configuration(&self, folder: &Path, keys: &str) -> String {
        let entry = |name: &str, address: SocketAddr| {
            format!("[[upstream]]\nname = '{name}'\nurls = ['http://{address}']\ninsecure = true\n")
        };
        let [one, other] = &self.0;
        let upstreams =
            [entry(one.0, one.1.address), "default = true\n".to_owned(), entry(other.0, other.1.address)];
        let store = format!("[cache]\nstore = 'file://{}'\nmin_free = 0\n{keys}\n", folder.display());
        store + &upstreams.concat()
    }

    fn seen(&self) -> impl Iterator<Item = Request> {
        self.0.iter().flat_map(|(_, upstream)| upstream.seen())
    }

    /// How often they were asked for anything.
    pub(super) fn asked(&self) -> usize {
        self.seen().count()
    }

    /// The blobs whose bytes they were asked for.
    pub(super) fn fetched_blobs(&self) -> Vec<String> {
        let fetches = self.seen().filter(|request| request.method == "GET" && request.path.contains("/blobs/"));
        fetches.map(|request| request.path).collect()
    }
}

async fn answer(
    upstream: &'static str,
    stalls: Option<Piece>,
    request: Request,
    mut exchange: Exchange,
) -> Option<Exchange> {
    let here = kept().into_iter().chain([arm64(), stalled()]).filter(|piece| piece.upstream == upstream);
    let Some(found) = here.into_iter().find(|piece| piece.is_at(&request.path)) else {
        return exchange.answer("404 Not Found", "", b"").await;
    };
    if stalls.is_some_and(|piece| piece.is_at(&request.path)) && request.method == "GET" {
        exchange.begin(found.bytes.len(), &found.bytes[..1000]).await;
        exchange.until_gone().await;
        return None;
    }
    if found.is_blob {
        return exchange.blob(&request, &found.bytes).await;
    }
    let (digest, length) = (found.digest(), found.bytes.len());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: {}\r\nDocker-Content-Digest: {digest}\r\n\r\n",
        found.told
    );
    let body = if request.method == "HEAD" { Vec::new() } else { found.bytes };
    exchange.write([head.as_bytes(), &body].concat()).await.then_some(exchange)
}
