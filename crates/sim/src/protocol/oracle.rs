//! What the log is, by its objects alone, and what must hold of it.

use vb_commit::{Manifest, Slot, WriterId};

use super::world::{Objects, Violation};

/// Stands for the closing slot in a log's content.
pub(super) const CLOSING: u8 = u8::MAX;

/// The one byte that a batch is known by.
pub(super) fn ids(slot: &Slot) -> impl Iterator<Item = u8> + '_ {
    slot.batches.iter().map(|(_, payload)| payload.first().copied().unwrap_or(CLOSING))
}

/// The truth about the log, kept beside the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Oracle {
    /// The batches of the log's present life, in order.
    history: Vec<u8>,
    /// How many batches all earlier lives had.
    before: usize,
    /// The present life.
    incarnation: u64,
    /// Batches (bit per id) of earlier lives.
    past: u64,
    /// Batches that were acknowledged in the present life.
    acked: u64,
    /// Batches that a strong read has shown in the present life.
    shown: u64,
    /// Batches reported as certainly not written.
    failed: u64,
    /// Author and stamp of every manifest that was the newest once.
    counted: Vec<(WriterId, u64)>,
}

impl Oracle {
    /// What a strong read that begins now must show.
    pub(super) fn owed(&self) -> u64 {
        self.acked | self.shown
    }

    /// Reads the log off the objects and compares it with what it was before.
    pub(super) fn observe(&mut self, objects: &Objects) -> Result<(), Violation> {
        let Some(newest) = objects.manifests.values().next_back() else {
            return match self.history.is_empty() {
                true => Ok(()),
                false => violation("the log's last manifest is gone"),
            };
        };
        if newest.incarnation != self.incarnation {
            self.begin_life(newest)?;
        }
        let author = (newest.writer, newest.stamp);
        if !self.counted.contains(&author) {
            self.counted.push(author);
        }
        if newest.closed {
            return self.stay_closed(newest);
        }
        if newest.batches as usize != self.before + newest.body.len() {
            return violation("a manifest does not count its batches");
        }
        self.grow(content(newest, objects))
    }

    /// The manifest of a closed log has no body: it counts what the log had when it was closed.
    fn stay_closed(&self, newest: &Manifest) -> Result<(), Violation> {
        let all = self.before + self.history.len();
        match self.history.last() == Some(&CLOSING) && newest.batches as usize == all {
            true => Ok(()),
            false => {
                violation("a manifest closes a log that was not, or does not count its batches")
            }
        }
    }

    fn begin_life(&mut self, newest: &Manifest) -> Result<(), Violation> {
        if !self.history.is_empty() && self.history.last() != Some(&CLOSING) {
            return violation("a log was created in place of one that was not closed");
        }
        self.past |= bits(&self.history);
        self.before += self.history.len();
        self.history.clear();
        (self.acked, self.shown) = (0, 0);
        self.incarnation = newest.incarnation;
        Ok(())
    }

    fn grow(&mut self, content: Vec<u8>) -> Result<(), Violation> {
        if content == self.history {
            return Ok(());
        }
        if !content.starts_with(&self.history) {
            return violation(format!("the log was {:?} and is {content:?}", self.history));
        }
        if self.history.last() == Some(&CLOSING) {
            return violation("a closed log grows");
        }
        let all = bits(&content);
        if all.count_ones() as usize != content.len() || all & self.past & !bits(&[CLOSING]) != 0 {
            return violation(format!("a batch is twice in {content:?}"));
        }
        if all & self.failed != 0 {
            return violation("a batch reported as not written is in the log");
        }
        self.history = content;
        Ok(())
    }

    /// A batch is acknowledged.
    pub(super) fn acknowledge(&mut self, id: u8) -> Result<(), Violation> {
        let bit = bits(&[id]);
        if bit & bits(&self.history) != 0 {
            self.acked |= bit;
            return Ok(());
        }
        match bit & self.past != 0 {
            // Committed before the log was dropped; it is gone with it.
            true => Ok(()),
            false => violation(format!("batch {id} is acknowledged but not in {:?}", self.history)),
        }
    }

    /// A batch is reported as certainly not written.
    pub(super) fn deny(&mut self, id: u8) -> Result<(), Violation> {
        self.failed |= bits(&[id]);
        match bits(&[id]) & (bits(&self.history) | self.past) {
            0 => Ok(()),
            _ => violation(format!("batch {id} is in the log but reported as not written")),
        }
    }

    /// A fold is reported as committed.
    pub(super) fn folded(&self, manifest: &Manifest) -> Result<(), Violation> {
        match self.counted.contains(&(manifest.writer, manifest.stamp)) {
            true => Ok(()),
            false => violation(format!("manifest {} never was the newest", manifest.number)),
        }
    }

    /// The log is reported as ended.
    pub(super) fn ended(&self) -> Result<(), Violation> {
        match self.history.last() == Some(&CLOSING) || self.before > 0 {
            true => Ok(()),
            false => violation("a live log is reported as closed"),
        }
    }

    /// A process has applied `content` and holds it for the log in its life `incarnation`.
    pub(super) fn compare(&self, content: &[u8], incarnation: u64) -> Result<(), Violation> {
        match self.incarnation != incarnation || self.history.starts_with(content) {
            true => Ok(()),
            false => violation(format!("{:?} was applied as {content:?}", self.history)),
        }
    }

    /// A strong read shows `content`; it owed to show at least `owed`.
    pub(super) fn read(&mut self, content: &[u8], owed: u64) -> Result<(), Violation> {
        if !self.history.starts_with(content) && self.before == 0 {
            return violation(format!("a strong read shows {content:?} of {:?}", self.history));
        }
        // Of the present life only: its batches are in no other.
        self.shown |= bits(content) & bits(&self.history);
        match owed & !bits(content) {
            0 => Ok(()),
            missed => violation(format!("a strong read of {content:?} misses {missed:#b}")),
        }
    }
}

/// Body, then the slots from the floor on as far as they go without a gap.
fn content(newest: &Manifest, objects: &Objects) -> Vec<u8> {
    let mut content = newest.body.to_vec();
    let tail = objects.slots.range(newest.floor..).zip(newest.floor..);
    for ((_, slot), _) in tail.take_while(|((seq, _), expected)| *seq == expected) {
        content.extend(ids(slot));
    }
    content
}

fn bits(ids: &[u8]) -> u64 {
    ids.iter().fold(0, |bits, id| bits | 1 << (id & 63))
}

fn violation<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}
