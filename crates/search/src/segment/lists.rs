//! Posting lists of one vector field: which document each row belongs to.
//!
//! ```text
//! header (counts: lists, rows)
//! u32 end row x lists | u32 first document x blocks | u8 width x blocks | packed bytes of blocks
//! ```
//!
//! Row r of the field's vectors belongs to the r-th document of all lists taken together. A list
//! ascends, and a document stands in at most one list. A list is cut into blocks of 32 documents,
//! the last one shorter. A block of n documents keeps its first in the table and the n - 1
//! gaps `next - previous - 1` in `width` bits each, least significant bit first, filled up to a
//! whole byte. Consecutive documents therefore cost no packed bytes at all.

use super::section::{Body, SectionKind, U32s, position, start, write_u32s};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::ops::Range;

const BLOCK: usize = 32;

/// Collects the documents that have one vector field, row by row: its LISTS section, of one list.
#[derive(Debug, Default)]
pub struct ListBuilder(Vec<DocId>);

impl ListBuilder {
    /// Adds the document of the next row.
    ///
    /// # Panics
    /// If documents do not ascend.
    pub fn push(&mut self, doc: DocId) {
        assert!(self.0.last().is_none_or(|&last| last < doc), "posting lists ascend");
        self.0.push(doc);
    }

    /// How many rows were added.
    pub fn rows(&self) -> u32 {
        position(self.0.len())
    }

    /// The section, for a segment of `docs` documents.
    pub fn finish(self, docs: u32) -> Vec<u8> {
        build(docs, &[self.0])
    }
}

/// The lists section of `lists` in a segment of `docs` documents.
///
/// # Panics
/// If a list does not ascend.
pub(crate) fn build(docs: u32, lists: &[Vec<DocId>]) -> Vec<u8> {
    let rows = lists.iter().map(Vec::len).sum();
    let mut out = start(SectionKind::LISTS, docs, [position(lists.len()), position(rows)]);
    let ends = lists.iter().scan(0, |end, list| {
        *end += position(list.len());
        Some(*end)
    });
    write_u32s(ends, &mut out);
    let blocks = || lists.iter().flat_map(|list| list.chunks(BLOCK));
    write_u32s(blocks().map(|block| block[0]), &mut out);
    out.extend(blocks().map(width_of));
    blocks().for_each(|block| pack(block, width_of(block), &mut out));
    out
}

fn gaps(block: &[DocId]) -> impl Iterator<Item = u32> {
    block.windows(2).map(|pair| {
        assert!(pair[0] < pair[1], "posting lists ascend");
        pair[1] - pair[0] - 1
    })
}

fn width_of(block: &[DocId]) -> u8 {
    (32 - gaps(block).max().unwrap_or(0).leading_zeros()) as u8
}

fn pack(block: &[DocId], width: u8, out: &mut Vec<u8>) {
    let (mut bits, mut filled) = (0u64, 0u32);
    for gap in gaps(block) {
        bits |= u64::from(gap) << filled;
        filled += u32::from(width);
        while filled >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(bits as u8);
    }
}

fn packed_bytes(count: usize, width: u8) -> usize {
    ((count - 1) * usize::from(width)).div_ceil(8)
}

/// Reader of a lists section.
#[derive(Debug)]
pub(crate) struct Lists {
    lists: Vec<List>,
    firsts: U32s,
    widths: Bytes,
    /// Where each block's packed bytes start.
    starts: Vec<u32>,
    packed: Bytes,
    rows: usize,
}

/// One list that is not empty.
#[derive(Debug)]
struct List {
    rows: Range<usize>,
    block: usize,
    first: DocId,
    last: DocId,
}

impl List {
    fn is_sequence(&self) -> bool {
        (self.last - self.first) as usize == self.rows.len() - 1
    }
}

impl Lists {
    /// Checks besides the shape that every list ascends and no document stands there twice.
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::LISTS, docs, section)?;
        let [list_count, rows] = body.counts.map(|count| count as usize);
        body.check(rows <= docs as usize, "more rows than documents")?;
        let ends = body.u32s(list_count)?;
        let last_end = ends.iter().next_back().unwrap_or(0) as usize;
        body.check(ends.iter().is_sorted() && last_end == rows, "ends of lists")?;
        let (lists, blocks) = cut(&ends);
        let firsts = body.u32s(blocks)?;
        let widths = body.take(blocks)?;
        body.check(widths.iter().all(|&width| width <= 32), "width of a block")?;
        let (starts, packed) = block_starts(&lists, &widths);
        body.check(packed <= u32::MAX as usize, "size of the packed bytes")?;
        let packed = body.take(packed)?;
        body.end()?;
        let mut opened = Self { lists, firsts, widths, starts, packed, rows };
        if opened.read_ranges(docs).is_none() {
            return Err(body.corrupt("documents of a list"));
        }
        Ok(opened)
    }

    /// Unpacks every list once, and notes its range. `None` if a list does not ascend, reaches
    /// `docs`, or repeats a document.
    fn read_ranges(&mut self, docs: u32) -> Option<()> {
        let mut seen = RoaringBitmap::new();
        for index in 0..self.lists.len() {
            let ids = self.unpack_list(index, docs)?;
            let (&first, &last) = (ids.first()?, ids.last()?);
            (self.lists[index].first, self.lists[index].last) = (first, last);
            if self.lists.len() > 1 {
                let added = seen.len() + ids.len() as u64;
                seen.extend(ids);
                (seen.len() == added).then_some(())?;
            }
        }
        Some(())
    }

    fn unpack_list(&self, index: usize, docs: u32) -> Option<Vec<DocId>> {
        let mut ids: Vec<DocId> = Vec::with_capacity(self.lists[index].rows.len());
        let mut block = [0; BLOCK];
        for number in 0..self.lists[index].rows.len().div_ceil(BLOCK) {
            let count = self.unpack(index, number, &mut block)?;
            let ascends = ids.last().is_none_or(|&last| last < block[0]);
            (ascends && block[count - 1] < docs).then_some(())?;
            ids.extend_from_slice(&block[..count]);
        }
        Some(ids)
    }

    /// Unpacks block `number` of a list and returns how many documents it has. `None` if they go
    /// beyond 32 bits, which is possible before validation only.
    fn unpack(&self, list: usize, number: usize, out: &mut [DocId; BLOCK]) -> Option<usize> {
        let list = &self.lists[list];
        let count = (list.rows.len() - number * BLOCK).min(BLOCK);
        let block = list.block + number;
        let width = u32::from(self.widths[block]);
        let mut bytes = self.packed[self.starts[block] as usize..].iter();
        let (mut bits, mut filled) = (0u64, 0u32);
        out[0] = self.firsts.at(block);
        for index in 1..count {
            while filled < width {
                bits |= u64::from(*bytes.next()?) << filled;
                filled += 8;
            }
            let gap = (bits & ((1 << width) - 1)) as u32;
            bits >>= width;
            filled -= width;
            out[index] = out[index - 1].checked_add(gap)?.checked_add(1)?;
        }
        Some(count)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The row of `doc`, if it has one.
    pub(crate) fn row_of(&self, doc: DocId) -> Option<usize> {
        let holds = |list: &List| (list.first..=list.last).contains(&doc);
        let candidates = self.lists.iter().enumerate().filter(|(_, list)| holds(list));
        candidates.filter_map(|(index, list)| self.row_in(index, list, doc)).next()
    }

    fn row_in(&self, index: usize, list: &List, doc: DocId) -> Option<usize> {
        if list.is_sequence() {
            return Some(list.rows.start + (doc - list.first) as usize);
        }
        let blocks = list.rows.len().div_ceil(BLOCK);
        // The first block starts at `list.first <= doc`, so at least one block counts.
        let number = partition_point(blocks, |n| self.firsts.at(list.block + n) <= doc) - 1;
        let mut ids = [0; BLOCK];
        let count = self.unpack(index, number, &mut ids).expect("validated when opened");
        let place = ids[..count].binary_search(&doc).ok()?;
        Some(list.rows.start + number * BLOCK + place)
    }

    /// The document of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn doc_of_row(&self, row: usize) -> DocId {
        let index = self.lists.partition_point(|list| list.rows.end <= row);
        let list = &self.lists[index];
        let place = row - list.rows.start;
        if list.is_sequence() {
            return list.first + place as u32;
        }
        let mut ids = [0; BLOCK];
        self.unpack(index, place / BLOCK, &mut ids).expect("validated when opened");
        ids[place % BLOCK]
    }

    /// Whether row r belongs to document r, for all rows.
    pub(crate) fn is_identity(&self) -> bool {
        let list = self.lists.first();
        self.lists.len() <= 1 && list.is_none_or(|list| list.is_sequence() && list.first == 0)
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        size_of_val(&self.lists[..]) + size_of_val(&self.starts[..])
    }

    /// Whether any of `rows` belongs to one of `docs`.
    pub(crate) fn any_in(&self, rows: Range<usize>, docs: &RoaringBitmap) -> bool {
        let mut ids = Vec::new();
        self.pieces(rows).any(|piece| {
            if let Some(first) = piece.sequence_start() {
                return docs.range_cardinality(first..first + piece.rows.len() as u32) > 0;
            }
            piece.read(&mut ids);
            ids.iter().any(|&doc| docs.contains(doc))
        })
    }

    /// The pieces of `rows` that lie in one list each, in order.
    pub(crate) fn pieces(&self, rows: Range<usize>) -> impl Iterator<Item = ListPiece<'_>> {
        let first = self.lists.partition_point(|list| list.rows.end <= rows.start);
        let lists = self.lists.iter().enumerate().skip(first);
        let lists = lists.take_while(move |(_, list)| list.rows.start < rows.end);
        lists.map(move |(index, list)| ListPiece {
            lists: self,
            list: index,
            rows: rows.start.max(list.rows.start)..rows.end.min(list.rows.end),
        })
    }
}

/// Rows of one list.
pub(crate) struct ListPiece<'a> {
    lists: &'a Lists,
    list: usize,
    pub(crate) rows: Range<usize>,
}

impl ListPiece<'_> {
    /// If the documents of the rows are consecutive: the first of them.
    pub(crate) fn sequence_start(&self) -> Option<DocId> {
        let list = &self.lists.lists[self.list];
        let skipped = (self.rows.start - list.rows.start) as u32;
        list.is_sequence().then(|| list.first + skipped)
    }

    /// Replaces `ids` by the documents of the rows.
    pub(crate) fn read(&self, ids: &mut Vec<DocId>) {
        let list = &self.lists.lists[self.list];
        let inside = self.rows.start - list.rows.start..self.rows.end - list.rows.start;
        let first_block = inside.start / BLOCK;
        let mut block = [0; BLOCK];
        ids.clear();
        for number in first_block..inside.end.div_ceil(BLOCK) {
            let count = self.lists.unpack(self.list, number, &mut block);
            ids.extend_from_slice(&block[..count.expect("validated when opened")]);
        }
        ids.truncate(inside.end - first_block * BLOCK);
        ids.drain(..inside.start - first_block * BLOCK);
    }
}

/// The lists that are not empty, and the number of their blocks.
fn cut(ends: &U32s) -> (Vec<List>, usize) {
    let (mut row, mut block) = (0, 0);
    let mut lists = Vec::new();
    for end in ends.iter().map(|end| end as usize) {
        if row < end {
            lists.push(List { rows: row..end, block, first: 0, last: 0 });
            block += (end - row).div_ceil(BLOCK);
        }
        row = end;
    }
    (lists, block)
}

/// Where each block's packed bytes start, and where the last ends.
fn block_starts(lists: &[List], widths: &[u8]) -> (Vec<u32>, usize) {
    let mut starts = Vec::with_capacity(widths.len());
    let mut end = 0;
    for list in lists {
        for (number, &width) in
            widths[list.block..][..list.rows.len().div_ceil(BLOCK)].iter().enumerate()
        {
            starts.push(end as u32);
            end += packed_bytes((list.rows.len() - number * BLOCK).min(BLOCK), width);
        }
    }
    (starts, end)
}

/// The first number below `count` for which `holds` is false.
fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::{Lists, build};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Documents 0..n dealt out to some lists, or to none.
    fn lists() -> impl Strategy<Value = (u32, Vec<Vec<u32>>)> {
        (1..5usize, prop::collection::vec(0..7usize, 0..400), any::<bool>()).prop_map(
            |(count, places, sparse)| {
                let mut lists = vec![Vec::new(); count];
                let step = if sparse { 10_007 } else { 1 };
                for (doc, place) in places.iter().enumerate() {
                    if let Some(list) = lists.get_mut(*place) {
                        list.push(doc as u32 * step);
                    }
                }
                (places.len() as u32 * step, lists)
            },
        )
    }

    proptest! {
        #[test]
        fn rows_and_documents_lead_to_each_other((docs, lists) in lists()) {
            let all: Vec<u32> = lists.concat();
            let read = Lists::open(docs, &Bytes::from(build(docs, &lists))).expect("valid");
            prop_assert_eq!(read.rows(), all.len());
            for (row, &doc) in all.iter().enumerate() {
                prop_assert_eq!(read.row_of(doc), Some(row));
                prop_assert_eq!(read.doc_of_row(row), doc);
            }
            let present: BTreeSet<u32> = all.iter().copied().collect();
            for doc in (0..docs.min(2000)).filter(|doc| !present.contains(doc)) {
                prop_assert_eq!(read.row_of(doc), None);
            }
        }

        #[test]
        fn any_range_of_rows_can_be_read(
            (docs, lists) in lists(),
            cuts in (0..500usize, 0..500usize),
        ) {
            let all: Vec<u32> = lists.concat();
            let read = Lists::open(docs, &Bytes::from(build(docs, &lists))).expect("valid");
            let (start, end) = (cuts.0.min(cuts.1).min(all.len()), cuts.0.max(cuts.1).min(all.len()));
            let (mut collected, mut ids) = (Vec::new(), Vec::new());
            for piece in read.pieces(start..end) {
                piece.read(&mut ids);
                if let Some(first) = piece.sequence_start() {
                    prop_assert!(ids.iter().copied().eq(first..first + ids.len() as u32));
                }
                collected.extend_from_slice(&ids);
            }
            prop_assert_eq!(&collected[..], &all[start..end]);
        }
    }

    #[test]
    fn repeated_documents_are_corrupt() {
        let twice = build(9, &[vec![1, 5], vec![5, 6]]);
        assert!(Lists::open(9, &Bytes::from(twice)).is_err());
        let beyond = build(9, &[vec![1, 9]]);
        assert!(Lists::open(9, &Bytes::from(beyond)).is_err());
    }

    #[test]
    fn consecutive_documents_cost_five_bytes_per_block() {
        let list: Vec<u32> = (0..3200).collect();
        assert_eq!(build(3200, &[list]).len(), 16 + 4 + 100 * 5);
    }
}
