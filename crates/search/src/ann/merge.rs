//! One index from several, without their vectors.
//!
//! Rows of CODES are taken over as they are, if their index has the centre of the new one, or are encoded anew. That centre is the
//! largest input's, unless the mean of all rows is far from it. The lists of
//! the input with the most rows stay, with their centroids; rows of the others are assigned to them, and upkeep splits what
//! grew too large and dissolves what became too small. Only if no input with a tree has a fair share of all rows is everything
//! clustered anew.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::FLAT_ROWS;
use super::build::{Built, FAR, FAR_OF_FOUR_BITS, RowEncoder, assemble, recentre};
use super::cluster::{Clusters, NONE, Vectors, cluster, upkeep};
use super::index::Index;
use super::params::{Params, RowBits};
use crate::decode::Corrupt;

/// A row that the merged index does not have.
pub const DROPPED: u32 = u32::MAX;
/// The largest input keeps its lists if it has more than one in so many of all rows.
const SHARE: usize = 8;
/// Rows encoded by one job.
const CHUNK: usize = 512;

/// One index to merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeInput<'a> {
    /// Its opened TREE section.
    pub index: &'a Index,
    /// Its LISTS section, whole.
    pub lists: &'a [u8],
    /// Its CODES section, whole.
    pub codes: &'a [u8],
    /// For each of its rows, its number in the merged index, or [`DROPPED`].
    pub rows: &'a [u32],
}

/// Merges indexes of the params' metric, dimension and bits into one of `rows` rows. Deterministic as
/// [`super::Builder::finish`] is.
///
/// # Panics
/// If the inputs are of another shape, or their rows are not given each new number exactly once.
pub fn merge(
    params: &Params,
    inputs: &[MergeInput<'_>],
    rows: u32,
    kernels: Kernels,
) -> Result<Built, Corrupt> {
    check(params, inputs, rows)?;
    let shape = params.shape();
    let kept = |input: &&MergeInput<'_>| input.rows.iter().filter(|row| **row != DROPPED).count();
    let largest = inputs.iter().rev().max_by_key(|input| kept(input));
    let base = inputs.iter().rev().filter(|input| !input.index.is_flat()).max_by_key(kept);
    let base = base.filter(|base| rows as usize >= FLAT_ROWS && kept(base) * SHARE > rows as usize);
    let centre = base.or(largest).map(|input| input.index.centre.clone());
    let mut centre = centre.unwrap_or_else(|| vec![0.0; shape.padded()]);
    let mut codes = vec![0u8; rows as usize * shape.row_bytes()];
    for input in inputs {
        take_rows(input, &centre, kernels, &mut codes)?;
    }
    let far = match shape.row_bits {
        RowBits::Four if base.is_some() => FAR_OF_FOUR_BITS,
        _ => FAR,
    };
    let shift = recentre(shape, &mut centre, &mut codes, far, kernels);
    let vectors = Vectors { bytes: &codes, shape };
    let clusters = match base {
        Some(base) => {
            let mut clusters = lists_of(base, rows)?;
            if let Some(shift) = shift {
                clusters.shift(&shift);
            }
            Some(upkeep(vectors, clusters, kernels, params.seed))
        }
        None => (rows as usize >= FLAT_ROWS).then(|| cluster(vectors, kernels, params.seed)),
    };
    Ok(assemble(params, centre, codes, clusters.as_ref(), kernels))
}

fn check(params: &Params, inputs: &[MergeInput<'_>], rows: u32) -> Result<(), Corrupt> {
    let mut seen = vec![false; rows as usize];
    for input in inputs {
        let index = input.index;
        assert!(index.shape == params.shape(), "inputs of the params' shape");
        assert_eq!(input.rows.len(), index.rows as usize, "a new number per row");
        let is_whole = input.lists.len() as u64 == index.lists_bytes()
            && input.codes.len() as u64 == index.codes_bytes();
        if !is_whole {
            return Err(Corrupt { part: "vector index", what: "length of a section" });
        }
        for row in input.rows.iter().filter(|row| **row != DROPPED) {
            assert!(!std::mem::replace(&mut seen[*row as usize], true), "each new number once");
        }
    }
    assert!(seen.iter().all(|seen| *seen), "each new number");
    Ok(())
}

/// Puts the rows of an input where they belong.
fn take_rows(
    input: &MergeInput<'_>,
    centre: &[f32],
    kernels: Kernels,
    codes: &mut [u8],
) -> Result<(), Corrupt> {
    let index = input.index;
    let order = index.rows_in_order(input.lists)?;
    let new_number = |slot: usize| -> Option<usize> {
        let row = order.as_ref().map_or(slot, |order| order[slot] as usize);
        input.rows.get(row).filter(|row| **row != DROPPED).map(|row| *row as usize)
    };
    let shape = index.shape;
    let bytes = shape.row_bytes();
    let shift: Vec<f32> = centre.iter().zip(&index.centre).map(|(new, old)| new - old).collect();
    let mut put = |slot: usize, row: &[u8]| {
        if let Some(number) = new_number(slot) {
            codes[number * bytes..][..bytes].copy_from_slice(row);
        }
    };
    if shift.iter().all(|value| *value == 0.0) {
        input.codes.chunks_exact(bytes).enumerate().for_each(|(slot, row)| put(slot, row));
        return Ok(());
    }
    let encoder = RowEncoder { shape, centre: &shift, kernels };
    let encode = |rows: &[u8]| {
        let mut out = vec![0; rows.len()];
        let vectors = Vectors { bytes: rows, shape };
        let numbers = 0..vectors.rows() as u32;
        encoder.encode(numbers, |row, vector| vectors.decode(row, vector), &mut out);
        out
    };
    let encoded: Vec<Vec<u8>> = input.codes.par_chunks(CHUNK * bytes).map(encode).collect();
    let rows = encoded.iter().flat_map(|rows| rows.chunks_exact(bytes));
    rows.enumerate().for_each(|(slot, row)| put(slot, row));
    Ok(())
}

/// The lists of an input, with the new row numbers.
fn lists_of(input: &MergeInput<'_>, rows: u32) -> Result<Clusters, Corrupt> {
    let index = input.index;
    let mut lists = vec![[NONE; 2]; rows as usize];
    for (number, list) in (0..).zip(&index.lists) {
        let place = index.list_place(number);
        let run = &input.lists[place.start as usize..place.end as usize];
        for (place, old) in index.run_rows(list, run).take(list.count as usize).enumerate() {
            let corrupt = Corrupt { part: "posting list", what: "row number" };
            let new = *input.rows.get(old as usize).ok_or(corrupt)?;
            if new != DROPPED {
                lists[new as usize][usize::from(place >= list.firsts as usize)] = number;
            }
        }
    }
    for lists in &mut lists {
        *lists = match *lists {
            [NONE, _] => [NONE; 2],
            [first, NONE] => [first; 2],
            both => both,
        };
    }
    Ok(Clusters { centroids: index.centroids(), lists })
}
