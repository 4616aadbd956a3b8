//! Who fetches which bytes of a blob, pure: one stream from the beginning, and parts beside it.
//!
//! Parts are tried beyond what the stream will soon have brought, and only when the first of them has come does the stream
//! end where they begin: until then nothing says that the upstream gives parts.

use super::spool::Spool;

/// Who fetches what.
pub(super) struct Claims {
    total: u64,
    /// A stream of all that is left is under way, up to here if parts come.
    stream: Option<u64>,
    /// How far the stream has got.
    pub(super) stream_at: u64,
    /// Whether a part has come.
    is_proved: bool,
    /// Whether no more parts are to be tried beside others.
    is_closed: bool,
    /// Parts that somebody is at.
    taken: Vec<(u64, u64)>,
}

impl Claims {
    /// With a stream from the beginning, or without one.
    pub(super) fn new(total: u64, has_stream: bool) -> Self {
        let stream = has_stream.then_some(total);
        Self { total, stream, stream_at: 0, is_proved: false, is_closed: false, taken: Vec::new() }
    }

    /// Room for parts behind the stream: it goes on for so many bytes.
    pub(super) fn split(&mut self, bytes: u64) {
        if self.stream == Some(self.total) {
            self.stream = Some(self.stream_at.saturating_add(bytes).min(self.total));
        }
    }

    /// Where the stream ends, as far as is known.
    pub(super) fn stream_end(&self) -> u64 {
        match self.stream {
            Some(end) if self.is_proved => end,
            Some(_) | None => self.total,
        }
    }

    /// A stream begins here that goes to the end.
    pub(super) fn begin_stream(&mut self, position: u64) {
        (self.stream, self.stream_at) = (Some(self.total), position);
        self.is_closed = true;
    }

    /// The stream is over: what it has not brought is anybody's.
    pub(super) fn end_stream(&mut self) {
        self.stream = None;
    }

    /// The next part that is not here and that nobody is at, of at most so many bytes; it is taken then.
    pub(super) fn next(&mut self, spool: &Spool, most: u64) -> Option<(u64, u64)> {
        let mut position = self.stream.unwrap_or(0);
        loop {
            let (first, end) = spool.gap(position, most)?;
            let at = self.taken.iter().find(|(from, until)| (*from..*until).contains(&first));
            if let Some((_, until)) = at {
                position = *until;
                continue;
            }
            let before = self.taken.iter().map(|(from, _)| *from).filter(|from| *from > first);
            let claim = (first, before.fold(end, u64::min));
            self.taken.push(claim);
            return Some(claim);
        }
    }

    /// It has come, or is anybody's again.
    pub(super) fn give_back(&mut self, claim: (u64, u64)) {
        self.taken.retain(|taken| *taken != claim);
    }

    /// A part has come: the upstream gives parts.
    pub(super) fn prove(&mut self) {
        self.is_proved = true;
    }

    /// A part did not come: no more are tried beside others. Where none ever came, the stream goes on to the end.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        if !self.is_proved && self.stream.is_some() {
            self.stream = Some(self.total);
        }
    }

    /// Whether no more parts are to be tried beside others.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}
