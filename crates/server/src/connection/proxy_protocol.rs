//! The PROXY protocol, versions 1 and 2: a proxy in front sends the client's address before the client's first byte
//! (<https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>).
//!
//! The header is never auto-detected (section 2 of that document), since a client could send one. With `proxy_protocol =
//! true` it is required on connections from `trusted_proxies`; on all others it is an error, which is logged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use registry_proxy_core::config::LoggedClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::rate_limited_warnings::WarningLimiter;

const V1: &[u8; 6] = b"PROXY ";
/// Longest header of version 1, with its line end (section 2.1).
const V1_BYTES: usize = 107;
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest part of a version 2 header after its length field: Unix addresses take 216 bytes, and clouds add about 100.
const V2_BYTES: usize = 4096;

/// Response to a header of the PROXY protocol where none is accepted.
pub(super) const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
     Content-Length: 78\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n\
     the PROXY protocol is taken from trusted_proxies where proxy_protocol is true\n";

/// The content of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// The client's address.
    Client(IpAddr),
    /// A connection of the proxy itself, such as a health check, or a client without an IP address.
    Local,
}

/// Why no header was read.
#[derive(Debug, thiserror::Error)]
enum ProxyHeaderError {
    #[error("it begins without a PROXY protocol header")]
    Absent,
    #[error("its PROXY protocol header cannot be read")]
    Malformed,
    #[error("it ended before a PROXY protocol header")]
    Ended(#[from] io::Error),
}

/// Whether a header begins with these bytes; `None`: more bytes are needed.
pub(super) fn is_header(bytes: &[u8]) -> Option<bool> {
    let of = |signature: &[u8]| match bytes.len() < signature.len() {
        true if signature.starts_with(bytes) => None,
        true => Some(false),
        false => Some(bytes.starts_with(signature)),
    };
    match (of(V1), of(V2)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        (None, _) | (_, None) => None,
    }
}

/// Reads the header that a trusted proxy must send. `None`: there is no valid one, so the connection must be closed.
pub(super) async fn read_client(
    stream: &mut TcpStream,
    limit: Duration,
    peer: Option<IpAddr>,
) -> Option<ProxyHeader> {
    static WARNED: WarningLimiter = WarningLimiter::new();
    let error = match timeout(limit, read(stream)).await {
        Ok(Ok(introduced)) => return Some(introduced),
        Ok(Err(ProxyHeaderError::Ended(error))) => {
            // Health checks that only connect do this.
            tracing::debug!(?peer, %error, "a connection ended before its PROXY protocol header");
            return None;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its PROXY protocol header did not come in time".to_owned(),
    };
    if WARNED.is_due() {
        tracing::warn!(
            peer = peer.map(tracing::field::display),
            error,
            "a connection of a trusted proxy is closed: proxy_protocol is true, so each must begin with a PROXY protocol header"
        );
    }
    None
}

/// How a connection begins that should begin with a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstBytes {
    /// A header of the PROXY protocol, which TLS would report only as a failed handshake.
    ProxyHeader,
    /// Something else.
    Other,
    /// No byte came before the deadline, the connection's end or the server's shutdown.
    Nothing,
}

/// Peeks at the first bytes, without consuming them.
pub(super) async fn peek(stream: &TcpStream, deadline: Instant, drain: &mut watch::Receiver<bool>) -> FirstBytes {
    let mut start = [0; V2.len()];
    let seen = tokio::select! {
        biased;
        seen = timeout_at(deadline, stream.peek(&mut start)) => seen.ok().and_then(Result::ok),
        _ = drain.wait_for(|drains| *drains) => None,
    };
    match seen.and_then(|length| start.get(..length)) {
        None | Some([]) => FirstBytes::Nothing,
        Some(seen) if is_header(seen) == Some(true) => FirstBytes::ProxyHeader,
        Some(_) => FirstBytes::Other,
    }
}

/// Logs which settings would make the server accept PROXY protocol headers.
pub(super) fn warn_of_unexpected(client: Option<LoggedClient>) {
    static WARNED: WarningLimiter = WarningLimiter::new();
    if WARNED.is_due() {
        tracing::warn!(
            client = client.map(tracing::field::display),
            "a connection begins with a PROXY protocol header and is closed: set proxy_protocol = true and add its address to trusted_proxies, or configure the proxy there to send no header"
        );
    }
}

/// Reads the header, and no byte after it.
async fn read(stream: &mut TcpStream) -> Result<ProxyHeader, ProxyHeaderError> {
    // The shortest header, `PROXY UNKNOWN` with its line end, has 15 bytes.
    let mut start = [0; V2.len()];
    stream.read_exact(&mut start).await?;
    if start == *V2 {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [command, family, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_BYTES {
            return Err(ProxyHeaderError::Malformed);
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return version_2(command, family, &rest).ok_or(ProxyHeaderError::Malformed);
    }
    if !start.starts_with(V1) {
        return Err(ProxyHeaderError::Absent);
    }
    let mut line = start.to_vec();
    while line.len() < V1_BYTES {
        let mut ahead = [0; V1_BYTES];
        let free = ahead.get_mut(..V1_BYTES - line.len()).unwrap_or_default();
        let seen = stream.peek(free).await?;
        let seen = free.get(..seen).unwrap_or_default();
        if seen.is_empty() {
            return Err(ProxyHeaderError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = seen.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let mut taken = vec![0; end.unwrap_or(seen.len())];
        stream.read_exact(&mut taken).await?;
        line.extend_from_slice(&taken);
        if end.is_some() {
            return version_1(&line).ok_or(ProxyHeaderError::Malformed);
        }
    }
    Err(ProxyHeaderError::Malformed)
}

/// `PROXY TCP4 192.0.2.1 10.0.0.1 56324 443`
fn version_1(line: &[u8]) -> Option<ProxyHeader> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ').skip(1);
    let (source, target): (IpAddr, IpAddr) = match words.next()? {
        // The rest of the line has no meaning.
        "UNKNOWN" => return Some(ProxyHeader::Local),
        "TCP4" => (IpAddr::V4(words.next()?.parse().ok()?), IpAddr::V4(words.next()?.parse().ok()?)),
        "TCP6" => (IpAddr::V6(words.next()?.parse().ok()?), IpAddr::V6(words.next()?.parse().ok()?)),
        _ => return None,
    };
    let mut port = || words.next()?.parse::<u16>().ok();
    port()?;
    port()?;
    let is_whole = words.next().is_none() && source.is_ipv4() == target.is_ipv4();
    is_whole.then(|| ProxyHeader::Client(source.to_canonical()))
}

/// `command`: version and command; `family`: family and protocol; `rest`: the bytes after the length (section 2.2).
fn version_2(command: u8, family: u8, rest: &[u8]) -> Option<ProxyHeader> {
    match (command, family) {
        (0x21, 0x11) => {
            let source: [u8; 4] = rest.get(..12)?.get(..4)?.try_into().ok()?;
            Some(ProxyHeader::Client(Ipv4Addr::from(source).into()))
        }
        (0x21, 0x21) => {
            let source: [u8; 16] = rest.get(..36)?.get(..16)?.try_into().ok()?;
            Some(ProxyHeader::Client(IpAddr::from(Ipv6Addr::from(source)).to_canonical()))
        }
        // The proxy's own connection, or a family without an IP address.
        (0x20 | 0x21, _) => Some(ProxyHeader::Local),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The bytes of a version 2 header.
    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &length, rest].concat()
    }

    fn client(text: &str) -> ProxyHeader {
        ProxyHeader::Client(text.parse().unwrap())
    }

    /// The header that is read from pieces of so many bytes, and the bytes behind it.
    async fn read_of(bytes: &[u8], piece: usize) -> (Result<ProxyHeader, ProxyHeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        writer.set_nodelay(true).unwrap();
        let (mut reader, _) = listener.accept().await.unwrap();
        let bytes = bytes.to_vec();
        let writing = async move {
            for piece in bytes.chunks(piece) {
                // Whoever reads may have seen enough.
                let _ = writer.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            let read = read(&mut reader).await;
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest).await;
            (read, rest)
        };
        tokio::join!(writing, reading).1
    }

    #[tokio::test]
    async fn both_versions_say_who_the_client_is_and_leave_what_stands_behind_them() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 4, 1, 187];
        let v6 = [
            &"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets()[..],
            &Ipv6Addr::LOCALHOST.octets(),
            &[0xdc, 4, 1, 187],
        ]
        .concat();
        let mapped = ["::ffff:192.0.2.1", "::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets()).concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n".to_vec(), client("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec(), client("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 443\r\n".to_vec(), client("192.0.2.1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Local),
            (b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n".to_vec(), ProxyHeader::Local),
            (second(0x21, 0x11, &v4), client("192.0.2.1")),
            // What a cloud adds behind the addresses is no matter.
            (second(0x21, 0x11, &[&v4[..], &[0xea, 0, 2, 1, 2]].concat()), client("192.0.2.1")),
            (second(0x21, 0x21, &v6), client("2001:db8::1")),
            (second(0x21, 0x21, &[mapped, vec![0; 4]].concat()), client("192.0.2.1")),
            (second(0x20, 0x00, &[]), ProxyHeader::Local),
            (second(0x20, 0x11, &v4), ProxyHeader::Local),
            (second(0x21, 0x31, &[0; 216]), ProxyHeader::Local),
        ] {
            for piece in [1, 7, 1000] {
                let sent = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
                let (read, rest) = read_of(&sent, piece).await;
                assert_eq!(read.unwrap(), expected, "{header:?}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_introduces_nobody() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES));
        for sent in [
            &b"PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443 1\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 99999\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 56324 443\r\n",
            b"PROXY TCP6 192.0.2.1 10.0.0.1 56324 443\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\n",
            long.as_bytes(),
            &second(0x11, 0x11, &[0; 12]),
            &second(0x22, 0x11, &[0; 12]),
            &second(0x21, 0x11, &[0; 11]),
            &second(0x21, 0x21, &[0; 35]),
            &[&V2[..], &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            let (read, _) = read_of(sent, 1000).await;
            assert!(
                matches!(read, Err(ProxyHeaderError::Malformed)),
                "{read:?}: {}",
                String::from_utf8_lossy(sent)
            );
        }
        for sent in [&b"GET /v2/ HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"] {
            assert!(matches!(read_of(sent, 1000).await.0, Err(ProxyHeaderError::Absent)), "{sent:?}");
        }
        for sent in [&b""[..], b"PROX", b"PROXY TCP4 192.0.2.1", &V2[..], &second(0x21, 0x11, &[0; 12])[..20]] {
            assert!(matches!(read_of(sent, 1000).await.0, Err(ProxyHeaderError::Ended(_))), "{sent:?}");
        }
    }

    #[test]
    fn the_first_bytes_tell_whether_a_header_begins() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"P", None),
            (b"PROXY", None),
            (b"PROXY ", Some(true)),
            (b"PROXY TCP4 ", Some(true)),
            (b"PRI * HTTP/2.0", Some(false)),
            (b"PUT /", Some(false)),
            (b"GET", Some(false)),
            (b"\r\n", None),
            (b"\r\nGET / HTTP/1.1", Some(false)),
            (&V2[..11], None),
            (&V2[..], Some(true)),
            (&second(0x20, 0, &[]), Some(true)),
        ] {
            assert_eq!(is_header(bytes), expected, "{bytes:?}");
        }
    }
}
