//! From terms to documents.

use crate::DocId;
use crate::decode::Corrupt;
use crate::segment::section::{Body, U32s, position, write_pieces, write_u32s};
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::ops::Range;

/// Up to this many terms, each gets a bitmap; beyond, documents are kept as runs.
const BITMAP_TERMS_MAX: usize = 1024;

/// Documents of runs are sorted if fewer than one in this many is selected; otherwise a set with a bit
/// for each document is filled.
const SORT_SHARE: u64 = 128;

const BITMAPS: u32 = 0;
const RUNS: u32 = 1;

/// Which of the two forms a column of so many terms takes.
pub(super) fn kind_for(terms: usize) -> u32 {
    if terms <= BITMAP_TERMS_MAX { BITMAPS } else { RUNS }
}

/// Writes the postings of ascending, distinct `(term, document)` entries.
pub(super) fn build(terms: usize, entries: &[(u32, DocId)], out: &mut Vec<u8>) {
    if kind_for(terms) == BITMAPS {
        let bitmaps: Vec<Vec<u8>> = entries
            .chunk_by(|a, b| a.0 == b.0)
            .map(|run| write_bitmap(run.iter().map(|&(_, doc)| doc)))
            .collect();
        write_pieces(bitmaps.iter().map(Vec::as_slice), out);
    } else {
        let runs = entries.chunk_by(|a, b| a.0 == b.0);
        write_u32s(runs.scan(0, |end, run| add(end, run.len())), out);
        write_u32s(entries.iter().map(|&(_, doc)| doc), out);
    }
}

fn add(end: &mut u32, length: usize) -> Option<u32> {
    *end += position(length);
    Some(*end)
}

/// The portable bytes of ascending documents.
pub(super) fn write_bitmap(docs: impl Iterator<Item = DocId>) -> Vec<u8> {
    bitmap_bytes(&RoaringBitmap::from_sorted_iter(docs).expect("documents ascend"))
}

/// The portable bytes of a bitmap, in the smallest form.
pub(super) fn bitmap_bytes(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bitmap = bitmap.clone();
    bitmap.optimize();
    let mut out = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut out).expect("a vector takes every byte");
    out
}

/// Reads the whole of `bytes` as a bitmap of documents below `docs`.
pub(super) fn read_bitmap(bytes: &Bytes, docs: u32) -> Option<RoaringBitmap> {
    let mut rest = &bytes[..];
    let bitmap = RoaringBitmap::deserialize_from(&mut rest).ok()?;
    let inside = bitmap.max().is_none_or(|last| last < docs);
    (rest.is_empty() && inside).then_some(bitmap)
}

/// Bytes of memory that a bitmap takes, about.
pub(super) fn bitmap_weight(bitmap: &RoaringBitmap) -> usize {
    const CONTAINER: usize = 48;
    let containers = bitmap.statistics().n_containers as usize;
    size_of::<RoaringBitmap>() + containers * CONTAINER + bitmap.serialized_size()
}

/// Reader of postings.
#[derive(Debug)]
pub(super) enum Postings {
    /// One per term, none empty.
    Bitmaps(Vec<RoaringBitmap>),
    /// The documents of term t are `entries[ends[t - 1]..ends[t]]`, ascending, below `docs`.
    Runs { ends: U32s, entries: U32s, docs: u32 },
}

impl Postings {
    pub(super) fn open(kind: u32, terms: usize, body: &mut Body) -> Result<Self, Corrupt> {
        match kind {
            BITMAPS => Self::open_bitmaps(terms, body),
            RUNS => Self::open_runs(terms, body),
            _ => Err(body.corrupt("kind of postings")),
        }
    }

    fn open_bitmaps(terms: usize, body: &mut Body) -> Result<Self, Corrupt> {
        let pieces = body.pieces(terms)?;
        let read = |term| {
            read_bitmap(&pieces.shared(term), body.docs)
                .filter(|bitmap| !bitmap.is_empty())
                .ok_or(body.corrupt("bitmap of a term"))
        };
        Ok(Postings::Bitmaps((0..terms).map(read).collect::<Result<_, _>>()?))
    }

    fn open_runs(terms: usize, body: &mut Body) -> Result<Self, Corrupt> {
        let ends = body.u32s(terms)?;
        body.check(ends.iter().is_sorted_by(|a, b| a < b), "ends of runs")?;
        let count = ends.iter().next_back().unwrap_or(0);
        let entries = body.u32s(count as usize)?;
        let mut start = 0;
        for end in ends.iter().map(|end| end as usize) {
            let ascends = entries.range(start..end).is_sorted_by(|a, b| a < b);
            let inside = entries.at(end - 1) < body.docs;
            body.check(ascends && inside, "run of a term")?;
            start = end;
        }
        Ok(Postings::Runs { ends, entries, docs: body.docs })
    }

    /// How many (term, document) entries the terms have; bitmaps count terms instead.
    pub(super) fn cost(&self, terms: &Range<u32>) -> usize {
        match self {
            Postings::Bitmaps(_) => terms.len(),
            Postings::Runs { ends, .. } => run_of(ends, terms).len(),
        }
    }

    /// The documents of all terms in the ranges.
    pub(super) fn union(&self, ranges: &[Range<u32>]) -> RoaringBitmap {
        match self {
            Postings::Bitmaps(bitmaps) => {
                let terms = ranges.iter().cloned().flatten();
                terms.fold(RoaringBitmap::new(), |all, term| all | &bitmaps[term as usize])
            }
            Postings::Runs { ends, entries, docs } => {
                let runs = ranges.iter().map(|terms| run_of(ends, terms));
                union_of_runs(runs.flat_map(|run| entries.range(run)).collect(), *docs)
            }
        }
    }

    /// Visits the documents of one term, ascending.
    pub(super) fn for_each_doc(&self, term: u32, visit: impl FnMut(DocId)) {
        match self {
            Postings::Bitmaps(bitmaps) => bitmaps[term as usize].iter().for_each(visit),
            Postings::Runs { ends, entries, .. } => {
                entries.range(run_of(ends, &(term..term + 1))).for_each(visit);
            }
        }
    }

    /// Bytes of memory beside the section's own.
    pub(super) fn extra_weight(&self) -> usize {
        match self {
            Postings::Bitmaps(bitmaps) => bitmaps.iter().map(bitmap_weight).sum(),
            Postings::Runs { .. } => 0,
        }
    }
}

/// The entries of consecutive terms, which lie side by side.
fn run_of(ends: &U32s, terms: &Range<u32>) -> Range<usize> {
    if terms.is_empty() {
        return 0..0;
    }
    let start = if terms.start == 0 { 0 } else { ends.at(terms.start as usize - 1) };
    start as usize..ends.at(terms.end as usize - 1) as usize
}

fn union_of_runs(mut ids: Vec<DocId>, docs: u32) -> RoaringBitmap {
    if ids.len() as u64 * SORT_SHARE < u64::from(docs) {
        ids.sort_unstable();
        ids.dedup();
        return RoaringBitmap::from_sorted_iter(ids).expect("documents ascend");
    }
    let mut bits = DocBits::new(docs);
    ids.into_iter().for_each(|doc| bits.set(doc, true));
    bits.into()
}

/// A plain set of documents: many documents enter it faster than a bitmap in containers.
pub(super) struct DocBits(Vec<u8>);

impl DocBits {
    /// Room for the documents below `docs`.
    pub(super) fn new(docs: u32) -> Self {
        Self(vec![0; (docs as usize).div_ceil(8)])
    }

    /// Adds `doc` if `wanted`, without a branch.
    ///
    /// # Panics
    /// If there is no room for the document.
    pub(super) fn set(&mut self, doc: DocId, wanted: bool) {
        self.0[doc as usize / 8] |= u8::from(wanted) << (doc % 8);
    }
}

impl From<DocBits> for RoaringBitmap {
    fn from(bits: DocBits) -> Self {
        RoaringBitmap::from_lsb0_bytes(0, &bits.0)
    }
}
