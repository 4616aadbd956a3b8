//! The bars of a warming on a terminal: one for each layer that arrives, and one for all images.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use registry_proxy_core::warm::WarmEvent;

/// Of a layer. Bars are drawn in ASCII: the width of its characters is known on every terminal.
const LAYER: &str = "  {prefix:12} [{bar:24}] {bytes:>10} of {total_bytes:>10} {bytes_per_sec:>12}";
const IMAGES: &str = "  images       [{bar:24}] {pos} of {len}  {wide_msg}";
const ASCII: &str = "=> ";

/// Bars of what arrives.
pub(super) struct WarmBars {
    all: MultiProgress,
    images: ProgressBar,
    /// By the image's place and the digest.
    layers: Mutex<HashMap<(usize, String), ProgressBar>>,
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars(ASCII)
}

impl WarmBars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let images = all.add(ProgressBar::new(0).with_style(style(IMAGES)));
        Self { all, images, layers: Mutex::default() }
    }

    /// Draws what an event changes.
    pub(super) fn follow(&self, event: &WarmEvent) {
        match event {
            WarmEvent::Begin { of, name, .. } => {
                self.images.set_length(*of as u64);
                self.images.set_message(name.clone());
            }
            WarmEvent::Arriving { place, digest, bytes, total } => {
                let mut layers = self.layers();
                let bar = layers.entry((*place, digest.clone())).or_insert_with(|| {
                    let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
                    let prefix: String = hex.chars().take(12).collect();
                    let bar = ProgressBar::new(*total).with_style(style(LAYER)).with_prefix(prefix);
                    self.all.insert_before(&self.images, bar)
                });
                bar.set_position(*bytes);
            }
            WarmEvent::Part(part) => {
                if let Some(bar) = self.layers().remove(&(part.place, part.what.clone())) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            WarmEvent::Image(image) => {
                self.layers().retain(|(place, _), _| *place != image.place);
                self.images.inc(1);
            }
            WarmEvent::Waiting { .. } => {}
            WarmEvent::End(_) => self.clear(),
        }
    }

    /// Does something while no bar is on the terminal.
    pub(super) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.all.suspend(work)
    }

    /// Removes all of them.
    pub(super) fn clear(&self) {
        self.layers().clear();
        self.images.finish_and_clear();
        // The terminal may be gone.
        let _ = self.all.clear();
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<(usize, String), ProgressBar>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
