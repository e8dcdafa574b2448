//! Attribute columns: for each filterable key, which documents hold which values.
//!
//! ```text
//! header (counts: columns, 0) | u32 end offset x columns | columns, ascending by key
//!
//! column:      u32 key length, u32 presence length, u32 terms, u32 postings kind (0 bitmaps, 1 runs)
//!              key bytes | presence: roaring bitmap | dictionary | postings | numbers
//! dictionary:  u8 tag x terms | u32 end offset x terms | term bytes
//!              tag and bytes: 0 false, nothing; 1 true, nothing; 2 integer, i64; 3 float, f64; 4 string, UTF-8
//! postings:    bitmaps: u32 end offset x terms | one roaring bitmap per term
//!              runs:    u32 end entry x terms  | u32 document x entries, ascending within a term
//! numbers:     u32 entries | u32 document x entries | u32 term x entries
//! ```
//!
//! Roaring bitmaps are in the portable format of the Roaring specification.
//!
//! Terms are the distinct values of a key in the order false, true, numbers, strings; numbers in
//! mathematical order, equal ones integer first. `1` and `1.0` are two terms side by side, so an
//! equal value, and likewise a range of numbers, is a range of terms. Every element of an array
//! is a value of its document; a document whose array is empty is present without a term.
//!
//! `numbers` is the numeric column: each number of each document as its term, by document. As
//! terms ascend with their values, a range test compares terms, and sorting by a key does too.
//!
//! A column is checked whole when opened, and its bitmaps are kept decoded: selecting cannot fail.

mod build;
mod column;
mod merge;
mod postings;
mod term;
#[cfg(test)]
mod tests;

pub use build::AttributesBuilder;
use column::Column;
pub use merge::{MergeInput, merge_attributes};

use super::section::{Body, SectionKind};
use crate::attributes::{Attributes, Scalar, Value};
use crate::decode::Corrupt;
use crate::filter::{Filter, Test};
use bytes::Bytes;
use roaring::RoaringBitmap;

/// Reader of an attributes section.
#[derive(Debug)]
pub(crate) struct Columns {
    docs: u32,
    /// Invariant: ascending by key.
    columns: Vec<Column>,
}

impl Columns {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::ATTRIBUTES, docs, section)?;
        let pieces = body.pieces(body.counts[0] as usize)?;
        body.end()?;
        let column = |index| Column::open(body.nested(pieces.shared(index)));
        let columns = (0..pieces.len()).map(column).collect::<Result<Vec<_>, _>>()?;
        let ascends = columns.is_sorted_by(|a, b| a.key() < b.key());
        body.check(ascends, "columns are not ascending")?;
        Ok(Self { docs, columns })
    }

    /// Exactly the documents whose attributes the filter matches.
    pub(crate) fn select(&self, filter: &Filter) -> RoaringBitmap {
        match filter {
            Filter::All => self.all(),
            Filter::And(filters) => self.select_and(filters),
            Filter::Or(filters) => {
                filters.iter().fold(RoaringBitmap::new(), |any, filter| any | self.select(filter))
            }
            Filter::Test { key, test } => self.select_test(key, test),
        }
    }

    fn select_and(&self, filters: &[Filter]) -> RoaringBitmap {
        let Some((first, rest)) = filters.split_first() else {
            return self.all();
        };
        let mut selected = self.select(first);
        for filter in rest {
            if selected.is_empty() {
                break;
            }
            selected &= self.select(filter);
        }
        selected
    }

    fn select_test(&self, key: &str, test: &Test) -> RoaringBitmap {
        let equal = |values: &[Scalar]| {
            self.column(key).map_or_else(RoaringBitmap::new, |column| column.equal_any(values))
        };
        let ranged = |number, range| {
            self.column(key).map_or_else(RoaringBitmap::new, |column| column.ranged(number, range))
        };
        match test {
            Test::Eq(value) => equal(std::slice::from_ref(value)),
            Test::Ne(value) => self.all() - equal(std::slice::from_ref(value)),
            Test::In(values) => equal(values),
            Test::NotIn(values) => self.all() - equal(values),
            Test::Gt(number) => ranged(*number, NumberRange::Gt),
            Test::Gte(number) => ranged(*number, NumberRange::Gte),
            Test::Lt(number) => ranged(*number, NumberRange::Lt),
            Test::Lte(number) => ranged(*number, NumberRange::Lte),
            Test::Exists(true) => self.present(key),
            Test::Exists(false) => self.all() - self.present(key),
        }
    }

    /// The attributes of every document, with the elements of arrays in term order and once each.
    /// They answer every filter as the original ones do.
    pub(crate) fn attributes(&self) -> Vec<Attributes> {
        let mut pairs: Vec<Vec<(Box<str>, Value)>> = vec![Vec::new(); self.docs as usize];
        for column in &self.columns {
            for (doc, scalars) in column.values_by_document() {
                let value = match <[Scalar; 1]>::try_from(scalars) {
                    Ok([scalar]) => Value::One(scalar),
                    Err(scalars) => Value::Many(scalars.into()),
                };
                pairs[doc as usize].push((column.key().into(), value));
            }
        }
        pairs.into_iter().map(Attributes::from_pairs).collect()
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        self.columns.iter().map(Column::extra_weight).sum()
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.docs);
        all
    }

    fn present(&self, key: &str) -> RoaringBitmap {
        self.column(key).map_or_else(RoaringBitmap::new, |column| column.presence().clone())
    }

    fn column(&self, key: &str) -> Option<&Column> {
        let index = self.columns.binary_search_by(|column| column.key().cmp(key)).ok()?;
        Some(&self.columns[index])
    }
}

/// The attributes of some rows by column, in memory: for filters of many tests on rows that are in no
/// segment yet.
#[derive(Debug)]
pub struct AttributeTable(Columns);

impl AttributeTable {
    /// Of rows in order, at most 2^30.
    pub fn new<'a>(rows: impl Iterator<Item = &'a Attributes>) -> Self {
        let mut builder = AttributesBuilder::default();
        let docs = rows.map(|row| builder.push(row)).count() as u32;
        let columns = Columns::open(docs, &builder.finish().into());
        Self(columns.expect("what was just built is valid"))
    }

    /// Exactly the rows that the filter matches.
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        self.0.select(filter)
    }
}

/// Numbers on one side of a bound, with or without the bound.
#[derive(Clone, Copy)]
enum NumberRange {
    Gt,
    Gte,
    Lt,
    Lte,
}
