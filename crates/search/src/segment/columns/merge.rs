//! The columns of a merged segment, without the attributes of any document.
//!
//! ```text
//! for each key of any input, ascending:
//!   presence: where its documents go
//!   terms:    the inputs' dictionaries, merged; a term whose documents were all dropped goes too
//! ```
//!
//! Beside inputs and output, one column at a time is in memory.

use super::Columns;
use super::build::{ColumnParts, SectionWriter};
use super::column::Column;
use super::term::Term;
use crate::DocId;
use crate::segment::Segment;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// A segment to merge, and where its documents go.
#[derive(Clone, Copy, Debug)]
pub struct MergeInput<'a> {
    /// Its attributes section must have been added.
    pub segment: &'a Segment,
    /// By old document: the new one, or [`MergeInput::DROPPED`].
    pub docs: &'a [DocId],
}

impl MergeInput<'_> {
    /// Stands for a document that the merge leaves behind.
    pub const DROPPED: DocId = DocId::MAX;
}

/// The ATTRIBUTES section of the merged segment of `docs` documents.
///
/// # Panics
/// If an input has more documents than it tells the places of, if two documents go to the same place, or if
/// one goes beyond `docs`.
pub fn merge_attributes(inputs: &[MergeInput<'_>], docs: u32) -> Vec<u8> {
    let inputs: Vec<Input<'_>> = inputs.iter().map(Input::new).collect();
    let keys = inputs.iter().flat_map(|input| input.columns.columns.iter().map(Column::key));
    let keys: BTreeSet<&str> = keys.collect();
    let mut section = SectionWriter::default();
    for key in keys {
        let columns = inputs.iter().filter_map(|input| input.column(key));
        let columns: Vec<InputColumn<'_>> = columns.collect();
        let presence = merged_presence(&columns, docs);
        if !presence.is_empty() {
            let (terms, entries) = merged_terms(&columns);
            section.push(key, &ColumnParts { presence, terms, entries: &entries });
        }
    }
    section.finish(docs)
}

#[derive(Clone, Copy)]
struct Input<'a> {
    columns: &'a Columns,
    docs: &'a [DocId],
}

#[derive(Clone, Copy)]
struct InputColumn<'a> {
    column: &'a Column,
    docs: &'a [DocId],
}

impl<'a> Input<'a> {
    fn new(input: &MergeInput<'a>) -> Self {
        let columns = input.segment.columns();
        assert_eq!(input.docs.len(), columns.docs as usize, "a place for each document");
        Self { columns, docs: input.docs }
    }

    fn column(self, key: &str) -> Option<InputColumn<'a>> {
        let column = self.columns.column(key)?;
        Some(InputColumn { column, docs: self.docs })
    }
}

impl InputColumn<'_> {
    /// Where a document goes.
    fn place(&self, doc: DocId) -> Option<DocId> {
        Some(self.docs[doc as usize]).filter(|&place| place != MergeInput::DROPPED)
    }
}

fn merged_presence(columns: &[InputColumn<'_>], docs: u32) -> RoaringBitmap {
    let mut presence = RoaringBitmap::new();
    let mut count = 0;
    for column in columns {
        let kept = column.column.presence().iter().filter_map(|doc| column.place(doc));
        presence.extend(kept.inspect(|_| count += 1));
    }
    assert_eq!(presence.len(), count, "documents go to different places");
    assert!(presence.max().is_none_or(|last| last < docs), "documents go into the segment");
    presence
}

/// The terms that some kept document has, and (term, document) of each.
fn merged_terms<'a>(columns: &[InputColumn<'a>]) -> (Vec<Term<'a>>, Vec<(u32, DocId)>) {
    let (mut terms, mut entries) = (Vec::new(), Vec::new());
    let mut heads = vec![0; columns.len()];
    while let Some(least) = least_head(columns, &heads) {
        let (number, start) = (terms.len() as u32, entries.len());
        for (column, head) in columns.iter().zip(&mut heads) {
            if head_of(column, *head).is_some_and(|term| term.order(least).is_eq()) {
                column.column.for_each_doc(*head, |doc| {
                    entries.extend(column.place(doc).map(|place| (number, place)));
                });
                *head += 1;
            }
        }
        if entries.len() > start {
            entries[start..].sort_unstable();
            terms.push(least);
        }
    }
    (terms, entries)
}

fn least_head<'a>(columns: &[InputColumn<'a>], heads: &[u32]) -> Option<Term<'a>> {
    let heads = columns.iter().zip(heads).filter_map(|(column, &head)| head_of(column, head));
    heads.min_by(|a, b| Term::order(*a, *b))
}

fn head_of<'a>(column: &InputColumn<'a>, head: u32) -> Option<Term<'a>> {
    (head < column.column.distinct_values()).then(|| column.column.term(head))
}
