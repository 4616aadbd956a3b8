//! Frames and heads, as far as a client needs them.

use std::io::Read;

use crate::Result;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
/// Of settings and pings: an answer to one.
pub(super) const ACK: u8 = 1;
/// Of headers: the request has no body, and this is all of its head.
pub(super) const WHOLE: u8 = 1 | 4;
/// Of data: the last of its stream.
pub(super) const END: u8 = 1;

/// In which scheme a request asks.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What a frame says of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The head of an answer with 200.
    Answered,
    /// Anything that is not about a stream.
    Nothing,
}

/// RFC 9113, 4.1.
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
}

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

impl FrameHead {
    pub(super) fn read(stream: &mut impl Read) -> Result<Self> {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        Ok(Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags })
    }

    pub(super) fn with_payload(self, stream: &mut impl Read) -> Result<Frame> {
        let mut payload = vec![0; usize::try_from(self.length)?];
        stream.read_exact(&mut payload)?;
        Ok(Frame { kind: self.kind, flags: self.flags, payload })
    }
}

impl Frame {
    pub(super) fn read(stream: &mut impl Read) -> Result<Self> {
        FrameHead::read(stream)?.with_payload(stream)
    }
}

/// RFC 9113, 4.1: length, type, flags, stream.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // Nothing here is longer than a request's head.
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// RFC 7541: indexed `:method: GET` and `:scheme`, literal `:path` and `:authority`, nothing for the table.
pub(super) fn request(scheme: Scheme, authority: &str, path: &str) -> Result<Vec<u8>> {
    let scheme = match scheme {
        Scheme::Http => 0x86,
        Scheme::Https => 0x87,
    };
    let mut block = vec![0x82, scheme];
    for (name, value) in [(0x04, path), (0x01, authority)] {
        // Longer ones take another form of a length.
        let length = u8::try_from(value.len()).ok().filter(|length| *length < 127);
        block.extend([name, length.ok_or_else(|| format!("{value} is too long"))?]);
        block.extend(value.as_bytes());
    }
    Ok(block)
}

pub(super) fn said(frame: &Frame) -> Result<Said> {
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
        assert_eq!(frame(HEADERS, WHOLE, 7, b"xy"), [0, 0, 2, 1, 5, 0, 0, 0, 7, b'x', b'y']);
        let block = request(Scheme::Http, "h:1", "/v2/").unwrap();
        assert_eq!(block, b"\x82\x86\x04\x04/v2/\x01\x03h:1");
        assert!(request(Scheme::Http, "h:1", &"x".repeat(127)).is_err());
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
