//! A key that signs images as `cosign sign --key` did before cosign 3: a document of the "simple signing" format, and its signature
//! in an annotation, under a tag beside the image (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::json;
use tempfile::TempDir;

use crate::image::layout::MANIFEST;
use crate::{Context, Outcome, digest, http};

const LINE_CHARS: usize = 64;

/// A key whose public half is in a file.
pub struct SignerKey {
    pair: KeyPair,
    folder: TempDir,
}

impl SignerKey {
    /// A new one, of ECDSA P-256, as cosign makes them.
    pub fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let pair = KeyPair::generate()?;
        fs::write(folder.path().join("cosign.pub"), pem("PUBLIC KEY", &pair.subject_public_key_info()))?;
        // The form of what must not be taken for a public key.
        fs::write(folder.path().join("cosign.key"), pem("ENCRYPTED SIGSTORE PRIVATE KEY", b"{}"))?;
        Ok(Self { pair, folder })
    }

    /// The public key.
    pub fn public(&self) -> PathBuf {
        self.folder.path().join("cosign.pub")
    }

    /// The folder of the pair.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Signs a manifest of a repository, and puts the signature there.
    pub fn sign(&self, registry: SocketAddr, repository: &str, manifest: &str) -> Outcome {
        let document = json!({
            "critical": {
                "identity": { "docker-reference": format!("{registry}/{repository}") },
                "image": { "docker-manifest-digest": manifest },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string();
        let signature = BASE64_STANDARD.encode(self.pair.sign(document.as_bytes())?);
        let place = Place { client: http::Client::new()?, base: format!("http://{registry}/v2/{repository}") };
        let config = place.put_blob(b"{}")?;
        let payload = place.put_blob(document.as_bytes())?;
        let signatures = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "size": document.len(),
                "digest": payload,
                "annotations": { "dev.cosignproject.cosign/signature": signature },
            }],
        });
        let url = format!("{}/manifests/{}.sig", place.base, manifest.replace(':', "-"));
        let put = place.client.put(url).header("content-type", MANIFEST).body(signatures.to_string());
        put.ask()?.expect_status(201)?;
        Ok(())
    }
}

struct Place {
    client: http::Client,
    base: String,
}

impl Place {
    fn put_blob(&self, bytes: &[u8]) -> Outcome<String> {
        let named = digest::of_bytes(bytes);
        let upload = self.client.post(format!("{}/blobs/uploads/", self.base)).ask()?.expect_status(202)?;
        let location = upload.location();
        let and = if location.contains('?') { '&' } else { '?' };
        let put = self.client.put(format!("{location}{and}digest={named}")).body(bytes.to_vec());
        put.ask()?.expect_status(201).context("a blob of a signature")?;
        Ok(named)
    }
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    let mut lines = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(LINE_CHARS) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + &format!("-----END {kind}-----\n")
}
