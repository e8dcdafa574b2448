//! Where rows stand in the CODES section.

use super::index::Index;
use crate::decode::Corrupt;

/// How rows of CODES are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// By their numbers.
    ByNumber,
    /// List by list, of each those whose first list it is.
    ByList,
}

/// The place of each row among those of CODES.
#[derive(Clone, Debug)]
pub struct Slots(Box<[u32]>);

impl Slots {
    /// Bytes of memory that those of so many rows take.
    pub fn bytes(rows: usize) -> usize {
        4 * rows
    }

    #[inline]
    pub(super) fn of(&self, row: u32) -> Option<u32> {
        self.0.get(row as usize).copied()
    }
}

const CORRUPT: Corrupt =
    Corrupt { part: "vector index", what: "a row in no first list, or in two" };

impl Index {
    /// The place of each row of CODES, from all lists; `None`: rows stand there by their numbers.
    ///
    /// # Errors
    /// If some row is not the first of exactly one list.
    ///
    /// # Panics
    /// If the lists are not of [`Index::lists_bytes`].
    pub fn slots(&self, lists: &[u8]) -> Result<Option<Slots>, Corrupt> {
        const NOWHERE: u32 = u32::MAX;
        let Some(order) = self.rows_in_order(lists)? else { return Ok(None) };
        let mut slots = vec![NOWHERE; self.rows as usize].into_boxed_slice();
        for (slot, row) in (0..).zip(order) {
            let place = slots.get_mut(row as usize).ok_or(CORRUPT)?;
            if std::mem::replace(place, slot) != NOWHERE {
                return Err(CORRUPT);
            }
        }
        Ok(Some(Slots(slots)))
    }

    /// The row of each place of CODES; `None`: rows stand there by their numbers.
    pub(super) fn rows_in_order(&self, lists: &[u8]) -> Result<Option<Vec<u32>>, Corrupt> {
        if self.order == RowOrder::ByNumber || self.is_flat() {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(self.rows as usize);
        for (number, list) in (0..).zip(&self.lists) {
            let place = self.list_place(number);
            let run = &lists[place.start as usize..place.end as usize];
            rows.extend(self.run_rows(list, run).take(list.firsts as usize));
        }
        if rows.len() == self.rows as usize { Ok(Some(rows)) } else { Err(CORRUPT) }
    }
}

/// Puts items of `bytes` each in another order, in place: item `order[n]` becomes the n-th.
///
/// # Panics
/// If `order` is not a permutation of all items.
pub(super) fn permute(items: &mut [u8], bytes: usize, order: &[u32]) {
    assert_eq!(items.len(), order.len() * bytes, "an item per place");
    let mut is_done = vec![false; order.len()];
    let mut first = vec![0; bytes];
    for start in 0..order.len() {
        if is_done[start] {
            continue;
        }
        first.copy_from_slice(&items[start * bytes..][..bytes]);
        let mut place = start;
        loop {
            assert!(!std::mem::replace(&mut is_done[place], true), "each item once");
            let from = order[place] as usize;
            if from == start {
                items[place * bytes..][..bytes].copy_from_slice(&first);
                break;
            }
            items.copy_within(from * bytes..(from + 1) * bytes, place * bytes);
            place = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_put_in_order() {
        let mut items = *b"aabbccddeeff";
        permute(&mut items, 2, &[2, 1, 4, 5, 0, 3]);
        assert_eq!(&items, b"ccbbeeffaadd");
        permute(&mut [], 3, &[]);
    }
}
