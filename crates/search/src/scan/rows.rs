//! Row-major vectors and the documents they belong to.

use crate::DocId;
use crate::segment::{ListPiece, Lists};
use roaring::RoaringBitmap;
use std::ops::{Range, RangeInclusive};

/// Vectors to scan.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `docs.len()` rows of the field's dimension, one after another.
    pub values: &'a [f32],
    /// [`crate::row_norm`] of each row. If there are none, cosine scans compute them.
    pub norms: Option<&'a [f32]>,
    /// The document of each row.
    pub docs: Docs<'a>,
}

/// The document of each row.
#[derive(Clone, Copy, Debug)]
pub enum Docs<'a> {
    /// Consecutive documents.
    Sequence {
        /// The first.
        start: DocId,
        /// How many.
        len: usize,
    },
    /// One document per row, ascending.
    Ids(&'a [DocId]),
    /// As a segment's posting lists say; made by [`crate::Segment::rows`].
    Lists(ListRange<'a>),
}

/// Some rows of a segment's posting lists.
#[derive(Clone, Copy, Debug)]
pub struct ListRange<'a> {
    lists: &'a Lists,
    start: usize,
    end: usize,
}

impl<'a> ListRange<'a> {
    /// # Panics
    /// If the range goes beyond the lists' rows.
    pub(crate) fn new(lists: &'a Lists, rows: &Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= lists.rows(), "rows of the field");
        Self { lists, start: rows.start, end: rows.end }
    }
}

impl Docs<'_> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Docs::Sequence { len, .. } => *len,
            Docs::Ids(ids) => ids.len(),
            Docs::Lists(range) => range.end - range.start,
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Rows<'_> {
    /// Cuts the rows where their documents stop ascending.
    pub(super) fn for_each_piece(&self, dimension: usize, mut scan: impl FnMut(&Piece<'_>)) {
        assert_eq!(self.values.len(), self.docs.len() * dimension, "rows x dimension values");
        assert!(self.norms.is_none_or(|norms| norms.len() == self.docs.len()), "one norm per row");
        match self.docs {
            Docs::Sequence { start, len } => {
                scan(&self.piece(0..len, dimension, PieceDocs::Sequence { start, len }));
            }
            Docs::Ids(ids) => scan(&self.piece(0..ids.len(), dimension, PieceDocs::Ids(ids))),
            Docs::Lists(range) => {
                let mut ids = Vec::new();
                for list in range.lists.pieces(range.start..range.end) {
                    let rows = list.rows.start - range.start..list.rows.end - range.start;
                    let docs = PieceDocs::of_list(&list, &mut ids);
                    scan(&self.piece(rows, dimension, docs));
                }
            }
        }
    }

    fn piece<'a>(&'a self, rows: Range<usize>, dimension: usize, docs: PieceDocs<'a>) -> Piece<'a> {
        Piece {
            values: &self.values[rows.start * dimension..rows.end * dimension],
            norms: self.norms.map(|norms| &norms[rows]),
            docs,
        }
    }
}

/// Rows whose documents ascend.
pub(super) struct Piece<'a> {
    pub(super) values: &'a [f32],
    pub(super) norms: Option<&'a [f32]>,
    pub(super) docs: PieceDocs<'a>,
}

impl Piece<'_> {
    pub(super) fn row(&self, row: usize, dimension: usize) -> &[f32] {
        &self.values[row * dimension..][..dimension]
    }
}

/// Ascending documents, one per row.
pub(super) enum PieceDocs<'a> {
    Sequence { start: DocId, len: usize },
    Ids(&'a [DocId]),
}

impl<'a> PieceDocs<'a> {
    fn of_list(list: &ListPiece<'_>, ids: &'a mut Vec<DocId>) -> Self {
        match list.sequence_start() {
            Some(start) => PieceDocs::Sequence { start, len: list.rows.len() },
            None => {
                list.read(ids);
                PieceDocs::Ids(ids)
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            PieceDocs::Sequence { len, .. } => *len,
            PieceDocs::Ids(ids) => ids.len(),
        }
    }

    /// The document of a row.
    pub(super) fn at(&self, row: usize) -> DocId {
        match self {
            PieceDocs::Sequence { start, .. } => start + row as DocId,
            PieceDocs::Ids(ids) => ids[row],
        }
    }

    /// The first and last document; `None` without rows.
    pub(super) fn range(&self) -> Option<RangeInclusive<DocId>> {
        (self.len() > 0).then(|| self.at(0)..=self.at(self.len() - 1))
    }

    /// The rows whose document is in `docs`, ascending.
    pub(super) fn rows_of(&self, docs: &RoaringBitmap) -> Vec<u32> {
        let Some(range) = self.range() else {
            return Vec::new();
        };
        let docs = docs.range(range);
        match self {
            PieceDocs::Sequence { start, .. } => docs.map(|doc| doc - start).collect(),
            PieceDocs::Ids(ids) => {
                let mut row = 0;
                let rows = docs.filter_map(|doc| {
                    row += distance_to(&ids[row..], doc);
                    (ids.get(row) == Some(&doc)).then_some(row as u32)
                });
                rows.collect()
            }
        }
    }
}

/// How many of the ascending `ids` are below `doc`, found in steps that double: near ones fast.
fn distance_to(ids: &[DocId], doc: DocId) -> usize {
    let mut step = 1;
    while step < ids.len() && ids[step - 1] < doc {
        step *= 2;
    }
    let start = step / 2;
    let end = step.min(ids.len());
    start + ids[start..end].partition_point(|&id| id < doc)
}
