//! What an index is built for.

use crate::schema::Metric;

/// Bits of a value in CODES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowBits {
    /// Half the bytes; more rows need an exact look.
    Four,
    /// Distances almost as good as exact ones.
    Eight,
}

/// What an index is built for.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// What near means.
    pub metric: Metric,
    /// Values per vector, at least 1.
    pub dimension: usize,
    /// How rows are kept for the second stage.
    pub row_bits: RowBits,
    /// Decides which vectors are sampled. Equal inputs and seeds give equal bytes.
    pub seed: u64,
}

impl Params {
    /// The defaults for vectors of this dimension.
    pub fn new(metric: Metric, dimension: usize) -> Self {
        let row_bits = if dimension < 256 { RowBits::Eight } else { RowBits::Four };
        Self { metric, dimension, row_bits, seed: 0x5EED }
    }

    /// Bytes of memory that a vector takes in an index without a tree, about.
    pub fn bytes_per_row(&self) -> usize {
        let shape = self.shape();
        shape.row_bytes() + shape.run_bytes(vb_kernel::BLOCK) / vb_kernel::BLOCK
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { metric: self.metric, dimension: self.dimension, row_bits: self.row_bits }
    }
}

/// What the sizes of everything follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    pub(super) row_bits: RowBits,
}

/// Bytes of a row before its codes: low, step and squared norm as f32.
pub(super) const ROW_HEADER: usize = 12;

impl Shape {
    /// Values of a rotated vector: whole pairs of groups of four.
    pub(super) fn padded(self) -> usize {
        self.dimension.next_multiple_of(8)
    }

    /// Bytes of a block of 32 vectors.
    pub(super) fn block_bytes(self) -> usize {
        vb_kernel::block_bytes(self.padded() / 4)
    }

    /// Bytes of the blocks of a list.
    pub(super) fn blocks_bytes(self, count: usize) -> usize {
        count.div_ceil(vb_kernel::BLOCK) * self.block_bytes()
    }

    /// Bytes of the run of a list: its blocks, and its row numbers.
    pub(super) fn run_bytes(self, count: usize) -> usize {
        self.blocks_bytes(count) + 4 * count.next_multiple_of(vb_kernel::BLOCK)
    }

    /// Bytes of a row of CODES.
    pub(super) fn row_bytes(self) -> usize {
        match self.row_bits {
            RowBits::Four => ROW_HEADER + self.padded() / 2,
            RowBits::Eight => ROW_HEADER + self.padded(),
        }
    }
}
