//! Asks for much and reads nothing of it: the windows are closed from the beginning, so that of each answer only the head
//! can come.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::frame::{ACK, Frame, HEADERS, PING, PREFACE, SETTINGS, Said, Scheme, WHOLE, frame, request, said};
use crate::{Result, http};

/// `SETTINGS_INITIAL_WINDOW_SIZE`, and nothing in it.
const CLOSED_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// A connection with streams that are answered and not read.
pub(crate) struct Unread {
    stream: TcpStream,
    /// As many as were asked for, or as the server allows at once.
    pub(crate) streams: u32,
}

impl Unread {
    /// Connects as one of many clients, and asks for the path on so many streams.
    pub(crate) fn ask(client: u32, address: SocketAddr, path: &str, streams: u32) -> Result<Self> {
        let mut this = Self { stream: http::dial_as(client, address)?, streams };
        this.stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &CLOSED_WINDOW)].concat())?;
        let most = loop {
            let next = Frame::read(&mut this.stream)?;
            if next.kind == SETTINGS && next.flags & ACK == 0 {
                break most_streams(&next.payload);
            }
        };
        this.streams = streams.min(most);
        this.stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
        let block = request(Scheme::Http, &address.to_string(), path)?;
        // Streams of a client have odd numbers.
        let requests = (0..this.streams).flat_map(|number| frame(HEADERS, WHOLE, 2 * number + 1, &block));
        this.stream.write_all(&requests.collect::<Vec<u8>>())?;
        Ok(this)
    }

    /// Waits until each stream has the head of its answer.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let mut answered = 0;
        while answered < self.streams {
            let next = Frame::read(&mut self.stream)?;
            match (next.kind, next.flags & ACK == 0) {
                (SETTINGS, true) => self.stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
                (PING, true) => self.stream.write_all(&frame(PING, ACK, 0, &next.payload))?,
                _ => answered += u32::from(said(&next)? == Said::Answered),
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_many_streams_it_takes() {
        assert_eq!(most_streams(&[]), u32::MAX);
        assert_eq!(most_streams(&[0, 4, 0, 1, 0, 0]), u32::MAX);
        assert_eq!(most_streams(&[0, 4, 0, 1, 0, 0, 0, 3, 0, 0, 1, 0]), 256);
    }

    #[test]
    fn its_windows_are_closed() {
        assert_eq!(frame(SETTINGS, 0, 0, &CLOSED_WINDOW)[..9], [0, 0, 6, 4, 0, 0, 0, 0, 0]);
    }
}
