//! Requests and answers as the table writes them: `GET /v2/team/app/blobs/{layer} | range: bytes=10-19`, and
//! `PUT {location}&digest={pushed} < pushed` for one with a body.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{LINK, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::testing::sha256;

/// The repositories of every registry, and one that it does not have.
pub(super) const REPOSITORIES: [&str; 3] = ["team/app", "team/other", "team/missing"];

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What there is to be asked for, by its name in the table.
pub(super) struct Things(BTreeMap<&'static str, Thing>);

struct Thing {
    bytes: Bytes,
    digest: String,
}

impl Default for Things {
    fn default() -> Self {
        let layer: Bytes = (0..5000_u32).map(|at| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap_or(0)).collect();
        let config = Bytes::from_static(br#"{"architecture":"amd64","os":"linux"}"#);
        let pushed = Bytes::from_static(b"what a client pushes");
        let image = |name: &str, layer: &Bytes| {
            let (config, config_bytes) = (sha256(&config), config.len());
            let (digest, bytes) = (sha256(layer), layer.len());
            Bytes::from(format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_bytes}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{bytes}}}],"annotations":{{"name":"{name}"}}}}"#
            ))
        };
        let (app, other, new) = (image("app", &layer), image("other", &layer), image("new", &pushed));
        let missing = Bytes::from_static(b"nobody has this");
        let all = [
            ("layer", layer),
            ("config", config),
            ("image", app),
            ("other", other),
            ("pushed", pushed),
            ("new", new),
            ("missing", missing),
        ];
        Self(all.into_iter().map(|(name, bytes)| (name, Thing { digest: sha256(&bytes), bytes })).collect())
    }
}

impl Things {
    /// Its bytes.
    pub(super) fn bytes(&self, name: &str) -> Bytes {
        self.0.get(name).map(|thing| thing.bytes.clone()).unwrap_or_default()
    }

    /// The digest of that.
    pub(super) fn digest(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |thing| &thing.digest)
    }

    /// The text with digests for names: `{layer}`, and `{layer:hex}` for the hex digits alone.
    pub(super) fn fill(&self, text: &str) -> String {
        self.0.iter().filter(|_| text.contains('{')).fold(text.to_owned(), |text, (name, Thing { digest, .. })| {
            let hex = digest.trim_start_matches("sha256:");
            text.replace(&format!("{{{name}}}"), digest).replace(&format!("{{{name}:hex}}"), hex)
        })
    }
}

/// Where the answer before leads.
pub(super) struct Said {
    /// Its `Location`, or that of one before it.
    location: String,
    /// The next page that its `Link` names, or where it names none, the page itself.
    next: String,
}

impl Default for Said {
    fn default() -> Self {
        Self { location: "/v2/team/app/blobs/uploads/never-begun?_s=x".to_owned(), next: String::new() }
    }
}

impl Said {
    /// Takes down what the answer to this path says.
    pub(super) fn note(&mut self, path: &str, headers: &HeaderMap) {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(location) = text(LOCATION) {
            location.clone_into(&mut self.location);
        }
        let link = text(LINK).and_then(|link| link.strip_prefix('<')?.split_once('>').map(|(next, _)| next));
        link.unwrap_or(path).clone_into(&mut self.next);
    }
}

/// A request.
pub(super) struct Step {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Step {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub(super) fn read(text: &str, things: &Things, said: &Said) -> Result<Self, String> {
        let wrong = || format!("cannot be read: {text}");
        let (text, body) = text.split_once(" < ").map_or((text, None), |(text, name)| (text, Some(name.trim())));
        let mut parts = text.split(" | ");
        let (method, path) = parts.next().and_then(|line| line.trim().split_once(' ')).ok_or_else(wrong)?;
        let mut headers = HeaderMap::new();
        for header in parts {
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
            headers.append(name, HeaderValue::try_from(things.fill(value.trim())).map_err(|_| wrong())?);
        }
        Ok(Self {
            method: method.parse().map_err(|_| wrong())?,
            path: things.fill(path.trim()).replace("{location}", &said.location).replace("{next}", &said.next),
            headers,
            body: body.map(|name| things.bytes(name)),
        })
    }
}
