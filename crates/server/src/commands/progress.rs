//! A bar on standard error that shows how far a command has come; nothing if that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};
use vb_engine::inspect::Watch;

/// The bar; it vanishes with this value.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `what`.
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_prefix(what);
        let style = "{prefix} {wide_bar} {pos}/{len} {elapsed}  {msg:40!}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Watch for Progress {
    fn expect(&self, pieces: u64) {
        self.0.inc_length(pieces);
    }

    fn done(&self, name: &str) {
        self.0.set_message(name.to_owned());
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
