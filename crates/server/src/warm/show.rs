//! Prints the events of a warming: lines of text with bars on a terminal, lines of text alone, or JSON lines.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_proxy_core::warm::{MissingPart, WarmEvent, WarmRequest, WarmTotals, WarmedImage};

use super::bars::WarmBars;
use crate::human::{size, span};
use crate::terminal::print;

/// Prints events.
pub(super) struct WarmShow {
    is_json: bool,
    bars: Option<WarmBars>,
    state: Mutex<WarmShowState>,
}

#[derive(Default)]
struct WarmShowState {
    of: usize,
    totals: Option<WarmTotals>,
    /// Something could not be printed.
    has_failed: bool,
}

impl WarmShow {
    pub(super) fn new(is_json: bool) -> Self {
        let is_terminal = !is_json && std::io::stderr().is_terminal();
        Self { is_json, bars: is_terminal.then(WarmBars::new), state: Mutex::default() }
    }

    /// Says what begins, and where the cache is.
    pub(super) fn begin(&self, request: &WarmRequest, place: &str) {
        if !self.is_json {
            let platforms = match request.platforms.as_slice() {
                [] => "all platforms".to_owned(),
                named => named.join(", "),
            };
            self.print(&format!("{} images, {platforms}, into {place}\n", request.images.len()));
        }
    }

    pub(super) fn tell(&self, event: &WarmEvent) {
        if let WarmEvent::Begin { of, .. } = event {
            self.state().of = *of;
        }
        if let Some(bars) = &self.bars {
            bars.follow(event);
        }
        if self.is_json {
            self.print_json(event);
        } else {
            self.print_text(event);
        }
        if let WarmEvent::End(totals) = event {
            self.state().totals = Some(*totals);
        }
    }

    /// The exit status.
    pub(super) fn finish(&self) -> ExitCode {
        self.clear();
        let state = self.state();
        let is_complete = state.totals.is_some_and(|totals| totals.complete == totals.images);
        if is_complete && !state.has_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Removes the bars from the terminal.
    pub(super) fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }

    fn print_json(&self, event: &WarmEvent) {
        match event {
            // Only a terminal has a use for these.
            WarmEvent::Arriving { .. } => {}
            WarmEvent::Begin { .. }
            | WarmEvent::Part(_)
            | WarmEvent::Waiting { .. }
            | WarmEvent::Image(_)
            | WarmEvent::End(_) => {
                self.print(&(serde_json::to_string(event).unwrap_or_default() + "\n"));
            }
        }
    }

    fn print_text(&self, event: &WarmEvent) {
        let of = self.state().of;
        match event {
            WarmEvent::Begin { .. } | WarmEvent::Arriving { .. } | WarmEvent::Part(_) => {}
            WarmEvent::Waiting { place, seconds, why } => {
                self.print(&format!("{place}/{of}  {why}; waiting {}\n", span(*seconds)));
            }
            WarmEvent::Image(image) => self.print(&of_image(image, of)),
            WarmEvent::End(totals) => self.print(&of_totals(totals)),
        }
    }

    /// Bars make room for what is printed.
    fn print(&self, text: &str) {
        let printed = match &self.bars {
            Some(bars) => bars.aside(|| print(text)),
            None => print(text),
        };
        self.state().has_failed |= printed != ExitCode::SUCCESS;
    }

    fn state(&self) -> MutexGuard<'_, WarmShowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line, and one for each part that is missing. Writing to a String cannot fail.
fn of_image(image: &WarmedImage, of: usize) -> String {
    let digest: String =
        image.digest.iter().flat_map(|digest| digest.chars()).take("sha256:".len() + 12).collect();
    let state = match (image.is_complete, image.is_stale) {
        (true, false) => "complete",
        (true, true) => "complete, though the registry did not confirm that the tag still points there",
        (false, _) => "INCOMPLETE",
    };
    let mut text = format!(
        "{}/{of}  {}  {digest}  {state}: {} layers and configurations, {} of them fetched; {} fetched, {} cached before\n",
        image.place,
        image.name,
        image.blobs,
        image.blobs_fetched,
        size(image.bytes_fetched),
        size(image.bytes_cached),
    );
    for MissingPart { what, why, .. } in &image.missing {
        let _ = writeln!(text, "      missing {what}: {why}");
    }
    if image.missing_more > 0 {
        let _ = writeln!(text, "      and {} more", image.missing_more);
    }
    text
}

fn of_totals(totals: &WarmTotals) -> String {
    format!(
        "{} of {} images complete; {} fetched, {} cached before\n",
        totals.complete,
        totals.images,
        size(totals.bytes_fetched),
        size(totals.bytes_cached),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_in_a_line_and_what_it_lacks_in_lines_below() {
        let image = WarmedImage {
            place: 2,
            name: "alpine:3".to_owned(),
            digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
            is_complete: true,
            blobs: 2,
            blobs_fetched: 1,
            bytes_fetched: 3 << 20,
            bytes_cached: 1536,
            ..WarmedImage::default()
        };
        let line = "2/6  alpine:3  sha256:0123456789ab  complete: 2 layers and configurations, 1 of them fetched; 3.0 MiB fetched, 1.5 KiB cached before\n";
        assert_eq!(of_image(&image, 6), line);
        let part = MissingPart {
            what: "sha256:00".to_owned(),
            why: "the download broke off".to_owned(),
            retry_after_seconds: None,
        };
        let lacking =
            WarmedImage { digest: None, is_complete: false, missing: vec![part], missing_more: 3, ..image };
        let lines = "2/6  alpine:3    INCOMPLETE: 2 layers and configurations, 1 of them fetched; 3.0 MiB fetched, 1.5 KiB cached before\n      missing sha256:00: the download broke off\n      and 3 more\n";
        assert_eq!(of_image(&lacking, 6), lines);
    }

    #[test]
    fn a_warming_that_did_not_end_or_is_not_complete_has_failed() {
        let totals = |complete| WarmTotals { images: 2, complete, ..WarmTotals::default() };
        for (totals, expected) in
            [(None, ExitCode::FAILURE), (Some(totals(1)), ExitCode::FAILURE), (Some(totals(2)), ExitCode::SUCCESS)]
        {
            let show = WarmShow::new(true);
            show.state().totals = totals;
            assert_eq!(show.finish(), expected, "{totals:?}");
        }
    }
}
