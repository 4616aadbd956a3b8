//! Content through the socket: what an export reads of a running server's cache, and what an import gives it. One connection
//! for each of them: a line of JSON that says what is wanted, a line that answers, and bytes behind the one or the other.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use registry_proxy_core::Body;
use registry_proxy_core::admin::{AdoptMode, Adopted, Adoption, CacheAdmin, KeepError, Kept};
use registry_proxy_core::body::BodyError;
use registry_proxy_core::bundle::BundleImage;
use registry_proxy_core::digest::Digest;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::line::put;
use crate::audit::{Actor, AuditEntry};
use crate::error_text::with_source;

/// Bytes that are in memory at once, of a blob that passes.
const PIECE_BYTES: u64 = 256 << 10;
/// How long either side waits for the next bytes: an import may come through a pipe from far away.
const IDLE: Duration = Duration::from_mins(10);
/// How long a client waits for an answer: a blob on its way into a bucket takes half an hour at most.
const ANSWER: Duration = Duration::from_mins(40);

/// What is wanted of the cache.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transfer {
    /// Where a name leads.
    Leads(BundleImage),
    /// A blob's length.
    Length(Digest),
    /// A manifest's bytes.
    Manifest(Digest),
    /// A blob's bytes.
    Blob(Digest),
    /// To keep a blob of this length, whose bytes follow.
    Keep(Digest, u64),
    /// To give an image its name.
    Adopt(Box<Adoption>, AdoptMode),
    /// To throw blobs away that were kept.
    Discard(Vec<Digest>),
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransferReply {
    Leads(Option<Digest>),
    /// A length; the bytes follow if they were asked for.
    Bytes(Option<u64>),
    Kept(Kept),
    /// The bytes do not have the digest.
    Mismatch,
    Adopted(Adopted),
    Done,
    Failed(String),
}

impl TransferReply {
    /// The answer, or why there is none.
    pub(crate) fn into_result(self) -> Result<Self, String> {
        if let Self::Failed(what) = self { Err(what) } else { Ok(self) }
    }
}

/// Bytes as they come, or why there are no more.
pub(crate) type Pieces<'a> = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send + 'a>>;

/// Does what takes no bytes but those of its lines.
pub(crate) async fn perform(admin: &CacheAdmin, transfer: Transfer) -> TransferReply {
    let done = match transfer {
        Transfer::Leads(image) => admin.led_to(&image).await.map(TransferReply::Leads),
        Transfer::Length(digest) => admin.blob_bytes(&digest).await.map(TransferReply::Bytes),
        Transfer::Discard(digests) => admin.discard_blobs(&digests).await.map(|()| TransferReply::Done),
        Transfer::Adopt(adoption, mode) => match admin.adopt(&adoption, mode).await {
            Ok(adopted) => Ok(TransferReply::Adopted(adopted)),
            Err(error) => return TransferReply::Failed(with_source(&error)),
        },
        Transfer::Manifest(_) | Transfer::Blob(_) | Transfer::Keep(..) => {
            return TransferReply::Failed("its bytes come apart".to_owned());
        }
    };
    done.unwrap_or_else(|error| TransferReply::Failed(with_source(&error)))
}

/// A manifest or a blob of the cache, and its length in bytes.
pub(crate) async fn open(
    admin: &CacheAdmin,
    transfer: &Transfer,
) -> Result<Option<(u64, Pieces<'static>)>, String> {
    let found = match transfer {
        Transfer::Manifest(digest) => {
            let bytes = admin.manifest_bytes(digest).await;
            bytes.map(|bytes| bytes.map(|bytes| (bytes.len() as u64, Body::from(bytes))))
        }
        Transfer::Blob(digest) => admin.open_blob(digest).await,
        Transfer::Leads(_)
        | Transfer::Length(_)
        | Transfer::Keep(..)
        | Transfer::Adopt(..)
        | Transfer::Discard(_) => Ok(None),
    };
    let found = found.map_err(|error| with_source(&error))?;
    Ok(found.map(|(length, body)| (length, pieces_of(body))))
}

fn pieces_of(body: Body) -> Pieces<'static> {
    let next = |mut body: Body| async move {
        let piece = tokio::time::timeout(IDLE, body.chunk()).await;
        let piece = piece.unwrap_or(Some(Err(BodyError::Stalled)))?;
        Some((piece.map_err(|error| with_source(&error)), body))
    };
    Box::pin(stream::unfold(body, next))
}

/// Bytes that follow a line.
fn pieces_behind<'a>(reading: impl AsyncRead + Send + Unpin + 'a, length: u64) -> Pieces<'a> {
    let next = |(mut reading, left): (_, u64)| async move {
        let most = usize::try_from(left.min(PIECE_BYTES)).unwrap_or(0);
        if most == 0 {
            return None;
        }
        let piece = read_some(&mut reading, most).await;
        let left = piece.as_ref().map_or(0, |piece| left.saturating_sub(piece.len() as u64));
        Some((piece.map_err(|error| error.to_string()), (reading, left)))
    };
    Box::pin(stream::unfold((reading, length), next))
}

async fn read_some(reading: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; most];
    let count = tokio::time::timeout(IDLE, reading.read(&mut piece)).await??;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(count);
    Ok(piece.into())
}

/// Answers a client of the socket, whose line has been read.
pub(super) async fn answer(
    transfer: Transfer,
    actor: Actor,
    admin: &CacheAdmin,
    reading: impl AsyncRead + Send + Unpin,
    writing: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let entry = match &transfer {
        Transfer::Adopt(adoption, AdoptMode::Write) => {
            Some(AuditEntry::begin(actor, "import", format!("{} {}", adoption.image, adoption.digest)))
        }
        Transfer::Adopt(_, AdoptMode::Check)
        | Transfer::Leads(_)
        | Transfer::Length(_)
        | Transfer::Manifest(_)
        | Transfer::Blob(_)
        | Transfer::Keep(..)
        | Transfer::Discard(_) => None,
    };
    let reply = match transfer {
        Transfer::Manifest(_) | Transfer::Blob(_) => match open(admin, &transfer).await {
            Ok(None) => TransferReply::Bytes(None),
            Ok(Some((length, mut pieces))) => {
                put(writing, &TransferReply::Bytes(Some(length))).await?;
                // What breaks off ends short, which the client sees.
                while let Some(Ok(piece)) = pieces.next().await {
                    writing.write_all(&piece).await?;
                }
                return Ok(());
            }
            Err(what) => TransferReply::Failed(what),
        },
        Transfer::Keep(digest, length) => {
            let mut pieces = pieces_behind(reading, length);
            match admin.keep_blob(&digest, length, &mut pieces).await {
                Ok(kept) => TransferReply::Kept(kept),
                Err(KeepError::Mismatch(_)) => TransferReply::Mismatch,
                Err(error @ (KeepError::Source(_) | KeepError::NotAdmitted(_) | KeepError::Store(_))) => {
                    TransferReply::Failed(with_source(&error))
                }
            }
        }
        Transfer::Leads(_) | Transfer::Length(_) | Transfer::Adopt(..) | Transfer::Discard(_) => {
            perform(admin, transfer).await
        }
    };
    if let Some(entry) = entry {
        entry.end(if let TransferReply::Failed(what) = &reply { Err(what.clone()) } else { Ok(()) });
    }
    put(writing, &reply).await
}

/// A connection on which something was asked.
async fn begin(path: &Path, transfer: &Transfer) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(path).await?;
    put(&mut stream, transfer).await?;
    Ok(BufReader::new(stream))
}

async fn reply(stream: &mut BufReader<UnixStream>) -> Result<TransferReply, String> {
    let mut line = String::new();
    let read = tokio::time::timeout(ANSWER, stream.read_line(&mut line)).await;
    read.map_err(io::Error::from).flatten().map_err(|error| lost(&error))?;
    if line.is_empty() {
        return Err("the server closed the connection before it had answered".to_owned());
    }
    serde_json::from_str::<TransferReply>(&line).map_err(|_| other_version())?.into_result()
}

fn lost(error: &io::Error) -> String {
    format!("the server did not answer: {error}")
}

/// What is said of an answer that does not belong to the question.
pub(crate) fn other_version() -> String {
    "the server has another version: restart it with this one".to_owned()
}

/// Asks a running server for something without bytes.
pub(crate) async fn ask(path: &Path, transfer: &Transfer) -> Result<TransferReply, String> {
    let mut stream = begin(path, transfer).await.map_err(|error| lost(&error))?;
    reply(&mut stream).await
}

/// Asks a running server for a manifest or a blob.
pub(crate) async fn fetch(path: &Path, transfer: &Transfer) -> Result<Option<(u64, Pieces<'static>)>, String> {
    let mut stream = begin(path, transfer).await.map_err(|error| lost(&error))?;
    let TransferReply::Bytes(length) = reply(&mut stream).await? else { return Err(other_version()) };
    Ok(length.map(|length| (length, pieces_behind(stream, length))))
}

/// Gives a running server a blob.
pub(crate) async fn give(
    path: &Path,
    digest: &Digest,
    length: u64,
    pieces: &mut (dyn Stream<Item = Result<Bytes, String>> + Send + Unpin),
) -> Result<Kept, KeepError> {
    let source = |error: io::Error| KeepError::Source(lost(&error));
    let mut stream = begin(path, &Transfer::Keep(digest.clone(), length)).await.map_err(source)?;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(KeepError::Source)?;
        if stream.write_all(&piece).await.is_err() {
            // It has said why.
            break;
        }
    }
    let reply = reply(&mut stream).await.map_err(KeepError::Source)?;
    if matches!(reply, TransferReply::Mismatch) {
        return Err(KeepError::Mismatch(digest.clone()));
    }
    let TransferReply::Kept(kept) = reply else { return Err(KeepError::Source(other_version())) };
    Ok(kept)
}
