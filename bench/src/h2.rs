//! As much of an HTTP/2 client (RFC 9113, prior knowledge) as it takes to ask for much and to read nothing of it: its
//! windows are closed from the beginning, so that of each answer only the head can come.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::Result;

/// Silence of this length means that a system hangs.
const SILENCE: Duration = Duration::from_secs(30);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_INITIAL_WINDOW_SIZE`, and nothing in it.
const CLOSED_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const MAX_CONCURRENT_STREAMS: u16 = 3;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Of settings and pings: an answer to one.
const ACK: u8 = 1;
/// Of headers: the request has no body, and this is all of its head.
const WHOLE: u8 = 1 | 4;

/// A connection with streams that are answered and not read.
pub(crate) struct Unread {
    stream: TcpStream,
    /// As many as were asked for, or as the server allows at once.
    pub(crate) streams: u32,
}

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// What a frame says of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// The head of an answer with 200.
    Answered,
    /// Anything that is not about a stream.
    Nothing,
}

impl Unread {
    /// Connects from this address, and asks for the path on so many streams.
    pub(crate) fn ask(address: SocketAddr, source: Ipv4Addr, path: &str, streams: u32) -> Result<Self> {
        let descriptor = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&descriptor, &SocketAddrV4::new(source, 0))?;
        connect(&descriptor, &address)?;
        let stream = TcpStream::from(descriptor);
        stream.set_read_timeout(Some(SILENCE))?;
        let mut this = Self { stream, streams };
        this.stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &CLOSED_WINDOW)].concat())?;
        let most = loop {
            let next = this.next()?;
            if next.kind == SETTINGS && next.flags & ACK == 0 {
                break most_streams(&next.payload);
            }
        };
        this.streams = streams.min(most);
        this.stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
        let block = request(&address.to_string(), path)?;
        // Streams of a client have odd numbers.
        let requests = (0..this.streams).flat_map(|number| frame(HEADERS, WHOLE, 2 * number + 1, &block));
        this.stream.write_all(&requests.collect::<Vec<u8>>())?;
        Ok(this)
    }

    /// Waits until each stream has the head of its answer.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let mut answered = 0;
        while answered < self.streams {
            let next = self.next()?;
            match (next.kind, next.flags & ACK == 0) {
                (SETTINGS, true) => self.stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
                (PING, true) => self.stream.write_all(&frame(PING, ACK, 0, &next.payload))?,
                _ => answered += u32::from(said(&next)? == Said::Answered),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, payload })
    }
}

/// RFC 9113, 4.1: length, type, flags, stream.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // Nothing here is longer than a request's head.
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// RFC 7541: indexed `:method: GET` and `:scheme: http`, literal `:path` and `:authority`, nothing for the table.
fn request(authority: &str, path: &str) -> Result<Vec<u8>> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(0x04, path), (0x01, authority)] {
        // Longer ones take another form of a length.
        let length = u8::try_from(value.len()).ok().filter(|length| *length < 127);
        block.extend([name, length.ok_or_else(|| format!("{value} is too long"))?]);
        block.extend(value.as_bytes());
    }
    Ok(block)
}

/// As many as a server allows at once, if it says so.
fn most_streams(settings: &[u8]) -> u32 {
    let settings = settings.as_chunks::<6>().0.iter();
    let most = settings.map(|[a, b, value @ ..]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value)));
    most.filter(|(name, _)| *name == MAX_CONCURRENT_STREAMS)
        .map(|(_, value)| value)
        .next_back()
        .unwrap_or(u32::MAX)
}

fn said(frame: &Frame) -> Result<Said> {
    match frame.kind {
        HEADERS => {
            // An encoder may say the size of its table first. Then `:status: 200` is one byte.
            let first = frame.payload.iter().find(|byte| *byte & 0xe0 != 0x20);
            if first == Some(&0x88) {
                Ok(Said::Answered)
            } else {
                Err("a stream was not answered with 200".into())
            }
        }
        RST_STREAM => Err("a stream was refused".into()),
        GOAWAY => Err("the connection was refused".into()),
        _ => Ok(Said::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_heads_are_as_the_standards_have_them() {
        assert_eq!(frame(SETTINGS, ACK, 0, &[]), [0, 0, 0, 4, 1, 0, 0, 0, 0]);
        assert_eq!(frame(SETTINGS, 0, 0, &CLOSED_WINDOW)[..9], [0, 0, 6, 4, 0, 0, 0, 0, 0]);
        assert_eq!(frame(HEADERS, WHOLE, 7, b"xy"), [0, 0, 2, 1, 5, 0, 0, 0, 7, b'x', b'y']);
        let block = request("h:1", "/v2/").unwrap();
        assert_eq!(block, b"\x82\x86\x04\x04/v2/\x01\x03h:1");
        assert!(request("h:1", &"x".repeat(127)).is_err());
    }

    #[test]
    fn a_server_says_how_many_streams_it_takes() {
        assert_eq!(most_streams(&[]), u32::MAX);
        assert_eq!(most_streams(&[0, 4, 0, 1, 0, 0]), u32::MAX);
        assert_eq!(most_streams(&[0, 4, 0, 1, 0, 0, 0, 3, 0, 0, 1, 0]), 256);
    }

    #[test]
    fn only_a_200_is_an_answer() {
        let of = |kind, payload: &[u8]| said(&Frame { kind, flags: 0, payload: payload.to_vec() });
        assert_eq!(of(HEADERS, &[0x88, 1]).unwrap(), Said::Answered);
        assert_eq!(of(HEADERS, &[0x20, 0x88]).unwrap(), Said::Answered);
        assert!(of(HEADERS, &[0x8d]).is_err() && of(HEADERS, &[]).is_err());
        assert!(of(RST_STREAM, &[0; 4]).is_err() && of(GOAWAY, &[0; 8]).is_err());
        assert_eq!(of(8, &[0; 4]).unwrap(), Said::Nothing);
    }
}
