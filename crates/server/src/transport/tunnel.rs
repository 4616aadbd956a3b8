//! Tunnels through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6), and recognises a proxy's own error responses.

use http::header::SERVER;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest head of a proxy's response.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// An error of an egress proxy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// It refused: us, this destination, or because it cannot reach it.
    #[error("the proxy {proxy} answered {status} to {to}")]
    Refused {
        /// Its host and port.
        proxy: Box<str>,
        /// What it answered.
        status: StatusCode,
        /// The request: `CONNECT host:443`, or the host of a forwarded one.
        to: Box<str>,
    },
    /// It was not reached, or the connection broke.
    #[error("through the proxy {proxy}")]
    Broken {
        /// Its host and port.
        proxy: Box<str>,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProxyError {
    pub(super) fn broken(proxy: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken { proxy: proxy.into(), source: error.into() }
    }
}

/// Whether a response is the proxy's own error and not the upstream's response: by its status (RFC 9110 section 15.5.8), by
/// `Proxy-Status` (RFC 9209), or by the headers of squid and tinyproxy.
pub(super) fn is_of_proxy(status: StatusCode, headers: &HeaderMap) -> bool {
    let has = |name: &str, part: &str| {
        let mut lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.any(|line| line.to_ascii_lowercase().contains(part))
    };
    let is_error = status.is_client_error() || status.is_server_error();
    let is_tinyproxy = headers.get(SERVER).is_some_and(|server| server.as_bytes().starts_with(b"tinyproxy"));
    status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
        || is_error && (is_tinyproxy || headers.contains_key("x-squid-error") || has("proxy-status", "error="))
}

/// Opens a tunnel to `target` (`host:port`) on a connection to a proxy.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &str,
    target: &str,
    login: Option<&HeaderValue>,
) -> Result<(), ProxyError> {
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(login) = login {
        head.extend([b"Proxy-Authorization: ", login.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let said = ask(stream, &head).await.map_err(|error| ProxyError::broken(proxy, error))?;
    let status = status_of(&said).ok_or_else(|| ProxyError::broken(proxy, "its answer to CONNECT is none"))?;
    // Any 2xx, and no other status, means that the tunnel is open.
    if status.is_success() {
        return Ok(());
    }
    Err(ProxyError::Refused { proxy: proxy.into(), status, to: format!("CONNECT {target}").into() })
}

/// The head of the response. Nothing follows it, since in the tunnel the client speaks first.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, head: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(head).await?;
    stream.flush().await?;
    let mut said = Vec::new();
    // Read byte by byte, so that nothing that belongs to the tunnel is consumed. This happens once per connection.
    while !said.ends_with(b"\r\n\r\n") {
        if said.len() == MAX_HEAD_BYTES {
            return Err(std::io::Error::other("the head of its answer is too long"));
        }
        said.push(stream.read_u8().await?);
    }
    Ok(said)
}

/// `HTTP/1.1 200 Connection established`
fn status_of(head: &[u8]) -> Option<StatusCode> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().filter(|version| version.starts_with(b"HTTP/1."))?;
    StatusCode::from_bytes(words.next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a proxy's answer, and what it was asked.
    async fn answered(said: &'static str, login: Option<&str>) -> (Result<(), String>, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        let proxy = tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(said.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let login = login.map(|login| HeaderValue::from_str(login).unwrap());
        let opened = open(&mut ours, "proxy.test:3128", "up.test:443", login.as_ref()).await;
        (opened.map_err(|error| error.to_string()), proxy.await.unwrap())
    }

    #[test]
    fn a_refusal_of_a_proxy_is_told_from_that_of_a_registry() {
        for (status, name, value, expected) in [
            (407, "via", "1.1 x", true),
            (403, "x-squid-error", "ERR_ACCESS_DENIED 0", true),
            (503, "x-squid-error", "ERR_CONNECT_FAIL 111", true),
            (403, "server", "tinyproxy/1.11.1", true),
            (502, "proxy-status", "egress; error=connection_refused", true),
            // What it passes on.
            (403, "via", "1.1 squid (squid/5.7)", false),
            (403, "server", "nginx", false),
            (404, "proxy-status", "egress; received-status=404", false),
            (200, "server", "tinyproxy/1.11.1", false),
        ] {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_of_proxy(status, &headers), expected, "{status} {name}: {value}");
        }
    }

    #[tokio::test]
    async fn any_2xx_opens_the_tunnel() {
        for said in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 204  \r\nVia: x\r\n\r\n",
            "HTTP/1.1 201\r\n\r\n",
        ] {
            let (opened, asked) = answered(said, None).await;
            assert_eq!(
                (opened, &*asked),
                (Ok(()), "CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n"),
                "{said}"
            );
        }
        let (_, asked) = answered("HTTP/1.1 200 OK\r\n\r\n", Some("Basic eA==")).await;
        assert!(asked.ends_with("\r\nProxy-Authorization: Basic eA==\r\n\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_names_the_proxy_and_its_status() {
        for (said, expected) in [
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n<html>",
                "the proxy proxy.test:3128 answered 403 Forbidden to CONNECT up.test:443",
            ),
            (
                "HTTP/1.1 407 x\r\n\r\n",
                "the proxy proxy.test:3128 answered 407 Proxy Authentication Required to CONNECT up.test:443",
            ),
            ("HTTP/1.1 302 Found\r\n\r\n", "the proxy proxy.test:3128 answered 302 Found to CONNECT up.test:443"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "through the proxy proxy.test:3128"),
            ("HTTP/1.1 2", "through the proxy proxy.test:3128"),
        ] {
            assert_eq!(answered(said, None).await.0, Err(expected.to_owned()), "{said}");
        }
    }
}
