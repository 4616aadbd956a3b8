//! Prints the events of a cache command, as text or as JSON lines.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use registry_proxy_core::admin::{CacheStats, Event, HeldState, HoldEntry, Image, Purged, Verified};
use serde::Serialize;

use crate::human::{size, span};
use crate::terminal::print;

/// Shortest time between two updates of the progress line.
const REDRAW: Duration = Duration::from_millis(100);

/// Prints events.
pub(super) struct Show {
    is_json: bool,
    is_terminal: bool,
    /// Standard output has something else.
    to_stderr: bool,
    state: Mutex<ShowState>,
}

#[derive(Default)]
struct ShowState {
    place: String,
    images: Vec<Image>,
    held: Vec<HoldEntry>,
    drawn: Option<Instant>,
    /// Something did not match its digest, could not be read or could not be printed.
    has_failed: bool,
}

impl Show {
    pub(super) fn new(is_json: bool) -> Self {
        let is_terminal = !is_json && std::io::stderr().is_terminal();
        Self { is_json, is_terminal, to_stderr: false, state: Mutex::default() }
    }

    /// Prints to standard error, since the output of the command goes to standard output.
    pub(super) fn beside_output(self) -> Self {
        Self { to_stderr: true, ..self }
    }

    /// Prints a line of text, or one of JSON.
    pub(super) fn line(&self, value: &impl Serialize, text: &str) {
        let mut state = self.state();
        self.wipe(&mut state);
        let json = || serde_json::to_string(value).unwrap_or_default() + "\n";
        let line = if self.is_json { json() } else { text.to_owned() };
        if self.to_stderr {
            let _ = std::io::stderr().write_all(line.as_bytes());
        } else {
            state.print(&line);
        }
    }

    /// Shows how many bytes are done, on a terminal.
    pub(super) fn progress(&self, done: u64, total: Option<u64>) {
        let mut state = self.state();
        match total {
            Some(total) => self.draw(&mut state, &percent(done, total)),
            None => self.draw(&mut state, &size(done)),
        }
    }

    /// Sets the place of the cache, as shown by `stat`.
    pub(super) fn begin(&self, place: &str) {
        place.clone_into(&mut self.state().place);
    }

    pub(super) fn tell(&self, event: Event) {
        let mut state = self.state();
        if let Event::Progress(done, total) = event {
            self.draw(&mut state, &percent(done, total));
            return;
        }
        self.wipe(&mut state);
        if let Event::Wrong(_) | Event::Unread(_) = event {
            state.has_failed = true;
        }
        if self.is_json {
            let line = serde_json::to_string(&event).unwrap_or_default();
            state.print(&(line + "\n"));
            return;
        }
        match event {
            Event::Progress(..) => {}
            Event::Image(image) => state.images.push(image),
            Event::Held(tag) => state.held.push(tag),
            Event::Counted(_) if state.held.is_empty() => {
                state.print("clients get every tag that matches as its registry has it\n");
            }
            Event::Counted(_) => {
                let text = held_table(&state.held);
                state.print(&text);
            }
            Event::Wrong(key) => state.print(&format!("does not match its digest, removed: {key}\n")),
            Event::Unread(key) => state.print(&format!("could not be read to its end, not removed: {key}\n")),
            Event::Tag { name, from, to } => {
                let [from, to] = [from, to].map(|digest| digest.unwrap_or_else(|| "nothing".to_owned()));
                state.print(&format!("{name}: from {from} to {to}\n"));
            }
            Event::Led(0) => state.print(
                "no tag was changed: none that matches is held; an image's name is registry/repository:tag\n",
            ),
            Event::Led(count) => state.print(&format!("{count} tags changed\n")),
            Event::Stat(stat) => {
                let text = of_stat(&stat, &state.place);
                state.print(&text);
            }
            Event::Listed(0) => state.print("no image matches; an image's name is upstream/repository:tag\n"),
            Event::Listed(_) => {
                let text = table(&state.images);
                state.print(&text);
            }
            Event::Purged(purged) => {
                let text = table(&state.images) + &of_purge(&purged);
                state.print(&text);
            }
            Event::Verified(verified) => state.print(&of_verified(&verified)),
        }
    }

    /// The exit status.
    pub(super) fn finish(&self) -> ExitCode {
        self.clear();
        if self.state().has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Removes the progress line from the terminal.
    pub(super) fn clear(&self) {
        self.wipe(&mut self.state());
    }

    fn draw(&self, state: &mut ShowState, text: &str) {
        if !self.is_terminal || state.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        state.drawn = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    fn wipe(&self, state: &mut ShowState) {
        if self.is_terminal && state.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn state(&self) -> MutexGuard<'_, ShowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShowState {
    fn print(&mut self, text: &str) {
        self.has_failed |= print(text) != ExitCode::SUCCESS;
    }
}

fn percent(done: u64, total: u64) -> String {
    format!("{:3} %", done.saturating_mul(100).checked_div(total).unwrap_or(100))
}

fn of_stat(stat: &CacheStats, place: &str) -> String {
    let free = stat.free_bytes.map_or("unknown".to_owned(), size);
    let oldest = stat.oldest_seconds.map_or("no content".to_owned(), |age| format!("last used {} ago", span(age)));
    let fills = stat.fills.map_or("unknown: no server answered".to_owned(), |fills| fills.to_string());
    format!(
        "cache      {place}\nblobs      {}\nmanifests  {}\ntags       {}\nlinks      {}\nsize       {}\nfree       {free}\noldest     {oldest}\nfetching   {fills}\n",
        stat.blobs,
        stat.manifests,
        stat.tags,
        stat.links,
        size(stat.bytes),
    )
}

fn of_purge(purged: &Purged) -> String {
    let verb = if purged.dry_run { "would be removed" } else { "removed" };
    format!(
        "{verb}: {} tags, {} manifests, {} blobs, {}\n",
        purged.tags,
        purged.manifests,
        purged.blobs,
        size(purged.bytes)
    )
}

fn of_verified(verified: &Verified) -> String {
    let mut text = format!(
        "{} blobs ({}) and {} manifests read; {} did not match",
        verified.blobs,
        size(verified.bytes),
        verified.manifests,
        verified.wrong
    );
    if verified.unread > 0 {
        let _ = write!(text, "; {} could not be read to the end", verified.unread);
    }
    if verified.unknown > 0 {
        let _ = write!(text, "; {} with a digest algorithm that this program does not support", verified.unknown);
    }
    text + "\n"
}

/// A digest, as far as people compare it.
fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// One line per tag: name, why it is listed, what clients get, what the registry has, and since when.
fn held_table(tags: &[HoldEntry]) -> String {
    let width = tags.iter().map(|tag| tag.name.len()).max().unwrap_or(0);
    tags.iter().fold(String::new(), |mut text, tag| {
        let state = match tag.state {
            HeldState::Held => "held",
            HeldState::New => "new",
            HeldState::Pinned => "pinned",
        };
        let served = tag.served.as_deref().map_or("clients get nothing".to_owned(), short);
        let _ = write!(text, "{:width$}  {state:6}  {served:19}", tag.name);
        if let Some(upstream) = &tag.upstream {
            let ago = tag.newest_seconds_ago.map(span).unwrap_or_default();
            let _ = write!(text, "  the registry has {} for {ago}", short(upstream));
        }
        text.push('\n');
        text
    })
}

/// One line per image: name, digest, age, size, cached layers.
fn table(images: &[Image]) -> String {
    let width = images.iter().map(|image| image.name.len()).max().unwrap_or(0);
    images.iter().fold(String::new(), |mut text, image| {
        let digest = short(&image.digest);
        let here = match (image.is_complete, image.layers) {
            (true, _) => "complete".to_owned(),
            (false, 0) => "no layers".to_owned(),
            (false, layers) => format!("{} of {layers} layers", image.layers_here),
        };
        let age = span(image.confirmed_seconds_ago);
        let _ = writeln!(text, "{:width$}  {digest}  {age:>7}  {:>10}  {here}", image.name, size(image.bytes));
        text
    })
}
