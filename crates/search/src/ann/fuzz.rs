//! The fuzz body of the vector index: sections of any bytes.

use vb_kernel::Kernels;

use super::mask::RowMask;
use super::merge::{DROPPED, MergeInput, merge};
use super::params::Params;
use super::{Index, Outcome, Part, Request, Searcher, Slots, Whole};

/// Rows of a fuzzed index; more would only be slow.
const ROWS_MAX: u32 = 20_000;

/// u32 length of TREE, u32 length of LISTS, and the three sections. What opens is searched in all ways and merged.
pub fn fuzz(bytes: &[u8]) {
    let Some((tree, lists, codes)) = unframe(bytes) else { return };
    let Ok(index) = Index::open(tree) else { return };
    if index.rows() > ROWS_MAX || index.dimension() > 4096 {
        return;
    }
    for list in 0..index.lists().min(50) {
        let place = index.list_place(list);
        if let Some(run) = lists.get(place.start as usize..place.end as usize) {
            _ = index.check_list(list, run);
        }
    }
    let is_whole = lists.len() as u64 == index.lists_bytes();
    let slots = if is_whole { index.slots(lists).ok().flatten() } else { None };
    search(&index, lists, codes, slots.as_ref());
    if lists.len() as u64 == index.lists_bytes() && codes.len() as u64 == index.codes_bytes() {
        let params = Params {
            metric: index.metric(),
            dimension: index.dimension(),
            row_bits: index.shape.row_bits,
            seed: 1,
        };
        // Half of the rows: merging 20,000 of 4,096 dimensions takes too long.
        let rows = index.rows().min(300);
        let number = |row: u32| if row < rows { row } else { DROPPED };
        let numbers: Vec<u32> = (0..index.rows()).map(number).collect();
        let input = MergeInput { index: &index, lists, codes, rows: &numbers };
        _ = merge(&params, &[input], rows, Kernels::detect());
    }
}

fn search(index: &Index, lists: &[u8], codes: &[u8], slots: Option<&Slots>) {
    let vector: Vec<f32> = (0..index.dimension()).map(|place| place as f32 / 7.0 - 1.0).collect();
    let every = |n: usize| {
        let bits = (0..index.rows() as usize).filter(|row| row % n == 0);
        RowMask::from_bitmap(&bits.map(|row| row as u32).collect(), index.rows())
    };
    let masks = [every(2), every(500)];
    let mut searcher = Searcher::new(Kernels::detect());
    for codes in [codes, &[]] {
        for allowed in [None, Some(&masks[0]), Some(&masks[1])] {
            let parts = [Part { index, source: Whole { index, lists, codes, slots }, allowed }];
            let outcome = searcher.search(&vector, &parts, &Request::nearest(10));
            if outcome == Outcome::Missing {
                assert!(!searcher.missing().is_empty(), "something to load");
            }
            assert!(searcher.near().iter().all(|near| near.row < index.rows()));
        }
    }
}

fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (tree_length, rest) = bytes.split_first_chunk::<4>()?;
    let (lists_length, rest) = rest.split_first_chunk::<4>()?;
    let (tree, rest) = rest.split_at_checked(u32::from_le_bytes(*tree_length) as usize)?;
    let (lists, codes) = rest.split_at_checked(u32::from_le_bytes(*lists_length) as usize)?;
    Some((tree, lists, codes))
}

/// What [`fuzz`] takes apart.
#[cfg(test)]
pub(super) fn fuzz_input(built: &super::Built) -> Vec<u8> {
    let length = |section: &[u8]| (section.len() as u32).to_le_bytes();
    let lengths = [length(&built.tree), length(&built.lists)];
    [lengths.as_flattened(), &built.tree, &built.lists, &built.codes].concat()
}
