//! Downloads over a connection of its own, with the windows of Go's client.

use std::io::{Read, Write};

use super::frame::{
    ACK, DATA, END, FrameHead, HEADERS, PING, PREFACE, SETTINGS, Scheme, WHOLE, WINDOW_UPDATE, frame, request,
    said,
};
use crate::Result;
use crate::http::discard;

/// The windows of Go's client, and so of most clients of registries: of a stream …
const STREAM_WINDOW: u32 = 4 << 20;
/// … and of a connection, beyond what it has by default. A download is smaller.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// A stream's window is opened again for so many bytes.
const REFRESH: u32 = 1 << 20;

/// Asks for the path on a connection, drops what comes, and says how many bytes it had.
pub(crate) fn download(stream: &mut (impl Read + Write), authority: &str, path: &str) -> Result<u64> {
    let mut settings = vec![0, 4];
    settings.extend(STREAM_WINDOW.to_be_bytes());
    let opening = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &settings),
        &frame(WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes()),
        &frame(HEADERS, WHOLE, 1, &request(Scheme::Https, authority, path)?),
    ];
    stream.write_all(&opening.concat())?;
    let (mut have, mut unannounced) = (0, 0);
    loop {
        let head = FrameHead::read(stream)?;
        if head.kind == DATA {
            discard(stream, head.length.into())?;
            have += u64::from(head.length);
            unannounced += head.length;
            if head.flags & END != 0 {
                return Ok(have);
            }
            if unannounced >= REFRESH {
                stream.write_all(&frame(WINDOW_UPDATE, 0, 1, &unannounced.to_be_bytes()))?;
                unannounced = 0;
            }
            continue;
        }
        let next = head.with_payload(stream)?;
        match (next.kind, next.flags & ACK == 0) {
            (SETTINGS, true) => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            (PING, true) => stream.write_all(&frame(PING, ACK, 0, &next.payload))?,
            _ => {
                said(&next)?;
            }
        }
    }
}
