//! The protocol's decisions as named predicates over plain values.
//!
//! Each takes the [`Rules`] it decides by. Production uses [`Rules::SOUND`]; the model checker also
//! runs every known-bad variant and must find the history in which it loses or doubles a batch.
//! `docs/commit-protocol.md` says why each rule is needed and why together they suffice.

use std::collections::BTreeMap;

use crate::manifest::{FOLDED_WRITERS_MAX, FoldedWriter, Manifest};
use crate::slot::{Slot, WriterId};

/// Which of the protocol's rules are kept. All of them, outside of the model checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// After a slot was created, list the manifests: the slot may lie below the newest floor.
    pub check_slots: bool,
    /// After a manifest was created, list the manifests: a higher one may exist.
    pub check_manifests: bool,
    /// A slot that is already there is read: it may be our own.
    pub read_back: bool,
    /// The newest object of a series is found by a list, not by reading number n + 1.
    pub newest_by_list: bool,
    /// Collection takes the newest manifest from its own list, not from memory.
    pub collect_fresh: bool,
    /// A batch is folded if exactly its number is, not if a higher one of its writer is.
    pub folded_exactly: bool,
    /// A flush stands only on the floor it started from.
    pub check_floor: bool,
    /// A view that was just opened is checked before it is taken for current.
    pub check_opened: bool,
    /// A check of created slots covers those whose create had returned when it was sent.
    pub check_behind_create: bool,
    /// How many slots an open reads before it knows whether they are needed.
    pub guess_slots: u64,
}

impl Rules {
    /// The protocol.
    pub const SOUND: Self = Self {
        check_slots: true,
        check_manifests: true,
        read_back: true,
        newest_by_list: true,
        collect_fresh: true,
        folded_exactly: true,
        check_floor: true,
        check_opened: true,
        check_behind_create: true,
        guess_slots: 256,
    };
}

/// Whether a manifest holds a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It was folded.
    Yes,
    /// It was not folded up to this manifest.
    No,
    /// The manifest cannot tell.
    Unknowable,
}

/// What becomes of a slot that we created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the log, or was and is folded: acknowledge.
    Counts,
    /// It does not count and never will: try again behind the tip.
    Rebase,
    /// The log has ended without it.
    Closed,
    /// It cannot be told: report the outcome as unknown.
    Unknowable,
}

/// Whether the slot found in the log is the one that we try to create, by writer and batches.
pub fn is_ours(rules: &Rules, found: &Slot, tried: &Slot) -> bool {
    let numbers = |slot: &Slot| slot.batches.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    rules.read_back
        && found.writer == tried.writer
        && found.incarnation == tried.incarnation
        && numbers(found) == numbers(tried)
}

/// Whether `manifest` holds the slot's batches, which were to be at `slot.seq`.
///
/// The manifest knows only the highest batch of each writer, so it can confirm no batch but that
/// one, and denies a batch only above it. A higher number proves nothing: two logs of one process
/// may be open on one prefix for a moment, and then a later number can be folded first.
///
/// `behind` are batches that this log sent to the numbers following the slot's after the slot had
/// been created: where one of them was folded, so was the slot, since ghosts are never followed by
/// a slot that counts.
pub fn held(rules: &Rules, manifest: &Manifest, slot: &Slot, behind: &[u64]) -> Held {
    let last = slot.batches.last().map_or(0, |(number, _)| *number);
    match manifest.folded_of(slot.writer) {
        Some(entry) if entry.batch == last || behind.contains(&entry.batch) => Held::Yes,
        Some(entry) if entry.batch < last => Held::No,
        Some(_) if rules.folded_exactly => Held::Unknowable,
        Some(_) => Held::Yes,
        None if slot.seq < manifest.folded_since => Held::Unknowable,
        None => Held::No,
    }
}

/// Judges a slot that was certainly created by us against the newest manifest.
///
/// At or above the floor the slot is part of the log. Below it, the number had been folded: either
/// with our slot in it (then the manifest holds our batch), or before our create was executed, on
/// a number that was collected already (then nobody will ever count the slot).
pub fn judge_slot(rules: &Rules, newest: &Manifest, slot: &Slot, behind: &[u64]) -> Verdict {
    if slot.seq >= newest.floor && slot.incarnation == newest.incarnation {
        return Verdict::Counts;
    }
    match held(rules, newest, slot, behind) {
        Held::Yes => Verdict::Counts,
        Held::Unknowable => Verdict::Unknowable,
        Held::No if newest.closed || slot.incarnation != newest.incarnation => Verdict::Closed,
        Held::No => Verdict::Rebase,
    }
}

/// What a slot contributes to the next manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotMark {
    /// Its number.
    pub seq: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// Its highest batch.
    pub batch: u64,
    /// How many batches it holds.
    pub count: u64,
    /// The log ends with it.
    pub closes: bool,
}

impl SlotMark {
    /// The mark of `slot`.
    pub fn of(slot: &Slot) -> Self {
        Self {
            seq: slot.seq,
            writer: slot.writer,
            batch: slot.batches.last().map_or(0, |(number, _)| *number),
            count: slot.batches.len() as u64,
            closes: slot.closes,
        }
    }
}

/// What a process knows of a log: the newest manifest and all slots behind its floor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    /// The newest manifest known.
    pub manifest: Manifest,
    /// The slots from its floor to the tip, without gaps.
    pub tail: Vec<SlotMark>,
}

impl View {
    /// The highest slot known; `floor - 1` if all slots are folded, 0 in an empty log.
    pub fn tip(&self) -> u64 {
        self.manifest.floor.saturating_sub(1) + self.tail.len() as u64
    }

    /// Whether the log has ended: nothing may be created behind the tip.
    pub fn ended(&self) -> bool {
        self.manifest.closed || self.tail.last().is_some_and(|mark| mark.closes)
    }
}

/// Whether a fold may be tried on the manifest we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldStanding {
    /// Its body was derived from this very manifest.
    Stands,
    /// The manifest changed but the floor did not: derive the body anew, the segments stay good.
    Rebuild,
    /// The slots were folded by another: discard the segments.
    Discard,
}

/// Judges a fold whose body was derived from manifest `base` and whose flush began at floor `from`.
pub fn judge_fold(rules: &Rules, manifest: &Manifest, base: u64, from: u64) -> FoldStanding {
    match (manifest.number == base, manifest.floor == from || !rules.check_floor) {
        (true, true) => FoldStanding::Stands,
        (false, true) => FoldStanding::Rebuild,
        (_, false) => FoldStanding::Discard,
    }
}

/// The first manifest of a log, or of the next life of a closed one.
///
/// A new life goes on with the numbers of the last one and keeps what was folded: a writer that is
/// still waiting for its answer from the last life is told the truth.
pub fn first_manifest(
    last: Option<&Manifest>,
    author: (WriterId, u64),
    incarnation: u64,
    body: bytes::Bytes,
) -> Manifest {
    Manifest {
        number: last.map_or(0, |last| last.number + 1),
        writer: author.0,
        stamp: author.1,
        incarnation,
        floor: last.map_or(1, |last| last.floor),
        closed: false,
        batches: last.map_or(0, |last| last.batches),
        folded: last.map_or_else(Vec::new, |last| last.folded.clone()),
        folded_since: last.map_or(0, |last| last.folded_since),
        body,
    }
}

/// The manifest that follows `view.manifest` when the slots below `floor` are folded into `body`.
pub fn next_manifest(
    view: &View,
    floor: u64,
    author: (WriterId, u64),
    body: bytes::Bytes,
) -> Manifest {
    let base = &view.manifest;
    let floor = floor.clamp(base.floor, view.tip() + 1);
    let marks = || view.tail.iter().take_while(|mark| mark.seq < floor);
    let mut next = Manifest {
        number: base.number + 1,
        writer: author.0,
        stamp: author.1,
        incarnation: base.incarnation,
        floor,
        closed: base.closed || marks().any(|mark| mark.closes),
        batches: base.batches.saturating_add(marks().map(|mark| mark.count).sum()),
        folded: merge_folded(&base.folded, marks()),
        folded_since: base.folded_since,
        body,
    };
    forget_writers(&mut next);
    next
}

fn merge_folded<'a>(
    folded: &[FoldedWriter],
    marks: impl Iterator<Item = &'a SlotMark>,
) -> Vec<FoldedWriter> {
    let mut by_writer: BTreeMap<WriterId, FoldedWriter> =
        folded.iter().map(|entry| (entry.writer, *entry)).collect();
    for mark in marks {
        let new = FoldedWriter { writer: mark.writer, batch: mark.batch, seq: mark.seq };
        let entry = by_writer.entry(mark.writer).or_insert(new);
        entry.batch = entry.batch.max(new.batch);
        entry.seq = entry.seq.max(new.seq);
    }
    by_writer.into_values().collect()
}

/// Keeps the [`FOLDED_WRITERS_MAX`] writers seen last and raises the horizon over the others.
///
/// A forgotten writer that still waits for its answer about a slot below the horizon is told that
/// the outcome is unknown; no clock decides that it must be gone by now.
fn forget_writers(manifest: &mut Manifest) {
    let excess = manifest.folded.len().saturating_sub(FOLDED_WRITERS_MAX);
    if excess == 0 {
        return;
    }
    let mut seqs: Vec<u64> = manifest.folded.iter().map(|entry| entry.seq).collect();
    seqs.sort_unstable();
    manifest.folded_since = seqs[excess - 1] + 1;
    let since = manifest.folded_since;
    manifest.folded.retain(|entry| entry.seq >= since);
}

/// What a collection may delete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CollectionPlan {
    /// Slot numbers, rising.
    pub slots: Vec<u64>,
    /// Manifest numbers, rising.
    pub manifests: Vec<u64>,
}

/// Plans a collection from a fresh list of both series and the newest listed manifest.
///
/// Never deleted: slots from the floor on, the highest slot (a list that shows nothing behind it
/// proves the tip), the newest manifest (behind it every older one is void). Of a closed log these
/// two remain, and they are its fence: without the slot, a late create of a lower number would look
/// like the tip to a reader that knows no better.
pub fn plan_collection(
    rules: &Rules,
    newest: &Manifest,
    slots: &[u64],
    manifests: &[u64],
) -> CollectionPlan {
    let highest = slots.iter().max();
    let spent = |seq: &u64| *seq < newest.floor && Some(seq) != highest;
    // Known bad: to take all that the remembered manifest does not name for garbage.
    let superseded = |number: &u64| match rules.collect_fresh {
        true => *number < newest.number,
        false => *number != newest.number,
    };
    CollectionPlan {
        slots: slots.iter().copied().filter(spent).collect(),
        manifests: manifests.iter().copied().filter(superseded).collect(),
    }
}
