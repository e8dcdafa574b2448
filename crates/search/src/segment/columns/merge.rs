//! The columns of a merged segment, without the attributes of any document.
//!
//! ```text
//! for each key of any input, ascending:
//!   presence: where its documents go
//!   terms:    the inputs' terms, merged; a term whose documents were all dropped goes too
//! ```
//!
//! Beside inputs and output, a block of each input is in memory.

use super::Columns;
use super::heads::{Head, presence};
use super::term::Term;
use super::write::SectionWriter;
use crate::DocId;
use crate::attributes::Scalar;
use crate::segment::Segment;
use crate::segment::section::SectionKind;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// A segment to merge, and where its documents go.
#[derive(Clone, Copy, Debug)]
pub struct MergeInput<'a> {
    /// Its attributes section and what leads to its blocks must have been added.
    pub segment: &'a Segment,
    /// By old document: the new one, or [`MergeInput::DROPPED`].
    pub docs: &'a [DocId],
}

impl MergeInput<'_> {
    /// Stands for a document that the merge leaves behind.
    pub const DROPPED: DocId = DocId::MAX;
}

/// The sections ATTRIBUTE_BLOCKS and ATTRIBUTES of the merged segment of `docs` documents.
///
/// # Panics
/// If an input has more documents than it tells the places of, if two documents go to the same place, or if
/// one goes beyond `docs`.
pub fn merge_attributes(inputs: &[MergeInput<'_>], docs: u32) -> [(SectionKind, Vec<u8>); 2] {
    let columns: Vec<Columns<'_>> = inputs.iter().map(|input| input.segment.columns()).collect();
    for (input, columns) in inputs.iter().zip(&columns) {
        assert_eq!(input.docs.len(), columns.heads.docs as usize, "a place for each document");
    }
    let keys = columns.iter().flat_map(|columns| columns.heads.columns.iter().map(Head::key));
    let keys: BTreeSet<&str> = keys.collect();
    let mut section = SectionWriter::new(docs);
    for key in keys {
        let pairs = inputs.iter().zip(&columns);
        let mut cursors = Vec::new();
        for (input, columns) in pairs {
            cursors.extend(Cursor::new(key, columns, input.docs));
        }
        let presence = merged_presence(&cursors, docs);
        if presence.is_empty() {
            continue;
        }
        let entries = cursors.iter().map(|cursor| cursor.head.entries() as usize).sum();
        let mut column = section.column(entries, &presence);
        let mut merged: Vec<DocId> = Vec::new();
        while let Some(least) = least(&cursors) {
            merged.clear();
            for cursor in &mut cursors {
                if cursor.term().is_some_and(|term| term.order(Term::from(&least)).is_eq()) {
                    cursor.take_docs(&mut merged);
                }
            }
            if !merged.is_empty() {
                merged.sort_unstable();
                column.push(Term::from(&least), &merged);
            }
        }
        column.finish(key);
    }
    section.finish().into_pairs()
}

fn least(cursors: &[Cursor<'_>]) -> Option<Scalar> {
    let terms = cursors.iter().filter_map(Cursor::term);
    terms.min_by(|a, b| a.order(*b)).map(Scalar::from)
}

fn merged_presence(cursors: &[Cursor<'_>], docs: u32) -> RoaringBitmap {
    let mut merged = RoaringBitmap::new();
    let mut count = 0;
    for cursor in cursors {
        let present = presence(cursor.head, cursor.columns.heads.docs, cursor.columns.blocks);
        let kept = present.iter().filter_map(|doc| cursor.place(doc));
        merged.extend(kept.inspect(|_| count += 1));
    }
    assert_eq!(merged.len(), count, "documents go to different places");
    assert!(merged.max().is_none_or(|last| last < docs), "documents go into the segment");
    merged
}

/// The terms of an input's column, one after another.
struct Cursor<'a> {
    head: &'a Head,
    columns: &'a Columns<'a>,
    docs: &'a [DocId],
    /// Blocks that were not read yet.
    blocks: Box<dyn Iterator<Item = (u32, Term<'a>)> + 'a>,
    /// The terms of the block that is being read, from the last to the next.
    terms: Vec<(Scalar, Vec<DocId>)>,
}

impl<'a> Cursor<'a> {
    fn new(key: &str, columns: &'a Columns<'a>, docs: &'a [DocId]) -> Option<Self> {
        let head = columns.heads.column(key)?;
        let blocks = Box::new(head.blocks());
        let mut cursor = Self { head, columns, docs, blocks, terms: Vec::new() };
        cursor.fill();
        Some(cursor)
    }

    /// Where a document goes.
    fn place(&self, doc: DocId) -> Option<DocId> {
        Some(self.docs[doc as usize]).filter(|&place| place != MergeInput::DROPPED)
    }

    fn term(&self) -> Option<Term<'_>> {
        self.terms.last().map(|(term, _)| Term::from(term))
    }

    fn take_docs(&mut self, out: &mut Vec<DocId>) {
        if let Some((_, docs)) = self.terms.pop() {
            out.extend(docs);
        }
        self.fill();
    }

    /// Reads the next block once all terms were taken.
    fn fill(&mut self) {
        while self.terms.is_empty() {
            let Some((number, separator)) = self.blocks.next() else { return };
            let mut terms = Vec::new();
            self.columns.blocks.block(number).for_each(separator, |term, docs| {
                terms.push((Scalar::from(term), docs.filter_map(|doc| self.place(doc)).collect()));
            });
            terms.reverse();
            self.terms = terms;
        }
    }
}
