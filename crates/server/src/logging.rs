//! The log: one line per event on standard error, as text or JSON.
//!
//! A thread writes buffered lines a few times a second, so that a busy proxy does not wait for each line. Warnings and errors
//! are written at once.

mod line_time;

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use registry_proxy_core::config::{ConfigError, Log, LogFormat};
use registry_proxy_core::spans;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::{audit, traces};

/// How long a line may stay in the buffer.
const LINGER: Duration = Duration::from_millis(50);
/// Bytes that may be in the buffer.
const MAX_WAITING_BYTES: usize = 64 << 10;

static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// What is being written; empty between two writes. The two buffers change places, so that neither grows anew.
static WRITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Starts logging.
pub(crate) fn start(log: &Log) -> Result<(), ConfigError> {
    let spans = if traces::is_on() { LevelFilter::TRACE } else { LevelFilter::OFF };
    let subscriber = tracing_subscriber::registry().with(filter(log)?.with_target(spans::TARGET, spans));
    match (log.format, traces::is_on()) {
        (LogFormat::Text, false) => subscriber.with(text_lines()).init(),
        (LogFormat::Json, false) => subscriber.with(json_lines()).init(),
        // A filter of its own keeps spans from the lines: each would be formatted for nothing.
        (LogFormat::Text, true) => {
            let lines = text_lines().with_filter(filter_fn(is_event));
            subscriber.with(traces::layer()).with(lines).init();
        }
        (LogFormat::Json, true) => {
            let lines = json_lines().with_filter(filter_fn(is_event));
            subscriber.with(traces::layer()).with(lines).init();
        }
    }
    let flusher = std::thread::Builder::new().name("log".to_owned()).spawn(|| {
        loop {
            std::thread::sleep(LINGER);
            flush();
        }
    });
    flusher.map(drop).map_err(|error| ConfigError { place: "log".to_owned(), what: error.to_string() })
}

/// For a filter, which takes metadata of any lifetime; the method of the same name does not.
fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

fn text_lines<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(BufferedWriter);
    lines.with_ansi(io::stderr().is_terminal()).event_format(Plain)
}

fn json_lines<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(BufferedWriter);
    lines.json().flatten_event(true).with_current_span(false).with_span_list(false)
}

/// Parses `log.level`: `info`, or `info,hyper=debug` with another level for one module.
pub(crate) fn filter(log: &Log) -> Result<Targets, ConfigError> {
    // Whoever wants few lines wants these: a part of the level that names them stands above this.
    let mut filter = Targets::new().with_target(audit::TARGET, LevelFilter::INFO);
    for part in log.level.split(',') {
        // The library's parser would take `inof` for a module and log nothing else.
        let (target, level) = part.rsplit_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        let level =
            Some(level).filter(|level| !level.is_empty()).and_then(|level| level.parse::<LevelFilter>().ok());
        filter = match (target, level) {
            (None, Some(level)) => filter.with_default(level),
            (Some(target), Some(level)) if !target.is_empty() => filter.with_target(target, level),
            (_, _) => {
                return Err(ConfigError {
                    place: "log.level".to_owned(),
                    what: format!(
                        "`{part}` is not a level; expected error, warn, info or debug, or a filter such as info,hyper=debug"
                    ),
                });
            }
        };
    }
    Ok(filter)
}

/// The time as a log line has it: `2026-11-30T13:22:33.123456Z` (RFC 3339).
pub(crate) fn now() -> String {
    let mut text = String::new();
    line_time::write(&mut text);
    text
}

/// Writes the buffered lines. Also called when the process ends.
pub(crate) fn flush() {
    // One writer at a time keeps the lines in order; adding a line does not wait for it.
    let mut lines = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::swap(&mut *lines, &mut *WAITING.lock().unwrap_or_else(PoisonError::into_inner));
    if !lines.is_empty() {
        // There is nowhere to report a failure of the log.
        let _ = io::stderr().write_all(&lines);
    }
    lines.clear();
    lines.shrink_to(MAX_WAITING_BYTES + MAX_LINE_BYTES);
}

/// `time LEVEL message key=value …`. Empty values are left out; values are quoted only if they need it.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = LINE.take();
        line_time::write(&mut line);
        let (color, level) = match *event.metadata().level() {
            Level::ERROR => ("\x1b[31m", "ERROR"),
            Level::WARN => ("\x1b[33m", " WARN"),
            Level::INFO => ("\x1b[2m", " INFO"),
            Level::DEBUG => ("\x1b[2m", "DEBUG"),
            Level::TRACE => ("\x1b[2m", "TRACE"),
        };
        let (color, reset) = if writer.has_ansi_escapes() { (color, "\x1b[0m") } else { ("", "") };
        for piece in [" ", color, level, reset, " "] {
            line.push_str(piece);
        }
        let mut fields = Fields(line);
        event.record(&mut fields);
        let Fields(mut line) = fields;
        line.push('\n');
        let written = writer.write_str(&line);
        if line.capacity() <= MAX_LINE_BYTES {
            line.clear();
            LINE.set(line);
        }
        written
    }
}

/// Longest line whose buffer is used again.
const MAX_LINE_BYTES: usize = 16 << 10;

thread_local! {
    /// The buffer of this thread's next line: each request has a line, and a `String` takes its pieces faster than a
    /// writer behind a trait.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// The line as far as it is written.
struct Fields(String);

impl Fields {
    fn name(&mut self, field: &Field) -> &mut String {
        for piece in [" ", field.name(), "="] {
            self.0.push_str(piece);
        }
        &mut self.0
    }
}

/// How a byte of a value may be written.
const BARE: u8 = 0;
/// Within quotes.
const QUOTED: u8 = 1;
/// Within quotes and escaped.
const ESCAPED: u8 = 2;

/// How each byte may be written. Each request's line has some 300 bytes, so they are looked up.
const WRITTEN: [u8; 256] = {
    let mut table = [ESCAPED; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = match byte {
            b' ' | b'=' => QUOTED,
            b'"' | b'\\' => ESCAPED,
            _ => BARE,
        };
        byte += 1;
    }
    table
};

/// How a value may be written: as the byte of it that needs most.
fn written(value: &str) -> u8 {
    value.bytes().fold(BARE, |so_far, byte| so_far | WRITTEN[usize::from(byte)])
}

/// Adds a value: bare where that can be read back, else as Rust writes a string.
fn push_value(line: &mut String, value: &str) {
    match written(value) {
        BARE => line.push_str(value),
        QUOTED => {
            line.push('"');
            line.push_str(value);
            line.push('"');
        }
        // Writing to a String cannot fail.
        _ => drop(write!(line, "{value:?}")),
    }
}

/// Escapes control characters and line breaks in unquoted text.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if written(text) < ESCAPED || !text.contains(char::is_control) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| match character {
            control if control.is_control() => write!(self.0, "{}", control.escape_default()),
            other => self.0.write_char(other),
        })
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(OneLine(&mut self.0), "{value:?}");
        } else {
            self.record_str(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if value.is_empty() {
            return;
        }
        if field.name() == "message" {
            let _ = OneLine(&mut self.0).write_str(value);
            return;
        }
        push_value(self.name(field), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field).push_str(itoa::Buffer::new().format(value));
    }
}

struct BufferedWriter;

/// Writes one event's line into the buffer.
struct LogLine {
    is_urgent: bool,
}

impl<'a> MakeWriter<'a> for BufferedWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine { is_urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LogLine {
        LogLine { is_urgent: *metadata.level() <= Level::WARN }
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend_from_slice(bytes);
        let is_full = waiting.len() >= MAX_WAITING_BYTES;
        drop(waiting);
        if self.is_urgent || is_full {
            flush();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_of(level: &str) -> Result<Targets, String> {
        filter(&Log { level: level.to_owned(), ..Log::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_quoted_where_a_reader_could_not_tell_its_end() {
        for (value, line) in [
            ("hit", "hit"),
            ("127.0.0.1", "127.0.0.1"),
            ("tag is fresh", "\"tag is fresh\""),
            ("a=b", "\"a=b\""),
            ("say \"no\"", "\"say \\\"no\\\"\""),
            ("C:\\x", "\"C:\\\\x\""),
            ("a\nb", "\"a\\nb\""),
            ("\u{7f}", "\"\\u{7f}\""),
            ("größer", "\"größer\""),
        ] {
            let mut written = String::new();
            push_value(&mut written, value);
            assert_eq!(written, line);
        }
    }

    #[test]
    fn a_level_may_be_another_for_a_part_of_the_program() {
        let filter = filter_of("info,hyper=debug").expect("a filter");
        assert!(
            filter.would_enable("registry_proxy", &Level::INFO) && filter.would_enable("hyper", &Level::DEBUG)
        );
        assert!(
            !filter.would_enable("registry_proxy", &Level::DEBUG) && !filter.would_enable("hyper", &Level::TRACE)
        );
    }

    #[test]
    fn a_misspelt_level_is_refused_rather_than_silent() {
        for (level, part) in [
            ("inof", "inof"),
            ("", ""),
            ("info,", ""),
            ("info,=,", "="),
            ("info,hyper=loud", "hyper=loud"),
            ("info,hyper=", "hyper="),
            ("=info", "=info"),
        ] {
            let error = filter_of(level).expect_err(level);
            assert!(
                error.starts_with(&format!("log.level: `{part}` is not a level; expected error, warn")),
                "{error}"
            );
        }
    }
}
