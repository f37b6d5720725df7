//! Download progress: a bar where somebody watches, nothing where nobody does (log lines say what matters).

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts bytes, and shows them where asked to.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on standard error if that is a terminal.
    #[must_use]
    pub fn on_terminal(total_bytes: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
        // The template is a constant; a mistake in it falls back to the plain bar.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Counts silently.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// What is being fetched now.
    pub fn on(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    /// Some more bytes arrived.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Bytes that arrived were of no use.
    pub fn back(&self, bytes: u64) {
        self.bar.dec(bytes);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
