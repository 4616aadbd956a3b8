//! As much of an HTTP/1.1 client as the measurements need.
//!
//! The client shares the processors with what it measures, so it must cost next
//! to nothing: bodies are dropped inside the kernel and never copied out.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

use crate::Result;

/// Silence of this length means that a system hangs.
const SILENCE: Duration = Duration::from_secs(30);

/// An answer whose head was read; the body still comes.
pub(crate) struct Answer {
    stream: TcpStream,
    pub(crate) status: u16,
    head: String,
    /// What came of the body in the same read as the head.
    start: Vec<u8>,
}

/// Sends a GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(format!("GET {path}: the connection ended within the head").into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let start = bytes.split_off(end);
    let head = String::from_utf8(bytes)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| format!("GET {path}: no status in {head:?}"))?;
    Ok(Answer { stream, status, head, start })
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The announced length of the body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// How much of the body is here already.
    pub(crate) fn arrived(&self) -> u64 {
        self.start.len() as u64
    }

    /// Waits for more of the body and drops it; `window` is only a length to the
    /// kernel, nothing is written to it.
    pub(crate) fn discard(&mut self, window: &mut [u8]) -> io::Result<u64> {
        let (_, count) = recv(&self.stream, window, RecvFlags::TRUNC)?;
        Ok(count as u64)
    }

    /// The whole body.
    pub(crate) fn body(mut self) -> Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.start)?;
        Ok(self.start)
    }
}
