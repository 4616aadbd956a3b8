//! A registry in memory: manifests, blobs, lists and uploads, behind the login that a test chooses, with a token
//! server and a storage host of its own.

mod api;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::digest::Digest;

/// How clients of the registry log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Not at all.
    Open,
    /// With Basic.
    Basic,
    /// With tokens of this server, under this service's name.
    Bearer {
        /// The token server.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
    },
}

struct Contents {
    manifests: HashMap<(String, String), (String, Bytes)>,
    blobs: HashMap<(String, String), Bytes>,
    tags: Vec<(String, String)>,
    gate: Gate,
    users: Vec<(String, String)>,
    /// Repositories that only some users may read.
    private: HashMap<String, Vec<String>>,
    /// Where blobs are, if not here.
    storage: Option<String>,
    tokens: HashMap<String, Issued>,
    issued: usize,
    token_life: Option<u64>,
    upload_location: String,
    deleted: Vec<String>,
    /// What has come of an upload, by repository.
    uploads: HashMap<String, Vec<u8>>,
}

struct Issued {
    scopes: Vec<String>,
}

/// A registry. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Mutex<Contents>>);

/// The digest of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

impl Default for Registry {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Contents {
            manifests: HashMap::new(),
            blobs: HashMap::new(),
            tags: Vec::new(),
            gate: Gate::Open,
            users: Vec::new(),
            private: HashMap::new(),
            storage: None,
            tokens: HashMap::new(),
            issued: 0,
            token_life: Some(300),
            upload_location: "/v2/a/b/blobs/uploads/u1".to_owned(),
            deleted: Vec::new(),
            uploads: HashMap::new(),
        })))
    }
}

impl Registry {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a manifest there, by tag and by digest, and tells its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        let mut contents = self.contents();
        for reference in [tag, &digest] {
            let key = (repository.to_owned(), reference.to_owned());
            contents.manifests.insert(key, (media_type.to_owned(), bytes.clone()));
        }
        contents.tags.push((repository.to_owned(), tag.to_owned()));
        digest
    }

    /// Puts a blob there, and tells its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.contents().blobs.insert((repository.to_owned(), digest.clone()), bytes);
        digest
    }

    /// Asks for a login from now on.
    pub fn guard(&self, gate: Gate) {
        self.contents().gate = gate;
    }

    /// Lets somebody log in.
    pub fn add_user(&self, name: &str, password: &str) {
        self.contents().users.push((name.to_owned(), password.to_owned()));
    }

    /// Lets only these users read a repository.
    pub fn make_private(&self, repository: &str, users: &[&str]) {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        self.contents().private.insert(repository.to_owned(), users);
    }

    /// Redirects blobs to below this address.
    pub fn redirect_blobs(&self, storage: &str) {
        self.contents().storage = Some(storage.to_owned());
    }

    /// Takes back all tokens.
    pub fn revoke_tokens(&self) {
        self.contents().tokens.clear();
    }

    /// Says this life of tokens from now on, or none.
    pub fn set_token_life(&self, seconds: Option<u64>) {
        self.contents().token_life = seconds;
    }

    /// Says this `Location` of uploads from now on.
    pub fn set_upload_location(&self, location: &str) {
        location.clone_into(&mut self.contents().upload_location);
    }

    /// Whether a path names something that is here.
    pub fn has(&self, path: &str) -> bool {
        let contents = self.contents();
        let there = |kind: &str| {
            let (name, reference) = path.strip_prefix("/v2/")?.split_once(kind)?;
            Some((name.to_owned(), reference.to_owned()))
        };
        there("/manifests/").is_some_and(|key| contents.manifests.contains_key(&key))
            || there("/blobs/").is_some_and(|key| contents.blobs.contains_key(&key))
    }

    /// What was deleted: `<repository> <reference>`.
    pub fn deleted(&self) -> Vec<String> {
        self.contents().deleted.clone()
    }
}
