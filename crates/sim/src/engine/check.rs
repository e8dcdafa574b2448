//! Whether a history is one that a sound store of records can have.

mod catalog;
mod register;

use std::collections::{BTreeMap, BTreeSet};

use self::register::{Kind, Operation, Seen};
use super::calls::{Call, Outcome};
use super::history::{Entry, History, NEVER};
use super::record::{self, Version};

/// Checks everything that was answered; the error says what cannot be.
pub(super) fn check(history: &History) -> Result<(), String> {
    for entry in &history.entries {
        if let Some(Outcome::Wrong(wrong)) = entry.outcome() {
            return Err(format!("call {}: {wrong}", entry.id));
        }
    }
    catalog::check(history)?;
    let puts = puts(history);
    for (creation, entries) in by_index(history) {
        check_batches(&entries, &puts).map_err(|wrong| format!("index {creation}: {wrong}"))?;
        for (key, operations) in by_key(&entries, &puts)? {
            register::check(&operations)
                .map_err(|wrong| format!("index {creation}, key {key}: {wrong}"))?;
        }
    }
    Ok(())
}

/// Keys of every put, by version.
type Puts<'a> = BTreeMap<Version, (&'a Entry, &'a [u64])>;

fn puts(history: &History) -> Puts<'_> {
    let mut puts = Puts::new();
    for entry in &history.entries {
        if let Call::Put { keys, .. } = &entry.call {
            puts.insert(entry.id, (entry, keys));
        }
    }
    puts
}

/// Calls on records by the index that they reached. A write that was never answered reached the
/// index that a later reader tells; one that met the end of an index may have been there before.
fn by_index(history: &History) -> BTreeMap<u64, Vec<Reached<'_>>> {
    let mut indexes: BTreeMap<u64, Vec<Reached<'_>>> = BTreeMap::new();
    let mut add = |creation: u64, entry, here| {
        indexes.entry(creation).or_default().push(Reached { entry, here });
    };
    let creations = creations(history);
    for entry in &history.entries {
        let gone: BTreeSet<u64> = entry.told.iter().flat_map(|told| &told.gone).copied().collect();
        gone.iter().for_each(|creation| add(*creation, entry, Here::Perhaps));
        match (entry.creation(), written(&entry.call)) {
            (Some(creation), _) if !gone.contains(&creation) => add(creation, entry, Here::Told),
            // It may have reached any life of the index that its name stands for.
            (None, Some((index, _))) if entry.may_be_done() => {
                for creation in creations.get(&index).into_iter().flatten() {
                    add(*creation, entry, Here::Told);
                }
            }
            _ => {}
        }
    }
    indexes
}

/// A call at an index.
#[derive(Debug, Clone, Copy)]
struct Reached<'a> {
    entry: &'a Entry,
    here: Here,
}

/// What is known of a call at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    /// What it was answered is about this index.
    Told,
    /// It was told that there is no such index any more. A write may have taken effect before that.
    Perhaps,
}

impl Reached<'_> {
    fn is_done(self) -> bool {
        self.here == Here::Told && self.entry.is_done()
    }

    fn may_be_done(self) -> bool {
        self.here == Here::Perhaps || self.entry.may_be_done()
    }

    /// When it ended here, or could not change any more.
    fn ended(self) -> u64 {
        match self.here {
            Here::Told => self.entry.ended,
            Here::Perhaps => NEVER,
        }
    }

    fn outcome(&self) -> Option<&Outcome> {
        self.entry.outcome().filter(|_| self.here == Here::Told)
    }
}

/// Creating calls by the index's name.
fn creations(history: &History) -> BTreeMap<u64, Vec<u64>> {
    let mut creations: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in &history.entries {
        if let Call::CreateIndex { index } = entry.call {
            creations.entry(index).or_default().push(entry.id);
        }
    }
    creations
}

/// The index and keys of a write.
fn written(call: &Call) -> Option<(u64, &[u64])> {
    match call {
        Call::Put { index, keys } | Call::Delete { index, keys } => Some((*index, keys)),
        _ => None,
    }
}

/// What each key of an index was written and read.
fn by_key(
    reached: &[Reached<'_>],
    puts: &Puts<'_>,
) -> Result<BTreeMap<u64, Vec<Operation>>, String> {
    let mut keys: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    let every = reached.iter().filter_map(|reached| written(&reached.entry.call));
    for key in every.flat_map(|(_, keys)| keys) {
        keys.entry(*key).or_default();
    }
    let known: BTreeSet<u64> = keys.keys().copied().collect();
    for reached in reached {
        let entry = reached.entry;
        let mut add = |key: u64, kind: Kind| -> Result<(), String> {
            if let Kind::Read(Seen::Exactly(Some(version))) = kind {
                let known = puts.get(&version).is_some_and(|(_, keys)| keys.contains(&key));
                if !known {
                    return Err(format!("call {}: key {key} of {version} was never put", entry.id));
                }
            }
            let (began, ended) = (entry.began, reached.ended());
            let operation = Operation { id: entry.id, began, ended, kind };
            keys.entry(key).or_default().push(operation);
            Ok(())
        };
        match (&entry.call, reached.outcome()) {
            (Call::Put { keys, .. } | Call::Delete { keys, .. }, _) => {
                let puts = matches!(entry.call, Call::Put { .. });
                let value = puts.then_some(entry.id);
                for key in keys {
                    match (reached.is_done(), reached.may_be_done()) {
                        (true, _) => add(*key, Kind::Write(value))?,
                        (_, true) => add(*key, Kind::MaybeWrite(value))?,
                        // It certainly did not take place.
                        (false, false) => {}
                    }
                }
            }
            (_, Some(Outcome::Got(read))) => {
                for (key, version) in read {
                    add(*key, Kind::Read(Seen::Exactly(*version)))?;
                }
            }
            (call, Some(Outcome::Found(found))) => {
                let listed: BTreeMap<u64, Version> = found.iter().copied().collect();
                if let Some(stranger) = listed.keys().find(|key| !known.contains(key)) {
                    return Err(format!("call {}: key {stranger} was never put", entry.id));
                }
                for key in &known {
                    let seen = match listed.get(key) {
                        Some(version) => Seen::Exactly(Some(*version)),
                        None => absent(call, *key, found),
                    };
                    add(*key, Kind::Read(seen))?;
                }
            }
            _ => {}
        }
    }
    Ok(keys)
}

/// What it says of a key that a query or listing does not hold it.
fn absent(call: &Call, key: u64, found: &[(u64, Version)]) -> Seen {
    match call {
        Call::Query { target, count, wish, .. } => {
            let full = found.len() >= *count;
            let last = found.last().filter(|_| full);
            let worst = last.map(|(key, version)| record::rank(target, *key, *version));
            Seen::Hidden { key, wish: *wish, target: target.clone(), worst }
        }
        Call::List { wish, .. } => {
            Seen::Hidden { key, wish: *wish, target: Vec::new(), worst: None }
        }
        _ => unreachable!("only queries and listings find records"),
    }
}

/// A batch is visible whole or not at all: who saw one of its records did not see another of its
/// keys as it certainly was before.
fn check_batches(calls: &[Reached<'_>], puts: &Puts<'_>) -> Result<(), String> {
    for call in calls {
        let (entry, Some(Outcome::Got(read))) = (call.entry, call.outcome()) else { continue };
        for (_, version) in read {
            let Some((put, batch)) = version.and_then(|version| puts.get(&version)) else {
                continue;
            };
            for (key, other) in read.iter().filter(|(key, _)| batch.contains(key)) {
                let older = match other {
                    Some(other) => {
                        puts.get(other).is_some_and(|(put_of, _)| put_of.ended < put.began)
                    }
                    None => !deleted_since(calls, *key, put.began),
                };
                if older {
                    return Err(format!(
                        "call {} saw batch {} in part: key {key} as {other:?}",
                        entry.id, put.id
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Whether the key may have been deleted after the tick.
fn deleted_since(calls: &[Reached<'_>], key: u64, tick: u64) -> bool {
    calls.iter().any(|call| {
        let deletes = matches!(&call.entry.call, Call::Delete { keys, .. } if keys.contains(&key));
        deletes && (call.is_done() || call.may_be_done()) && call.ended() > tick
    })
}
