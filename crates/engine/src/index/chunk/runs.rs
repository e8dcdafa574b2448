//! Runs: neighbouring full chunks of a memtable, which share one attribute table and one set of codes.

use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_search::ann::RowMask;
use vb_search::{AttributeTable, Filter, RowFilter};

use super::{ChunkView, codes, doc_id};

/// Rows of a run at least: with fewer, going through a filter's tests costs more than through rows. With more,
/// more rows at the end of a memtable are in no whole run and have no codes.
const RUN_ROWS: usize = 1024;

/// Cuts the chunks of one memtable into runs. Those with a table are of full chunks, and as the memtable
/// grows they stay what they are.
pub(crate) fn runs(chunks: &[ChunkView]) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let (mut start, mut rows) = (0, 0);
    for (at, view) in chunks.iter().enumerate() {
        rows += view.chunk.len();
        if !view.chunk.is_full() {
            break;
        }
        if rows >= RUN_ROWS {
            runs.push(Run { chunks: &chunks[start..=at], is_full: true });
            (start, rows) = (at + 1, 0);
        }
    }
    runs.push(Run { chunks: &chunks[start..], is_full: false });
    runs
}

/// Some neighbouring chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    chunks: &'a [ChunkView],
    is_full: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn chunks(self) -> &'a [ChunkView] {
        self.chunks
    }

    /// Where its codes are or will be; `None`: it still grows.
    pub(crate) fn codes(self) -> Option<&'a Arc<[codes::Cell]>> {
        self.is_full.then(|| &self.chunks[0].chunk.codes)
    }

    /// What makes its codes of a field, if nobody has begun to.
    pub(crate) fn wish_codes(self, field: usize) -> Option<codes::Wish> {
        codes::Wish::new(self.codes()?, field, self.chunks)
    }

    /// How many vectors of a field it has.
    pub(crate) fn vector_count(self, field: usize) -> usize {
        self.chunks.iter().map(|view| view.chunk.vector_count(field)).sum()
    }

    /// Its live rows of a field, or those of them that are in `allowed` (a bitmap per chunk), numbered through
    /// all its chunks; `None`: all there are.
    pub(crate) fn row_mask(
        self,
        field: usize,
        allowed: &[Option<Arc<RoaringBitmap>>],
    ) -> Option<RowMask> {
        if allowed.iter().all(Option::is_none)
            && self.chunks.iter().all(|view| view.dead.is_empty())
        {
            return None;
        }
        let mut words = vec![0u64; self.vector_count(field).div_ceil(64)];
        let mut start = 0;
        for (view, allowed) in self.chunks.iter().zip(allowed) {
            let count = view.chunk.vector_count(field);
            for at in 0..count {
                let doc = view.chunk.doc_of(field, at);
                let counts = match allowed {
                    Some(allowed) => allowed.contains(doc),
                    None => !view.is_dead(doc),
                };
                let row = start + at;
                words[row / 64] |= u64::from(counts) << (row % 64);
            }
            start += count;
        }
        Some(RowMask::from_words(words))
    }

    /// The live rows of each chunk that the filter matches.
    pub(crate) fn select(self, filter: &Filter, rows: &RowFilter<'_>) -> Vec<RoaringBitmap> {
        if !self.is_full {
            return self.chunks.iter().map(|view| view.select(rows)).collect();
        }
        let selected = self.table().select(filter);
        let mut start = 0;
        let of_chunk = |view: &ChunkView| {
            let end = start + doc_id(view.chunk.len());
            let inside = selected.range(start..end).map(|row| row - start);
            let matching = RoaringBitmap::from_sorted_iter(inside).expect("a bitmap ascends");
            start = end;
            matching - view.dead.as_ref()
        };
        self.chunks.iter().map(of_chunk).collect()
    }

    fn table(self) -> Arc<AttributeTable> {
        let attributes = self.chunks.iter().flat_map(|view| &view.chunk.attributes);
        let table = || Arc::new(AttributeTable::new(attributes.map(AsRef::as_ref)));
        Arc::clone(self.chunks[0].chunk.table.get_or_init(table))
    }
}
