//! What an import has done so far: on the screen and in the checkpoint.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::output;
use crate::transfer::batch::{BadRow, Settled};
use crate::transfer::checkpoint::Checkpoint;
use crate::transfer::progress::Progress;

/// How much work at most is done again after a stop.
const SAVE_EVERY: Duration = Duration::from_millis(500);
const BAD_ROWS_SHOWN: u64 = 20;

/// What an import did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) vectors: u64,
    pub(super) bad: u64,
}

/// What has been done so far: on the screen and in the checkpoint.
pub(super) struct Ledger<'a> {
    checkpoint: &'a mut Checkpoint,
    progress: Progress,
    summary: Summary,
    consumed: u64,
    /// When the checkpoint was last saved.
    saved: Option<Instant>,
    unsaved: bool,
    save_failed: bool,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(checkpoint: &'a mut Checkpoint, units: u64) -> Self {
        Self {
            checkpoint,
            progress: Progress::start(units),
            summary: Summary { vectors: 0, bad: 0 },
            consumed: 0,
            saved: None,
            unsaved: false,
            save_failed: false,
        }
    }

    pub(super) fn note(&mut self, range: Range<u64>, consumed: u64, settled: &Settled) {
        self.summary.vectors += settled.vectors;
        self.consumed = self.consumed.max(consumed);
        settled.bad.iter().for_each(|bad| self.report(bad));
        self.checkpoint.add(range);
        self.unsaved = true;
        self.progress.update(settled.vectors, settled.bytes, self.consumed);
        // The first batch is saved at once, which also tells early that it cannot be.
        if self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) {
            self.save();
        }
    }

    fn report(&mut self, bad: &BadRow) {
        self.summary.bad += 1;
        match self.summary.bad {
            ..=BAD_ROWS_SHOWN => {
                self.progress.say(&format!("row {} left out: {}", bad.number, bad.reason));
            }
            n if n == BAD_ROWS_SHOWN + 1 => {
                self.progress.say("further bad rows are counted and not shown");
            }
            _ => {}
        }
    }

    /// An import goes on without a checkpoint: it only costs more if it has to be repeated.
    fn save(&mut self) {
        self.saved = Some(Instant::now());
        self.unsaved = false;
        if let (Err(failure), false) = (self.checkpoint.save(), self.save_failed) {
            self.save_failed = true;
            self.progress.say(&format!(
                "progress cannot be kept, so a stopped import will start over; {failure}"
            ));
        }
    }

    pub(super) fn close(mut self, outcome: Result<(), Failure>) -> Result<Summary, Failure> {
        if let Err(failure) = outcome {
            if self.unsaved {
                self.save();
            }
            self.progress.abandon();
            let count = self.checkpoint.done().count();
            if count > 0 && !self.save_failed {
                output::complain(&format!(
                    "{count} rows are in; the same command goes on from there"
                ));
            }
            return Err(failure);
        }
        self.checkpoint.remove();
        self.progress.finish("imported");
        if self.summary.bad > 0 {
            output::complain(&format!("{} rows were left out", self.summary.bad));
        }
        Ok(self.summary)
    }
}
