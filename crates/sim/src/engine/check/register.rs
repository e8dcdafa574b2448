//! Linearizability of one key: a register that is put, deleted and read.
//!
//! A history is followed in the order of its ticks. What the register may be after each is a set of
//! configurations: a value, the writes under way that have taken effect already, the reads under
//! way that have seen what they answer. A write may take effect at any tick between its beginning
//! and its end, so the set is closed under that; a read is satisfied as soon as it can be, which
//! never hurts. At the end of an operation the configurations go in which it did not happen; when
//! none is left, no order of the operations explains what was answered.

use std::collections::BTreeSet;

use crate::engine::history::NEVER;
use crate::engine::record::{self, Version, Wish};

/// What a read says of the key.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// This version, or nothing.
    Exactly(Option<Version>),
    /// It was not among a query's answers: nothing is there, or it does not match, or it ranks
    /// behind the last of a full answer.
    Hidden { key: u64, wish: Wish, target: Vec<f32>, worst: Option<(f32, Box<[u8]>)> },
}

impl Seen {
    fn allows(&self, value: Option<Version>) -> bool {
        match (self, value) {
            (Self::Exactly(seen), value) => *seen == value,
            (Self::Hidden { .. }, None) => true,
            (Self::Hidden { key, wish, target, worst }, Some(version)) => {
                let behind =
                    worst.as_ref().is_some_and(|w| record::rank(target, *key, version) > *w);
                !wish.matches(version) || behind
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Write(Option<Version>),
    /// It took place once between its ticks, or never does.
    MaybeWrite(Option<Version>),
    Read(Seen),
}

/// One operation on the key.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) id: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) kind: Kind,
}

/// Where the register may stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    value: Option<Version>,
    /// Places, in the list of operations, of those under way that have happened.
    happened: BTreeSet<usize>,
}

/// Beyond so many configurations a key is not followed any further.
const CONFIGURATIONS_MAX: usize = 20_000;

/// Checks the operations of one key, which begins empty.
pub(super) fn check(operations: &[Operation]) -> Result<(), String> {
    let mut ticks: Vec<(u64, bool, usize)> = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        ticks.push((operation.began, false, place));
        if operation.ended != NEVER {
            ticks.push((operation.ended, true, place));
        }
    }
    ticks.sort_unstable();
    let mut under_way: BTreeSet<usize> = BTreeSet::new();
    let start = Configuration { value: None, happened: BTreeSet::new() };
    let mut configurations = BTreeSet::from([start]);
    for (_, ends, place) in ticks {
        if !ends {
            under_way.insert(place);
            configurations = closed(configurations, &under_way, operations);
            if configurations.len() > CONFIGURATIONS_MAX {
                return Ok(());
            }
            continue;
        }
        under_way.remove(&place);
        let last: Vec<_> = configurations.iter().map(|c| c.value).collect();
        let optional = matches!(operations[place].kind, Kind::MaybeWrite(_));
        let stay = configurations.into_iter().filter_map(|mut configuration| {
            let happened = configuration.happened.remove(&place);
            (happened || optional).then_some(configuration)
        });
        configurations = stay.collect();
        if configurations.is_empty() {
            return Err(complaint(operations, place, &last));
        }
    }
    Ok(())
}

/// Every configuration that writes under way can lead to.
fn closed(
    from: BTreeSet<Configuration>,
    under_way: &BTreeSet<usize>,
    operations: &[Operation],
) -> BTreeSet<Configuration> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<Configuration> = from
        .into_iter()
        .map(|configuration| satisfied(configuration, under_way, operations))
        .collect();
    while let Some(configuration) = open.pop() {
        if !reached.insert(configuration.clone()) || reached.len() > CONFIGURATIONS_MAX {
            continue;
        }
        for place in under_way {
            let (Kind::Write(value) | Kind::MaybeWrite(value)) = operations[*place].kind else {
                continue;
            };
            if configuration.happened.contains(place) {
                continue;
            }
            let mut next = configuration.clone();
            next.happened.insert(*place);
            next.value = value;
            open.push(satisfied(next, under_way, operations));
        }
    }
    reached
}

/// Notes the reads under way that this value satisfies.
fn satisfied(
    mut configuration: Configuration,
    under_way: &BTreeSet<usize>,
    operations: &[Operation],
) -> Configuration {
    for place in under_way {
        if let Kind::Read(seen) = &operations[*place].kind
            && seen.allows(configuration.value)
        {
            configuration.happened.insert(*place);
        }
    }
    configuration
}

fn complaint(operations: &[Operation], place: usize, values: &[Option<Version>]) -> String {
    let operation = &operations[place];
    let mut near: Vec<_> = operations
        .iter()
        .filter(|other| {
            other.ended.saturating_add(40) > operation.began && other.began <= operation.ended
        })
        .collect();
    near.sort_by_key(|other| other.began);
    let lines: Vec<String> = near
        .into_iter()
        .map(|other| {
            format!("\n  call {} [{}..{}] {:?}", other.id, other.began, other.ended, other.kind)
        })
        .collect();
    let mut values = values.to_vec();
    values.dedup();
    format!(
        "no order explains call {} ({:?}); the key can only have been one of {values:?}{}",
        operation.id,
        operation.kind,
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(id: u64, began: u64, ended: u64, kind: Kind) -> Operation {
        Operation { id, began, ended, kind }
    }

    fn read(value: Option<Version>) -> Kind {
        Kind::Read(Seen::Exactly(value))
    }

    fn explained(operations: &[(u64, u64, Kind)]) -> bool {
        let operations = operations.iter().enumerate();
        let numbered =
            operations.map(|(id, (a, b, kind))| operation(id as u64, *a, *b, kind.clone()));
        check(&numbered.collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn what_was_acknowledged_is_read() {
        let put = (1, 2, Kind::Write(Some(7)));
        assert!(explained(&[put.clone(), (3, 4, read(Some(7)))]));
        assert!(!explained(&[put.clone(), (3, 4, read(None))]));
        assert!(!explained(&[put, (3, 4, Kind::Write(None)), (5, 6, read(Some(7)))]));
    }

    #[test]
    fn concurrent_operations_take_any_order_but_one() {
        let puts = [(1, 10, Kind::Write(Some(1))), (2, 9, Kind::Write(Some(2)))];
        let reads = |values: [u64; 3]| {
            let reads = values.map(Some).into_iter().enumerate();
            reads.map(|(at, value)| (3 + 2 * at as u64, 4 + 2 * at as u64, read(value)))
        };
        assert!(explained(&puts.iter().cloned().chain(reads([1, 2, 2])).collect::<Vec<_>>()));
        assert!(!explained(&puts.iter().cloned().chain(reads([1, 2, 1])).collect::<Vec<_>>()));
    }

    #[test]
    fn an_unknown_write_settles_one_way() {
        let unknown = (1, 8, Kind::MaybeWrite(Some(1)));
        let seen = |ticks: u64, value| (ticks, ticks + 1, read(value));
        assert!(explained(&[unknown.clone(), seen(2, None), seen(4, Some(1)), seen(9, Some(1))]));
        assert!(explained(&[unknown.clone(), seen(9, None), seen(11, None)]));
        assert!(!explained(&[unknown.clone(), seen(2, Some(1)), seen(4, None)]));
        assert!(!explained(&[unknown, seen(9, None), seen(11, Some(1))]));
    }

    #[test]
    fn a_query_that_leaves_out_a_match_is_not_explained() {
        let put = (1, 2, Kind::Write(Some(6)));
        let hidden = |wish, worst| {
            let target = vec![0.0; 4];
            (3, 4, Kind::Read(Seen::Hidden { key: 1, wish, target, worst }))
        };
        assert!(!explained(&[put.clone(), hidden(Wish::All, None)]));
        assert!(explained(&[put.clone(), hidden(Wish::Color(1), None)]));
        assert!(!explained(&[put.clone(), hidden(Wish::Color(0), None)]));
        let near = Some((0.5, record::key_bytes(9)));
        assert!(explained(&[put.clone(), hidden(Wish::All, near)]));
        let far = Some((1e6, record::key_bytes(9)));
        assert!(!explained(&[put, hidden(Wish::All, far)]));
    }
}
