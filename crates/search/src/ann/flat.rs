//! An index that grows row by row, for vectors that are in no segment yet.
//!
//! Its lists are single blocks of 32 rows, the last of which is written anew with each row. Everything else is as
//! in the sections of a flat index.

use vb_kernel::{BLOCK, Kernels};

use super::codes::{Factors, NO_ROW, encode_row, factors, set_signs, write_factors};
use super::index::{Index, List};
use super::params::Params;
use super::recall::Model;
use super::source::Source;

/// Vectors in memory, searched by their codes.
#[derive(Clone, Debug)]
pub struct FlatCodes {
    kernels: Kernels,
    index: Index,
    lists: Vec<u8>,
    codes: Vec<u8>,
    /// Of the last block.
    factors: Vec<Factors>,
    origin: Vec<f32>,
    rotated: Vec<f32>,
}

impl FlatCodes {
    /// Without rows. Vectors are taken around the centre of `like`, an index of vectors like them, or else around the first
    /// vector; codes are best around the mean.
    ///
    /// # Panics
    /// If `like` is of another dimension.
    pub fn new(params: &Params, like: Option<&Index>, kernels: Kernels) -> Self {
        let shape = params.shape();
        let centre = like.map_or_else(Vec::new, |like| like.centre.clone());
        assert!(centre.is_empty() || centre.len() == shape.padded(), "an index of the dimension");
        Self {
            kernels,
            index: Index::new(shape, 0, centre, Model::default(), None, Vec::new()),
            lists: Vec::new(),
            codes: Vec::new(),
            factors: Vec::new(),
            origin: vec![0.0; shape.padded()],
            rotated: vec![0.0; shape.padded()],
        }
    }

    /// Adds a vector; returns its row: 0, 1, 2 and so on.
    ///
    /// # Panics
    /// If it is not of the dimension.
    pub fn push(&mut self, vector: &[f32]) -> u32 {
        let shape = self.index.shape;
        assert_eq!(vector.len(), shape.dimension, "a vector of the dimension");
        self.index.rotate(vector, &mut self.rotated);
        if self.index.centre.is_empty() {
            self.index.centre.clone_from(&self.rotated);
        }
        let pairs = self.rotated.iter_mut().zip(&self.index.centre);
        pairs.for_each(|(value, centre)| *value -= centre);
        encode_row(&self.rotated, shape.row_bits, self.kernels, &mut self.codes);
        let row = self.index.rows;
        self.index.rows += 1;
        if (row as usize).is_multiple_of(BLOCK) {
            self.start_block();
        }
        let (factors, _) = factors(shape.metric, &self.rotated, &self.origin);
        self.factors.push(factors);
        self.write(row);
        row
    }

    fn start_block(&mut self) {
        let start = self.lists.len() as u64;
        self.index.lists.push(List { start, count: 0, firsts: 0, crc: 0, spread: 0.0 });
        let run = self.index.shape.run_bytes(BLOCK).next_multiple_of(Index::RUN_ALIGN as usize);
        self.lists.resize(self.lists.len() + run, 0);
        let end = self.index.shape.block_bytes() + 4 * BLOCK;
        let rows = self.index.shape.block_bytes()..end;
        self.lists[start as usize..][rows].fill(NO_ROW.to_le_bytes()[0]);
        self.factors.clear();
    }

    /// Puts the vector in `rotated` into the last block.
    fn write(&mut self, row: u32) {
        let bytes = self.index.shape.block_bytes();
        let list = self.index.lists.last_mut().expect("a block was started for the first row");
        let run = &mut self.lists[list.start as usize..];
        let (block, rows) = run.split_at_mut(bytes);
        let place = list.count as usize;
        set_signs(&self.rotated, place, block);
        write_factors(&self.factors, block);
        rows[4 * place..][..4].copy_from_slice(&row.to_le_bytes());
        list.count += 1;
        list.firsts += 1;
    }

    /// For a [`super::Part`] beside this source.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> usize {
        self.lists.len() + self.codes.len() + self.index.lists.len() * size_of::<List>()
    }
}

impl Source for &FlatCodes {
    #[inline]
    fn list(&self, list: u32) -> Option<&[u8]> {
        let place = self.index.list_place(list);
        self.lists.get(place.start as usize..place.end as usize)
    }

    #[inline]
    fn has_rows(&self) -> bool {
        true
    }

    #[inline]
    fn row(&self, row: u32) -> Option<&[u8]> {
        let bytes = self.index.row_bytes();
        let start = row as usize * bytes;
        self.codes.get(start..start + bytes)
    }
}
