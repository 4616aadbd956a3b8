//! As much of an HTTP/1.1 client as the measurements need.
//!
//! The client shares the processors with what it measures, so it must cost next
//! to nothing: bodies are dropped inside the kernel and never copied out.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SocketType, bind, connect, recv, socket};

use crate::Result;

/// Silence of this length means that a system hangs.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// What one wait for a body's bytes may bring: as much as a socket holds.
pub(crate) const WINDOW: usize = 4 << 20;

/// What is taken of a body at once where it is copied out.
const PIECE: usize = 64 << 10;

/// How many addresses the clients have where there are hundreds: a proxy may limit the connections of one.
const SOURCES: u32 = 16;

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    text: String,
    /// What came of the body in the same read.
    start: Vec<u8>,
}

impl Head {
    /// Reads it, and no more than the socket gives with its last piece.
    pub(crate) fn read(stream: &mut impl Read, path: &str) -> Result<Self> {
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
        let text = String::from_utf8(bytes)?;
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| format!("GET {path}: no status in {text:?}"))?;
        Ok(Self { status, text, start })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
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

    /// The length of a body that is what was asked for.
    pub(crate) fn length_of_200(&self, path: &str) -> Result<u64> {
        match (self.status, self.length()) {
            (200, Some(length)) => Ok(length),
            (status, length) => Err(format!("GET {path} was answered with {status} and length {length:?}").into()),
        }
    }
}

/// A GET, after which the connection is kept or closed.
pub(crate) fn request(host: SocketAddr, path: &str, connection: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n")
}

/// Connects, without delaying small requests.
pub(crate) fn dial(address: SocketAddr) -> Result<TcpStream> {
    ready(TcpStream::connect(address)?)
}

/// The same as one of many clients, which have several addresses.
pub(crate) fn dial_as(client: u32, address: SocketAddr) -> Result<TcpStream> {
    let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + client % SOURCES);
    let descriptor = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&descriptor, &SocketAddrV4::new(source, 0))?;
    connect(&descriptor, &address)?;
    ready(TcpStream::from(descriptor))
}

fn ready(stream: TcpStream) -> Result<TcpStream> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An answer whose head was read; the body still comes.
pub(crate) struct Answer {
    stream: TcpStream,
    pub(crate) head: Head,
}

/// Sends a GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = dial(address)?;
    stream.write_all(request(address, path, "close").as_bytes())?;
    let head = Head::read(&mut stream, path)?;
    Ok(Answer { stream, head })
}

impl Answer {
    /// Waits for more of the body and drops it; `window` is only a length to the
    /// kernel, nothing is written to it.
    pub(crate) fn discard(&mut self, window: &mut [u8]) -> io::Result<u64> {
        let (_, count) = recv(&self.stream, window, RecvFlags::TRUNC)?;
        Ok(count as u64)
    }

    /// The whole body.
    pub(crate) fn body(mut self) -> Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.head.start)?;
        Ok(self.head.start)
    }
}

/// A connection that takes one request after the other, as clients of registries keep theirs.
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    window: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: dial(address)?, address, window: vec![0; WINDOW] })
    }

    /// The same as one of many clients.
    pub(crate) fn open_as(client: u32, address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: dial_as(client, address)?, address, window: vec![0; WINDOW] })
    }

    /// Receives what is answered with 200, drops it, and says how many bytes it had.
    pub(crate) fn download(&mut self, path: &str) -> Result<u64> {
        self.stream.write_all(request(self.address, path, "keep-alive").as_bytes())?;
        let head = Head::read(&mut self.stream, path)?;
        let length = head.length_of_200(path)?;
        let mut missing = length.saturating_sub(head.arrived());
        while missing > 0 {
            let most = usize::try_from(missing)?.min(self.window.len());
            let (_, count) = recv(&self.stream, &mut self.window[..most], RecvFlags::TRUNC)?;
            if count == 0 {
                return Err(format!("GET {path} ended {missing} bytes too early").into());
            }
            missing -= count as u64;
        }
        Ok(length)
    }
}

/// Reads and drops so many bytes.
pub(crate) fn discard(stream: &mut impl Read, mut missing: u64) -> Result<()> {
    let mut piece = vec![0; PIECE];
    while missing > 0 {
        let most = usize::try_from(missing)?.min(PIECE);
        match stream.read(&mut piece[..most])? {
            0 => return Err(format!("a body ended {missing} bytes too early").into()),
            count => missing -= count as u64,
        }
    }
    Ok(())
}
