//! Runs: neighbouring full chunks of a memtable, which share one attribute table and one set of codes.

use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_search::ann::RowMask;
use vb_search::{AttributeTable, Filter, RowFilter};

use super::super::codes;
use super::known::Shared;
use super::{ChunkView, doc_id};

/// Rows of a run at least: with fewer, going through a filter's tests costs more than through rows.
const RUN_ROWS: usize = 1024;
/// Rows of a piece at least. A piece costs a search what it takes to prepare for another part; what is in no piece is
/// compared exactly.
const PIECE_ROWS: usize = 128;

/// Cuts the chunks of one memtable into runs. Those that are whole, and the pieces behind them, are of full chunks; as the memtable
/// grows whole ones stay what they are, and pieces become part of a whole one.
pub(crate) fn runs(chunks: &[ChunkView]) -> Vec<Run<'_>> {
    let full = chunks.iter().take_while(|view| view.chunk.is_full()).count();
    let (full, rest) = chunks.split_at(full);
    let (mut runs, behind) = cut(full, RUN_ROWS, Kind::Whole);
    let (pieces, few) = cut(behind, PIECE_ROWS, Kind::Piece);
    runs.extend(pieces);
    runs.extend([few, rest].map(|chunks| Run { chunks, kind: Kind::Open }));
    runs.retain(|run| !run.chunks.is_empty());
    runs
}

/// As [`runs`], but whole ones without codes of a field as their pieces: those may have some.
pub(crate) fn coded_runs(chunks: &[ChunkView], field: usize) -> Vec<Run<'_>> {
    let mut coded = Vec::new();
    for run in runs(chunks) {
        if run.kind == Kind::Whole && !run.is_coded(field) {
            let (pieces, few) = cut(run.chunks, PIECE_ROWS, Kind::Piece);
            coded.extend(pieces);
            coded.extend((!few.is_empty()).then_some(Run { chunks: few, kind: Kind::Open }));
        } else {
            coded.push(run);
        }
    }
    coded
}

/// Cuts full chunks into runs of so many rows at least; returns the chunks behind them as well.
fn cut(chunks: &[ChunkView], rows_min: usize, kind: Kind) -> (Vec<Run<'_>>, &[ChunkView]) {
    let mut runs = Vec::new();
    let (mut start, mut rows) = (0, 0);
    for (at, view) in chunks.iter().enumerate() {
        rows += view.chunk.len();
        if rows >= rows_min {
            runs.push(Run { chunks: &chunks[start..=at], kind });
            (start, rows) = (at + 1, 0);
        }
    }
    (runs, &chunks[start..])
}

/// Some neighbouring chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    chunks: &'a [ChunkView],
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Has a table of attributes, and codes.
    Whole,
    /// Has codes, until it is part of a whole one that has.
    Piece,
    /// Still grows, or is too short.
    Open,
}

impl<'a> Run<'a> {
    pub(crate) fn chunks(self) -> &'a [ChunkView] {
        self.chunks
    }

    /// What queries know of it; `None`: it is open.
    fn shared(self) -> Option<&'a Shared> {
        let first = &self.chunks.first()?.chunk;
        match self.kind {
            Kind::Whole => Some(&first.run),
            Kind::Piece => Some(&first.piece),
            Kind::Open => None,
        }
    }

    /// Where its codes are or will be; `None`: it is open.
    pub(crate) fn codes(self) -> Option<&'a Arc<[codes::Cell]>> {
        self.shared().map(|shared| &shared.codes)
    }

    /// Whether it has codes of a field.
    pub(crate) fn is_coded(self, field: usize) -> bool {
        self.codes().is_some_and(|cells| cells[field].get().is_some())
    }

    /// What makes its codes of a field, if nobody has begun to.
    pub(crate) fn wish_codes(self, field: usize) -> Option<codes::Wish> {
        codes::Wish::new(self.codes()?, field, self.chunks)
    }

    /// How many vectors of a field it has.
    pub(crate) fn vector_count(self, field: usize) -> usize {
        self.chunks.iter().map(|view| view.chunk.vector_count(field)).sum()
    }

    /// Its live rows of a field, or those of them that are in `allowed`, which the filter matches (a bitmap per chunk), numbered
    /// through all its chunks; `None`: all there are.
    pub(crate) fn row_mask(
        self,
        field: usize,
        filter: &Filter,
        allowed: &[Option<Arc<RoaringBitmap>>],
    ) -> Option<Arc<RowMask>> {
        let is_all = allowed.iter().all(Option::is_none);
        if is_all && self.chunks.iter().all(|view| view.dead.is_empty()) {
            return None;
        }
        let make = || self.mask_of(field, allowed);
        let Some(shared) = self.shared() else { return Some(Arc::new(make())) };
        let known = shared.find(filter, self.chunks);
        // What a filter matches was kept when it was found. Live rows are not asked for before.
        let known = known.or_else(|| is_all.then(|| shared.keep(filter, self.chunks, Vec::new())));
        Some(known.map_or_else(|| Arc::new(make()), |known| known.mask(field, make)))
    }

    fn mask_of(self, field: usize, allowed: &[Option<Arc<RoaringBitmap>>]) -> RowMask {
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
        RowMask::from_words(words)
    }

    /// Whether [`Run::select`] knows its answer already.
    pub(crate) fn knows(self, filter: &Filter) -> bool {
        self.shared().is_some_and(|shared| shared.find(filter, self.chunks).is_some())
    }

    /// How many rows the filter matches, if that is known.
    pub(crate) fn matching_rows(self, filter: &Filter) -> Option<usize> {
        let known = self.shared()?.find(filter, self.chunks)?;
        Some(known.matching.iter().map(|rows| rows.len() as usize).sum())
    }

    /// How many vectors of a field have no codes, neither the run's nor those of its pieces.
    pub(crate) fn uncoded_rows(self, field: usize) -> usize {
        let coded = match self.is_coded(field) {
            true => vec![self],
            false => coded_runs(self.chunks, field),
        };
        let uncoded = coded.into_iter().filter(|run| !run.is_coded(field));
        uncoded.map(|run| run.vector_count(field)).sum()
    }

    /// The live rows of each chunk that the filter matches: by columns, where there are any, or row by row.
    pub(crate) fn select(
        self,
        filter: &Filter,
        rows: &RowFilter<'_>,
        by_columns: bool,
    ) -> Vec<Arc<RoaringBitmap>> {
        if let Some(known) = self.shared().and_then(|shared| shared.find(filter, self.chunks)) {
            return known.matching.clone();
        }
        let selected: Vec<_> = match by_columns && self.kind == Kind::Whole {
            true => self.select_by_columns(filter).map(Arc::new).collect(),
            false => self.chunks.iter().map(|view| Arc::new(view.select(rows))).collect(),
        };
        if let Some(shared) = self.shared() {
            shared.keep(filter, self.chunks, selected.clone());
        }
        selected
    }

    fn select_by_columns(self, filter: &Filter) -> impl Iterator<Item = RoaringBitmap> + use<'a> {
        let selected = self.table().select(filter);
        let mut start = 0;
        self.chunks.iter().map(move |view| {
            let end = start + doc_id(view.chunk.len());
            let inside = selected.range(start..end).map(|row| row - start);
            let matching = RoaringBitmap::from_sorted_iter(inside).expect("a bitmap ascends");
            start = end;
            matching - view.dead.as_ref()
        })
    }

    fn table(self) -> Arc<AttributeTable> {
        let attributes = self.chunks.iter().flat_map(|view| &view.chunk.attributes);
        let table = || Arc::new(AttributeTable::new(attributes.map(AsRef::as_ref)));
        Arc::clone(self.chunks[0].chunk.table.get_or_init(table))
    }
}
