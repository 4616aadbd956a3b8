//! Detects the protocol of a new connection by its first bytes: HTTP/2 begins with a preface that no HTTP/1.1 request can begin
//! with (RFC 9113 section 3.4).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::proxy_protocol;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// A header of the PROXY protocol, where none is expected.
    ProxyHeader,
}

/// The protocol by the bytes read so far; `None`: more bytes are needed.
fn protocol_of(bytes: &[u8]) -> Option<Protocol> {
    if proxy_protocol::is_header(bytes)? {
        return Some(Protocol::ProxyHeader);
    }
    if !PREFACE.starts_with(bytes) {
        return Some(Protocol::Http1);
    }
    (bytes.len() == PREFACE.len()).then_some(Protocol::Http2)
}

/// Detects the protocol and returns the stream rewound to its first byte. `None`: the stream ended too early.
pub(super) async fn detect<S>(mut stream: S) -> io::Result<Option<(Protocol, Rewind<S>)>>
where
    S: AsyncRead + Unpin,
{
    let (mut read, mut length) = ([0; PREFACE.len()], 0);
    loop {
        let free = read.get_mut(length..).unwrap_or_default();
        let more = stream.read(free).await?;
        if more == 0 {
            return Ok(None);
        }
        length += more;
        if let Some(protocol) = protocol_of(read.get(..length).unwrap_or_default()) {
            return Ok(Some((protocol, Rewind { read, next: 0, length, stream })));
        }
    }
}

/// A stream whose first bytes have been read and are read again.
pub(super) struct Rewind<S> {
    read: [u8; PREFACE.len()],
    next: usize,
    length: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = this.read.get(this.next..this.length).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let fits = left.get(..buf.remaining()).unwrap_or(left);
        buf.put_slice(fits);
        this.next += fits.len();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        assert_eq!(protocol_of(b"G"), Some(Protocol::Http1));
        assert_eq!(protocol_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(Protocol::Http2));
        for undecided in ["P", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(protocol_of(undecided.as_bytes()), None, "{undecided:?}");
        }
        assert_eq!(protocol_of(b"PUT /"), Some(Protocol::Http1));
        assert_eq!(protocol_of(b"PROXY TCP4 "), Some(Protocol::ProxyHeader));
        assert_eq!(protocol_of(b"PRI * HTTP/1.1\r\n"), Some(Protocol::Http1));
    }

    #[tokio::test]
    async fn what_was_read_to_tell_is_read_again() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PO").await.unwrap();
        client.write_all(b"ST / HTTP/1.1\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let (protocol, mut stream) = detect(server).await.unwrap().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!((protocol, text.as_str()), (Protocol::Http1, "POST / HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_it_tells_is_none() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PRI").await.unwrap();
        drop(client);
        assert!(detect(server).await.unwrap().is_none());
    }
}
