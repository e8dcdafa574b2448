//! Attribute columns: for each filterable key, which documents hold which values.
//!
//! ```text
//! attributes:        header (counts: 0, 0) | blocks
//! attribute blocks:  header (counts: columns, blocks)
//!                    u32 length x blocks | u32 crc32c x blocks
//!                    u32 end offset x columns | columns, ascending by key
//!
//! column:   u32 key length | u32 flags | u32 documents that have the key | u32 blocks of terms B
//!           key bytes | u8 form x B | u32 terms x B | u32 entries x B | separators: a dictionary of B terms
//!           flags: 1 a block with the documents that have the key comes before those of terms (otherwise all have it)
//!                  2 each of these documents has one number and nothing else
//! dictionary: u8 tag x terms | u32 end offset x terms | term bytes
//!           tag and bytes: 0 false, nothing; 1 true, nothing; 2 integer, i64; 3 float, f64; 4 string, UTF-8
//!
//! block:    u32 length of the rest | u8 form
//!   form 0: roaring bitmap, of one term, which is the separator, or of the documents that have the key
//!   form 1: u8 kind of values | u8 bits per document W
//!           u32 terms | u32 entries | u32 length of values | u32 length of counts
//!           values | counts: varint (documents - 1) x terms; none if each has one
//!           document x entries, W bits each, ascending within a term | 7 zero bytes
//! values:   0 booleans, u8 | 1 integers, the first as i64, then varint steps | 2 floats, f64
//!           3 numbers, u8 tag and 8 bytes | 4 strings, varint of bytes shared with the one before, varint of the others, these
//! ```
//!
//! Roaring bitmaps are in the portable format of the Roaring specification. Varints have 7 bits per byte, least significant first.
//!
//! Terms are the distinct values of a key in the order false, true, numbers, strings; numbers in
//! mathematical order, equal ones integer first. `1` and `1.0` are two terms side by side, so an
//! equal value, and likewise a range of numbers, is a range of terms. Every element of an array
//! is a value of its document; a document whose array is empty is present without a term.
//!
//! A block has terms of one type. Its separator is not behind its first term and lies behind the last one before the block: of
//! numbers the first term itself, of strings a prefix of it. So a test needs the directory, which is small, and the blocks
//! that may hold its values: where each document has one number, a range may go by the documents on the other side.
//!
//! Blocks are checked whole when opened, and their bitmaps are kept decoded: selecting cannot fail.

mod bitmap;
mod block;
mod build;
mod heads;
mod merge;
mod old;
mod term;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use block::Block;
pub use build::AttributesBuilder;
pub(crate) use heads::Heads;
pub use merge::{MergeInput, merge_attributes};

use super::section::{Body, SectionKind};
use crate::attributes::{Attributes, Number, Scalar, Value};
use crate::decode::{Corrupt, Input};
use crate::filter::{Filter, Test};
use bytes::Bytes;
use heads::{Lookup, Pick, presence};
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use write::AttributeSections;

/// All blocks of a segment's attributes, by number.
pub(crate) type SharedBlocks = Arc<[Arc<Block>]>;

/// A whole attributes section.
#[derive(Debug)]
pub(crate) enum AttributesSection {
    /// Its blocks; a directory beside it says what they are.
    Blocks(SharedBlocks),
    /// Of version 1: it says that itself.
    Old(Arc<Heads>, SharedBlocks),
}

impl AttributesSection {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let body = Body::open_for(SectionKind::ATTRIBUTES, docs, section)?;
        if body.version > 1 {
            return Ok(Self::Blocks(read_blocks(docs, &body.rest())?));
        }
        let (heads, blocks) = open_all(docs, old::convert(body)?)?;
        Ok(Self::Old(heads.into(), blocks))
    }

    pub(crate) fn blocks(&self) -> &SharedBlocks {
        let (Self::Blocks(blocks) | Self::Old(_, blocks)) = self;
        blocks
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        self.blocks().iter().map(|block| block.extra_weight()).sum()
    }
}

fn read_blocks(docs: u32, bytes: &Bytes) -> Result<SharedBlocks, Corrupt> {
    let mut input = Input::new(SectionKind::ATTRIBUTES.name(), bytes);
    let mut blocks = Vec::new();
    while !input.rest().is_empty() {
        blocks.push(Arc::new(Block::read(docs, bytes, &mut input)?));
    }
    Ok(blocks.into())
}

/// Both sections in memory.
fn open_all(docs: u32, sections: AttributeSections) -> Result<(Heads, SharedBlocks), Corrupt> {
    let heads = Heads::open(docs, &sections.directory.into())?;
    let body = Body::open_for(SectionKind::ATTRIBUTES, docs, &sections.blocks.into())?;
    Ok((heads, read_blocks(docs, &body.rest())?))
}

/// Gives blocks by their number.
pub(crate) trait Blocks: Sync {
    /// # Panics
    /// If the block was not added.
    fn block(&self, number: u32) -> &Block;
}

/// Columns, some of whose blocks are there.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) heads: &'a Heads,
    pub(crate) blocks: &'a dyn Blocks,
}

impl Columns<'_> {
    /// Exactly the documents whose attributes the filter matches. Needs [`Heads::parts`].
    pub(crate) fn select(&self, filter: &Filter) -> RoaringBitmap {
        match filter {
            Filter::All => all(self.heads.docs),
            Filter::And(filters) => self.select_and(filters),
            Filter::Or(filters) => {
                filters.iter().fold(RoaringBitmap::new(), |any, filter| any | self.select(filter))
            }
            Filter::Test { key, test } => self.select_test(key, test),
        }
    }

    fn select_and(&self, filters: &[Filter]) -> RoaringBitmap {
        let Some((first, rest)) = filters.split_first() else {
            return all(self.heads.docs);
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
        let docs = self.heads.docs;
        let asked = Asked::new(self.heads, key, test);
        let found = match asked.of {
            Of::Nothing => RoaringBitmap::new(),
            Of::Presence(column) => presence(column, docs, self.blocks),
            Of::Values(lookup) => lookup.select(docs, self.blocks),
        };
        if asked.is_negated { all(docs) - found } else { found }
    }

    /// The attributes of every document, with the elements of arrays in term order and once each.
    /// They answer every filter as the original ones do. Needs all blocks.
    pub(crate) fn attributes(&self) -> Vec<Attributes> {
        let mut pairs: Vec<Vec<(Box<str>, Value)>> = vec![Vec::new(); self.heads.docs as usize];
        for column in &self.heads.columns {
            let present = presence(column, self.heads.docs, self.blocks);
            let mut values: BTreeMap<_, Vec<Scalar>> =
                present.iter().map(|doc| (doc, Vec::new())).collect();
            for (number, separator) in column.blocks() {
                self.blocks.block(number).for_each(separator, |term, docs| {
                    docs.for_each(|doc| values.entry(doc).or_default().push(term.into()));
                });
            }
            for (doc, scalars) in values {
                let value = match <[Scalar; 1]>::try_from(scalars) {
                    Ok([scalar]) => Value::One(scalar),
                    Err(scalars) => Value::Many(scalars.into()),
                };
                pairs[doc as usize].push((column.key().into(), value));
            }
        }
        pairs.into_iter().map(Attributes::from_pairs).collect()
    }
}

/// A test as a question to one column.
struct Asked<'a> {
    of: Of<'a>,
    /// Whether all other documents are wanted.
    is_negated: bool,
}

enum Of<'a> {
    /// There is no such column.
    Nothing,
    Presence(&'a heads::Head),
    Values(Lookup<'a>),
}

impl<'a> Asked<'a> {
    fn new(heads: &'a Heads, key: &str, test: &'a Test) -> Self {
        let side = |bound: &Number, range| Some(Pick::Side(*bound, range));
        let pick = match test {
            Test::Eq(value) | Test::Ne(value) => Some(Pick::any(std::slice::from_ref(value))),
            Test::In(values) | Test::NotIn(values) => Some(Pick::any(values)),
            Test::Gt(bound) => side(bound, NumberRange::Gt),
            Test::Gte(bound) => side(bound, NumberRange::Gte),
            Test::Lt(bound) => side(bound, NumberRange::Lt),
            Test::Lte(bound) => side(bound, NumberRange::Lte),
            Test::Exists(_) => None,
        };
        let of = match (heads.column(key), pick) {
            (None, _) => Of::Nothing,
            (Some(column), None) => Of::Presence(column),
            (Some(column), Some(pick)) => Of::Values(column.lookup(pick)),
        };
        let is_negated = matches!(test, Test::Ne(_) | Test::NotIn(_) | Test::Exists(false));
        Self { of, is_negated }
    }

    fn parts(&self, parts: &mut BTreeSet<u32>) {
        match &self.of {
            Of::Nothing => {}
            Of::Presence(column) => parts.extend(column.presence),
            Of::Values(lookup) => parts.extend(lookup.parts()),
        }
    }

    fn estimate(&self, docs: u32) -> f64 {
        let found = match &self.of {
            Of::Nothing => 0,
            Of::Presence(column) => u64::from(column.present),
            Of::Values(lookup) => lookup.estimate(),
        };
        let share = found as f64 / f64::from(docs.max(1));
        if self.is_negated { 1.0 - share } else { share }
    }
}

impl Heads {
    /// The blocks that [`Columns::select`] needs for a filter.
    pub(crate) fn parts(&self, filter: &Filter) -> BTreeSet<u32> {
        let mut parts = BTreeSet::new();
        self.add_parts(filter, &mut parts);
        parts
    }

    fn add_parts(&self, filter: &Filter, parts: &mut BTreeSet<u32>) {
        match filter {
            Filter::All => {}
            Filter::And(filters) | Filter::Or(filters) => {
                filters.iter().for_each(|filter| self.add_parts(filter, parts));
            }
            Filter::Test { key, test } => Asked::new(self, key, test).parts(parts),
        }
    }

    /// About the share of the documents that a filter matches, by what is known without blocks and as if tests knew
    /// nothing of each other.
    pub(crate) fn estimate(&self, filter: &Filter) -> f64 {
        let of = |filters: &[Filter], share: fn(&Self, &Filter) -> f64| -> f64 {
            filters.iter().map(|filter| share(self, filter)).product()
        };
        match filter {
            Filter::All => 1.0,
            Filter::And(filters) => of(filters, Self::estimate),
            Filter::Or(filters) => 1.0 - of(filters, |heads, filter| 1.0 - heads.estimate(filter)),
            Filter::Test { key, test } => Asked::new(self, key, test).estimate(self.docs),
        }
    }
}

/// All documents.
fn all(docs: u32) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..docs);
    all
}

/// The attributes of some rows by column, in memory: for filters of many tests on rows that are in no
/// segment yet.
#[derive(Debug)]
pub struct AttributeTable {
    heads: Heads,
    blocks: SharedBlocks,
}

impl AttributeTable {
    /// Of rows in order, at most 2^30.
    pub fn new<'a>(rows: impl Iterator<Item = &'a Attributes>) -> Self {
        let mut builder = AttributesBuilder::default();
        let docs = rows.map(|row| builder.push(row)).count() as u32;
        let opened = open_all(docs, builder.sections());
        let (heads, blocks) = opened.expect("what was just built is valid");
        Self { heads, blocks }
    }

    /// Exactly the rows that the filter matches.
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        Columns { heads: &self.heads, blocks: self }.select(filter)
    }
}

impl Blocks for AttributeTable {
    fn block(&self, number: u32) -> &Block {
        &self.blocks[number as usize]
    }
}

/// Numbers on one side of a bound, with or without the bound.
#[derive(Clone, Copy, Debug)]
enum NumberRange {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl NumberRange {
    /// All numbers that are not on this side.
    fn other(self) -> Self {
        match self {
            Self::Gt => Self::Lte,
            Self::Gte => Self::Lt,
            Self::Lt => Self::Gte,
            Self::Lte => Self::Gt,
        }
    }

    fn has(self, number: Number, bound: Number) -> bool {
        number.compare(bound).is_some_and(|order| match self {
            Self::Gt => order == Ordering::Greater,
            Self::Gte => order.is_ge(),
            Self::Lt => order == Ordering::Less,
            Self::Lte => order.is_le(),
        })
    }
}
