//! What happened, in order: hashed always, printed when a seed is replayed.

use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};

/// The log of a run's events.
#[derive(Debug)]
pub(super) struct Trace {
    hash: DefaultHasher,
    events: u64,
    prints: bool,
    line: String,
}

impl Trace {
    pub(super) fn new(prints: bool) -> Self {
        Self { hash: DefaultHasher::new(), events: 0, prints, line: String::new() }
    }

    #[expect(clippy::print_stdout, reason = "a replay is read on the terminal")]
    pub(super) fn note(&mut self, now: u64, event: Arguments<'_>) {
        use std::fmt::Write as _;
        self.line.clear();
        write!(self.line, "{now:>7} {event}").expect("a string takes all");
        self.hash.write(self.line.as_bytes());
        self.events += 1;
        if self.prints {
            println!("{}", self.line);
        }
    }

    /// A digest of all events so far, and their number.
    pub(super) fn digest(&self) -> (u64, u64) {
        (self.hash.finish(), self.events)
    }
}
