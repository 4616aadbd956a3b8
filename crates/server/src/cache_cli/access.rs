//! The cache that an export reads and an import fills: a running server's, through its socket, or the store itself.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use registry_proxy_core::admin::{AdoptMode, Adopted, Adoption, CacheAdmin, Command, KeepError, Kept, Tell};
use registry_proxy_core::bundle::BundleImage;
use registry_proxy_core::digest::Digest;
use tokio::net::UnixStream;

use crate::admin_socket::transfer::{self, Pieces, Transfer, TransferReply};
use crate::admin_socket::{self, CacheHolder};
use crate::error_text::with_source;
use crate::runtime::SystemClock;

/// Digests in one line to the server.
const DIGESTS_AT_ONCE: usize = 300;

/// Where the cache is reached.
pub(super) enum CacheAccess {
    /// At a server's socket.
    Server(PathBuf),
    /// Here.
    Store(CacheAdmin),
}

impl CacheAccess {
    pub(super) fn of(holder: CacheHolder) -> Self {
        match holder {
            CacheHolder::Server(_, path) => Self::Server(path),
            CacheHolder::Nobody(opened) => Self::Store(CacheAdmin::of_store(opened.store, Arc::new(SystemClock))),
        }
    }

    /// Runs a command.
    pub(super) async fn run(&self, command: Command, tell: Tell<'_>) -> Result<(), String> {
        match self {
            Self::Server(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| format!("cannot connect to {}: {error}", path.display()))?;
                admin_socket::ask_cache(stream, command, tell).await
            }
            Self::Store(admin) => admin.run(&command, tell).await.map_err(|error| with_source(&error)),
        }
    }

    async fn ask(&self, wanted: Transfer) -> Result<TransferReply, String> {
        match self {
            Self::Server(path) => transfer::ask(path, &wanted).await,
            Self::Store(admin) => transfer::perform(admin, wanted).await.into_result(),
        }
    }

    async fn open(&self, wanted: &Transfer) -> Result<Option<(u64, Pieces<'static>)>, String> {
        match self {
            Self::Server(path) => transfer::fetch(path, wanted).await,
            Self::Store(admin) => transfer::open(admin, wanted).await,
        }
    }

    /// Which manifest a name leads to; `None`: its tag is not cached.
    pub(super) async fn led_to(&self, image: &BundleImage) -> Result<Option<Digest>, String> {
        let reply = self.ask(Transfer::Leads(image.clone())).await?;
        let TransferReply::Leads(digest) = reply else { return Err(transfer::other_version()) };
        Ok(digest)
    }

    /// A blob's length in bytes; `None`: it is not cached.
    pub(super) async fn blob_bytes(&self, digest: &Digest) -> Result<Option<u64>, String> {
        let reply = self.ask(Transfer::Length(digest.clone())).await?;
        let TransferReply::Bytes(length) = reply else { return Err(transfer::other_version()) };
        Ok(length)
    }

    /// A manifest of at most so many bytes; `None`: it is not cached.
    pub(super) async fn manifest(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Bytes>, String> {
        let Some((length, mut pieces)) = self.open(&Transfer::Manifest(digest.clone())).await? else {
            return Ok(None);
        };
        if length > limit_bytes {
            return Err(format!("{digest} has {length} bytes; limits.manifest allows {limit_bytes}"));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        if digest.matches(&bytes) == Some(true) { Ok(Some(bytes.into())) } else { Err(damaged(digest)) }
    }

    /// The bytes of a manifest or a blob, and their number. Whoever reads them holds them against the digest.
    pub(super) async fn content(
        &self,
        is_manifest: bool,
        digest: &Digest,
    ) -> Result<Option<(u64, Pieces<'static>)>, String> {
        let digest = digest.clone();
        self.open(&if is_manifest { Transfer::Manifest(digest) } else { Transfer::Blob(digest) }).await
    }

    /// Keeps a blob, if its bytes have its digest.
    pub(super) async fn keep(
        &self,
        digest: &Digest,
        length: u64,
        pieces: &mut (dyn Stream<Item = Result<Bytes, String>> + Send + Unpin),
    ) -> Result<Kept, KeepError> {
        match self {
            Self::Server(path) => transfer::give(path, digest, length, pieces).await,
            Self::Store(admin) => admin.keep_blob(digest, length, pieces).await,
        }
    }

    /// Gives an image its name, or looks whether it could have it.
    pub(super) async fn adopt(&self, adoption: &Adoption, mode: AdoptMode) -> Result<Adopted, String> {
        let reply = self.ask(Transfer::Adopt(Box::new(adoption.clone()), mode)).await?;
        let TransferReply::Adopted(adopted) = reply else { return Err(transfer::other_version()) };
        Ok(adopted)
    }

    /// Throws blobs away that were kept.
    pub(super) async fn discard(&self, digests: &[Digest]) -> Result<(), String> {
        for some in digests.chunks(DIGESTS_AT_ONCE) {
            self.ask(Transfer::Discard(some.to_vec())).await?;
        }
        Ok(())
    }
}

/// What is said of content that does not have its digest any more.
pub(super) fn damaged(digest: &Digest) -> String {
    format!("{digest} is damaged in the cache; run registry-proxy cache verify, and fetch the image again")
}
