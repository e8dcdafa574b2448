//! How far a transfer is: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

const LINE_EVERY: Duration = Duration::from_secs(5);
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Progress on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    units: u64,
    vectors: u64,
    bytes: u64,
    started: Instant,
    shown: Instant,
}

impl Progress {
    /// `units` is the length of the whole transfer in whatever [`Progress::update`] counts; 0 if
    /// it is not known.
    pub(super) fn start(units: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(units));
        let now = Instant::now();
        Self { bar, units, vectors: 0, bytes: 0, started: now, shown: now }
    }

    /// Adds vectors and the bytes they took on the wire; `position` is in units.
    pub(super) fn update(&mut self, vectors: u64, bytes: u64, position: u64) {
        self.vectors += vectors;
        self.bytes += bytes;
        let now = Instant::now();
        let every = if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        if now - self.shown < every {
            return;
        }
        self.shown = now;
        let rates = self.rates();
        match &self.bar {
            Some(bar) => {
                bar.set_message(rates);
                bar.set_position(position);
            }
            None => output::complain(&format!("{}{rates}", percent(position, self.units))),
        }
    }

    /// Prints a message without disturbing the bar.
    pub(super) fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::complain(message)),
            None => output::complain(message),
        }
    }

    /// Ends with one line: what was done, how long it took, how fast.
    pub(super) fn finish(&self, done: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        output::complain(&format!("{done} in {seconds:.1} s: {}", self.rates()));
    }

    /// Takes the bar off the screen after a failure.
    pub(super) fn abandon(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn rates(&self) -> String {
        rates(self.vectors, self.bytes, self.started.elapsed())
    }
}

fn bar(units: u64) -> ProgressBar {
    if units == 0 {
        return ProgressBar::new_spinner();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}, {eta} left");
    let bar = ProgressBar::new(units);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn percent(position: u64, units: u64) -> String {
    match position.saturating_mul(100).checked_div(units) {
        Some(percent) => format!("{percent:3}% "),
        None => String::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn rates(vectors: u64, bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-6);
    let vectors_rate = vectors as f64 / seconds;
    let bytes_rate = bytes as f64 / seconds / 1e6;
    format!("{vectors} vectors, {vectors_rate:.0} vectors/s, {bytes_rate:.1} MB/s")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{percent, rates};

    #[test]
    fn lines_show_share_and_rates() {
        assert_eq!(
            rates(1500, 3_000_000, Duration::from_secs(2)),
            "1500 vectors, 750 vectors/s, 1.5 MB/s"
        );
        assert_eq!(rates(0, 0, Duration::ZERO), "0 vectors, 0 vectors/s, 0.0 MB/s");
        assert_eq!((percent(1, 3), percent(5, 0)), (" 33% ".to_owned(), String::new()));
    }
}
