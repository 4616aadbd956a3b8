//! The API as a client asks it that believes nothing: every answer is held against what was pushed.

use std::net::SocketAddr;

use registry_proxy_outer::digest::of_bytes;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{Answer, Client, Question};
use registry_proxy_outer::image::layout::{CONFIG, INDEX, LAYER, MANIFEST};
use registry_proxy_outer::{Context, Outcome};
use serde_json::{Value, json};

const OCTETS: &str = "application/octet-stream";
/// All that may be pushed here.
pub(crate) const ACCEPT: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

pub(crate) struct Api {
    client: Client,
    address: SocketAddr,
    /// Before each repository: the upstream's name and a slash, or nothing.
    prefix: &'static str,
}

/// A manifest as it was pushed.
pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
    /// What it needs besides: bytes of its config and layer.
    pub(crate) blobs: Vec<Vec<u8>>,
}

impl Manifest {
    pub(crate) fn of(media_type: &'static str, document: &Value) -> Self {
        let bytes = document.to_string().into_bytes();
        Self { media_type, digest: of_bytes(&bytes), bytes, blobs: Vec::new() }
    }

    /// An image that has this word in its config and its layer.
    pub(crate) fn image(word: &str) -> Self {
        Self::image_with(word, &json!({}))
    }

    /// The same, with more fields.
    pub(crate) fn image_with(word: &str, more: &Value) -> Self {
        let config = json!({ "architecture": "amd64", "os": "linux", "author": word }).to_string().into_bytes();
        let layer = content(word, 3000);
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        if let (Some(fields), Some(more)) = (document.as_object_mut(), more.as_object()) {
            fields.extend(more.clone());
        }
        Self { blobs: vec![config, layer], ..Self::of(MANIFEST, &document) }
    }

    /// An index of these.
    pub(crate) fn index(manifests: &[&Self]) -> Self {
        let manifests: Vec<Value> = manifests.iter().map(|manifest| manifest.descriptor()).collect();
        Self::of(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
    }

    pub(crate) fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.bytes)
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": of_bytes(bytes), "size": bytes.len() })
}

/// So many bytes that no other word gives.
pub(crate) fn content(word: &str, length: usize) -> Vec<u8> {
    (0..).flat_map(|number| format!("{word} {number}\n").into_bytes()).take(length).collect()
}

impl Api {
    pub(crate) fn new(address: SocketAddr, prefix: &'static str) -> Outcome<Self> {
        Ok(Self { client: Client::new()?, address, prefix })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A repository's name as it stands in scopes and mounts.
    pub(crate) fn name(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    pub(crate) fn url(&self, repository: &str, rest: &str) -> String {
        format!("http://{}/v2/{}{repository}/{rest}", self.address, self.prefix)
    }

    /// Where a `Location` leads, which may be relative.
    pub(crate) fn follow(&self, answer: &Answer) -> Outcome<String> {
        let location = answer.location();
        ensure(!location.is_empty(), "no Location")?;
        Ok(if location.starts_with('/') {
            format!("http://{}{location}", self.address)
        } else {
            location.to_owned()
        })
    }

    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Question<'_> {
        self.client.get(self.url(repository, &format!("manifests/{reference}"))).header("accept", ACCEPT)
    }

    /// Begins an upload, and tells where it goes on.
    pub(crate) fn begin(&self, repository: &str) -> Outcome<String> {
        let begun = self.client.post(self.url(repository, "blobs/uploads/")).ask()?.expect_status(202)?;
        self.follow(&begun)
    }

    /// A chunk of an upload.
    pub(crate) fn chunk(&self, session: &str, first: usize, bytes: &[u8]) -> Outcome<Answer> {
        let range = format!("{first}-{}", first + bytes.len() - 1);
        let question = self.client.patch(session).header("content-type", OCTETS).header("content-range", range);
        question.body(bytes.to_vec()).ask()
    }

    /// The end of an upload, with the last bytes of it.
    pub(crate) fn close(&self, session: &str, digest: &str, bytes: &[u8]) -> Outcome<Answer> {
        let separator = if session.contains('?') { '&' } else { '?' };
        let question = self.client.put(format!("{session}{separator}digest={digest}"));
        question.header("content-type", OCTETS).body(bytes.to_vec()).ask()
    }

    /// Pushes a blob with POST and PUT, and tells its digest.
    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) -> Outcome<String> {
        let digest = of_bytes(bytes);
        let pushed = self.close(&self.begin(repository)?, &digest, bytes)?.expect_status(201)?;
        self.created(&pushed)?;
        Ok(digest)
    }

    /// What a 201 says of where it is leads there.
    pub(crate) fn created(&self, answer: &Answer) -> Outcome {
        let place = self.follow(answer)?;
        self.client.head(place).header("accept", ACCEPT).ask()?.expect_status(200)?;
        Ok(())
    }

    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> Outcome<Answer> {
        let question = self.client.put(self.url(repository, &format!("manifests/{reference}")));
        question.header("content-type", manifest.media_type).body(manifest.bytes.clone()).ask()
    }

    /// Pushes an image with its blobs, under this name.
    pub(crate) fn push(&self, repository: &str, reference: &str, manifest: &Manifest) -> Outcome {
        for blob in &manifest.blobs {
            self.push_blob(repository, blob)?;
        }
        let pushed = self.put_manifest(repository, reference, manifest)?.expect_status(201)?;
        equal("digest", &pushed.header("docker-content-digest"), &manifest.digest.as_str())?;
        self.created(&pushed)
    }

    pub(crate) fn delete(&self, repository: &str, rest: &str) -> Outcome<Answer> {
        self.client.delete(self.url(repository, rest)).ask()
    }

    /// The blob is there, to HEAD and to GET, twice.
    pub(crate) fn has_blob(&self, repository: &str, bytes: &[u8]) -> Outcome {
        let digest = of_bytes(bytes);
        let url = self.url(repository, &format!("blobs/{digest}"));
        for time in TIMES {
            for question in [self.client.head(&url), self.client.get(&url)] {
                let answer = question.ask()?.expect_status(200).context(time)?;
                equal("length", &answer.header("content-length"), &bytes.len().to_string().as_str())?;
                equal("digest", &answer.header("docker-content-digest"), &digest.as_str())?;
            }
            let whole = self.client.get(&url).ask()?.expect_status(200)?;
            ensure(whole.body == bytes, format_args!("{time}: other bytes"))?;
        }
        Ok(())
    }

    /// The blob is not there, to HEAD and to GET, twice.
    pub(crate) fn lacks_blob(&self, repository: &str, digest: &str) -> Outcome {
        let url = self.url(repository, &format!("blobs/{digest}"));
        for time in TIMES {
            self.client.head(&url).ask()?.expect_status(404).context(time)?;
            code(
                &self.client.get(&url).ask()?.expect_status(404).context(time)?,
                &["BLOB_UNKNOWN", "NAME_UNKNOWN"],
            )?;
        }
        Ok(())
    }

    /// The manifest is what this leads to, with HEAD and with GET, twice.
    pub(crate) fn has_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> Outcome {
        let url = self.url(repository, &format!("manifests/{reference}"));
        for time in TIMES {
            let head = self.client.head(&url).header("accept", ACCEPT).ask()?.expect_status(200).context(time)?;
            let get = self.manifest(repository, reference).ask()?.expect_status(200).context(time)?;
            for answer in [&head, &get] {
                equal("type", &answer.header("content-type"), &manifest.media_type)?;
                equal("digest", &answer.header("docker-content-digest"), &manifest.digest.as_str())?;
                let length = manifest.bytes.len().to_string();
                equal("length", &answer.header("content-length"), &length.as_str())?;
            }
            ensure(get.body == manifest.bytes, format_args!("{time}: other bytes"))?;
        }
        Ok(())
    }

    /// This leads nowhere, with HEAD and with GET, twice.
    pub(crate) fn lacks_manifest(&self, repository: &str, reference: &str) -> Outcome {
        let url = self.url(repository, &format!("manifests/{reference}"));
        for time in TIMES {
            self.client.head(&url).header("accept", ACCEPT).ask()?.expect_status(404).context(time)?;
            let get = self.manifest(repository, reference).ask()?.expect_status(404).context(time)?;
            code(&get, &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])?;
        }
        Ok(())
    }

    /// The repository's tags, sorted.
    pub(crate) fn tags(&self, repository: &str, query: &str) -> Outcome<Vec<String>> {
        let listed =
            self.client.get(self.url(repository, &format!("tags/list{query}"))).ask()?.expect_status(200)?;
        let tags = listed.json()?["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> = tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
        tags.sort();
        Ok(tags)
    }
}

const TIMES: [&str; 2] = ["the first time", "the second time"];

/// An error that says one of these in the words of the specification.
pub(crate) fn code(answer: &Answer, codes: &[&str]) -> Outcome {
    let said = answer.json()?["errors"][0]["code"].as_str().context("no code")?.to_owned();
    ensure(codes.contains(&said.as_str()), format_args!("code {said} instead of {codes:?}"))
}
