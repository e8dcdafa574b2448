//! Nearest neighbours without looking at every row: clusters, 1-bit codes, bounds.
//!
//! ```text
//! build   rotate, centre -> codes of 8 or 4 bits per row -> balanced lists, each row in two -> 1-bit codes per list
//! search  nearest lists through the tree -> per list: fast scan of 1-bit codes
//!         -> those whose lower bound beats the k-th distance so far: distance by row codes
//!         -> the best few: exact distance on their float rows, by the caller
//! ```
//!
//! An index is three sections of plain bytes ([`Built`]). TREE is opened ([`Index`]) and stays in memory; LISTS is read list
//! by list, CODES row by row, through a [`Source`]; [`Searcher::search`] names the lists that it lacks.
//! Vectors of cosine fields are taken at unit length. The same input gives the same bytes and the
//! same answers, whatever the number of threads or the CPU level.

mod build;
mod calibrate;
mod cluster;
mod codes;
mod fuzz;
mod index;
mod mask;
mod merge;
mod order;
mod params;
mod random;
mod ranked;
mod recall;
mod rotation;
mod search;
mod source;
mod tree;

pub use build::{Builder, Built, build};
#[doc(hidden)]
pub use fuzz::fuzz;
pub use index::Index;
pub use mask::RowMask;
pub use merge::{DROPPED, MergeInput, merge};
pub use order::Slots;
pub use params::{Params, RowBits};
pub use search::{Near, Outcome, Request, Searcher, Work};
pub use source::{Part, RowCodes, Source, Whole};

/// Indexes of fewer rows are flat: searches read all lists.
pub const FLAT_ROWS: usize = 8192;
/// Rows per list of a flat index.
const FLAT_LIST_ROWS: usize = 1024;

#[cfg(test)]
mod tests;
