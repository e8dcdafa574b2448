//! What may be said of indexes and of the second bucket, by what was certainly there or gone.
//!
//! A creation or deletion that was not acknowledged may take effect at any later time: whoever
//! meets a half-done deletion completes it.

use crate::engine::calls::{Call, Outcome, Refusal};
use crate::engine::history::{Entry, History, NEVER};

/// The life of one index or bucket of a name.
struct Life<'a> {
    creation: &'a Entry,
    /// Deletions of the name that may have ended this life.
    deletions: Vec<&'a Entry>,
}

impl Life<'_> {
    /// Whether it may have been there at some tick of the call.
    fn may_be_during(&self, call: &Entry) -> bool {
        let over = self.deletions.iter().any(|deletion| {
            // It began when this life had begun for certain, and ended before the call began.
            deletion.is_done()
                && self.creation.is_done()
                && deletion.began > self.creation.ended
                && deletion.ended < call.began
        });
        self.creation.began < call.ended && !over
    }

    /// Whether it certainly was there at every tick of the call.
    fn is_throughout(&self, call: &Entry) -> bool {
        let disturbed = self.deletions.iter().any(|deletion| deletion.began < call.ended);
        self.creation.is_done() && self.creation.ended < call.began && !disturbed
    }
}

fn happened(entry: &Entry) -> bool {
    entry.is_done() || entry.may_be_done() || matches!(entry.outcome(), Some(Outcome::Failed(_)))
}

fn lives<'a>(
    history: &'a History,
    creates: impl Fn(&Call) -> bool,
    deletes: impl Fn(&Call) -> bool,
) -> Vec<Life<'a>> {
    let creations = history.entries.iter().filter(|entry| creates(&entry.call) && happened(entry));
    let deletions = |creation: &Entry| {
        let of_name =
            history.entries.iter().filter(|entry| deletes(&entry.call) && happened(entry));
        of_name.filter(|deletion| end(deletion) > creation.began).collect()
    };
    creations.map(|creation| Life { creation, deletions: deletions(creation) }).collect()
}

/// When a change has certainly taken effect, if it does.
fn end(entry: &Entry) -> u64 {
    if entry.is_done() { entry.ended } else { NEVER }
}

pub(super) fn check(history: &History) -> Result<(), String> {
    for entry in &history.entries {
        check_entry(history, entry).map_err(|wrong| format!("call {}: {wrong}", entry.id))?;
    }
    Ok(())
}

fn check_entry(history: &History, entry: &Entry) -> Result<(), String> {
    let Some(outcome) = entry.outcome() else { return Ok(()) };
    if let Some(creation) = entry.creation() {
        return check_reached(history, entry, creation, outcome);
    }
    match (&entry.call, outcome) {
        (Call::CreateIndex { index }, Outcome::Refused(Refusal::IndexExists)) => {
            may_be(&of_index(history, *index), entry, "an index is said to exist")
        }
        (Call::DropIndex { index }, Outcome::Refused(Refusal::NoSuchIndex)) => {
            must_not_be(&of_index(history, *index), entry, "an index is said not to exist")
        }
        (Call::ListIndexes, Outcome::Indexes(listed)) => check_listed(history, entry, listed),
        (Call::CreateBucket, Outcome::Refused(Refusal::BucketExists)) => {
            may_be(&of_bucket(history), entry, "a bucket is said to exist")
        }
        (Call::DropBucket, Outcome::Refused(Refusal::NoSuchBucket)) => {
            must_not_be(&of_bucket(history), entry, "a bucket is said not to exist")
        }
        (Call::ListBuckets, Outcome::Bucket(true)) => {
            may_be(&of_bucket(history), entry, "a bucket is listed")
        }
        (Call::ListBuckets, Outcome::Bucket(false)) => {
            must_not_be(&of_bucket(history), entry, "a bucket is not listed")
        }
        (call, Outcome::Refused(Refusal::NoSuchIndex)) => match index_of(call) {
            Some(index) => must_not_be(&of_index(history, index), entry, "an index is not found"),
            None => Err("no index was named".to_owned()),
        },
        (Call::DropBucket, Outcome::Refused(Refusal::BucketNotEmpty))
        | (_, Outcome::Refused(Refusal::NoSuchBucket)) => {
            Err(format!("{:?}: {outcome:?} is never so", entry.call))
        }
        _ => Ok(()),
    }
}

/// A call on records was answered by, or refused at, this life of an index.
fn check_reached(
    history: &History,
    entry: &Entry,
    creation: u64,
    outcome: &Outcome,
) -> Result<(), String> {
    let Some(index) = index_of(&entry.call) else { return Ok(()) };
    let lives = of_index(history, index);
    let reached = lives.iter().find(|life| life.creation.id == creation);
    let Some(reached) = reached else {
        return Err(format!("it reached an index of call {creation}, which made none"));
    };
    match outcome {
        Outcome::Refused(Refusal::NoSuchIndex) => {
            must_not_be(&lives, entry, "an index is not found")
        }
        Outcome::Failed(_) | Outcome::Unknown | Outcome::Wrong(_) => Ok(()),
        _ if reached.may_be_during(entry) => Ok(()),
        _ => Err(format!("it reached the index of call {creation}, which was deleted")),
    }
}

fn check_listed(history: &History, entry: &Entry, listed: &[(u64, u64)]) -> Result<(), String> {
    for (index, creation) in listed {
        let lives = of_index(history, *index);
        let life = lives.iter().find(|life| life.creation.id == *creation);
        if !life.is_some_and(|life| life.may_be_during(entry)) {
            return Err(format!("the index of call {creation} is listed"));
        }
    }
    for index in 0..8 {
        if !listed.iter().any(|(listed, _)| *listed == index) {
            must_not_be(&of_index(history, index), entry, "an index is not listed")?;
        }
    }
    Ok(())
}

fn index_of(call: &Call) -> Option<u64> {
    match call {
        Call::Put { index, .. }
        | Call::Delete { index, .. }
        | Call::Get { index, .. }
        | Call::Query { index, .. }
        | Call::List { index, .. }
        | Call::Flush { index }
        | Call::Compact { index }
        | Call::CreateIndex { index }
        | Call::DropIndex { index } => Some(*index),
        Call::ListIndexes
        | Call::CreateBucket
        | Call::DropBucket
        | Call::ListBuckets
        | Call::TagBucket => None,
    }
}

fn of_index(history: &History, index: u64) -> Vec<Life<'_>> {
    lives(
        history,
        |call| matches!(call, Call::CreateIndex { index: other } if *other == index),
        |call| matches!(call, Call::DropIndex { index: other } if *other == index),
    )
}

fn of_bucket(history: &History) -> Vec<Life<'_>> {
    let creates = |call: &Call| matches!(call, Call::CreateBucket);
    lives(history, creates, |call| matches!(call, Call::DropBucket))
}

fn may_be(lives: &[Life<'_>], entry: &Entry, what: &str) -> Result<(), String> {
    match lives.iter().any(|life| life.may_be_during(entry)) {
        true => Ok(()),
        false => Err(format!("{what}, but cannot be there")),
    }
}

fn must_not_be(lives: &[Life<'_>], entry: &Entry, what: &str) -> Result<(), String> {
    match lives.iter().find(|life| life.is_throughout(entry)) {
        None => Ok(()),
        Some(life) => Err(format!("{what}, but is there since call {}", life.creation.id)),
    }
}
