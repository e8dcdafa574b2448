//! What leads to the blocks of columns, and which of them a test needs.

use super::block::{Block, Union};
use super::term::{Dictionary, Term};
use super::write::{HAS_PRESENCE, IS_NUMERIC};
use super::{Blocks, NumberRange};
use crate::attributes::{Number, Scalar};
use crate::decode::Corrupt;
use crate::segment::section::{Body, Places, SectionKind, U32s};
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::ops::Range;

/// The directory of a segment's attributes.
#[derive(Debug)]
pub(crate) struct Heads {
    pub(super) docs: u32,
    /// Invariant: ascending by key.
    pub(super) columns: Vec<Head>,
    /// Of the blocks, in the attributes section.
    places: Places,
}

/// What is known of a column without its blocks.
#[derive(Debug)]
pub(super) struct Head {
    key: Box<str>,
    /// How many documents have the key.
    pub(super) present: u32,
    /// The block that says which; `None`: all.
    pub(super) presence: Option<u32>,
    is_numeric: bool,
    /// The first block of terms.
    first: u32,
    is_bitmap: Bytes,
    terms: U32s,
    entries: U32s,
    /// By block of terms: not before its terms, and behind those of the block before.
    separators: Dictionary,
}

/// The values of a test.
#[derive(Debug)]
pub(super) enum Pick<'a> {
    /// Ascending, each once.
    Any(Vec<Term<'a>>),
    Side(Number, NumberRange),
}

impl<'a> Pick<'a> {
    pub(super) fn any(values: &'a [Scalar]) -> Self {
        // A NaN equals nothing.
        let is_value = |term: &Term<'_>| term.compare_value(*term).is_some();
        let mut terms: Vec<Term<'a>> = values.iter().map(Term::from).filter(is_value).collect();
        terms.sort_unstable_by(|a, b| a.order(*b));
        terms.dedup_by(|a, b| a.compare_value(*b).is_some_and(|order| order.is_eq()));
        Self::Any(terms)
    }

    fn wants(&self, term: Term<'_>) -> bool {
        match self {
            Self::Any(values) => {
                let order = |value: &Term<'_>| value.compare_value(term).expect("neither is a NaN");
                values.binary_search_by(order).is_ok()
            }
            Self::Side(bound, range) => match term {
                Term::Number(number) => range.has(number, *bound),
                _ => false,
            },
        }
    }
}

impl Heads {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::ATTRIBUTE_BLOCKS, docs, section)?;
        let [columns, blocks] = body.counts.map(|count| count as usize);
        let places = Places::open(blocks, &mut body)?;
        let pieces = body.pieces(columns)?;
        body.end()?;
        let mut next = 0;
        let column = |index| Head::open(body.nested(pieces.shared(index)), &mut next);
        let columns = (0..pieces.len()).map(column).collect::<Result<Vec<_>, _>>()?;
        body.check(next as usize == blocks, "number of blocks")?;
        body.check(columns.is_sorted_by(|a, b| a.key < b.key), "columns are not ascending")?;
        Ok(Self { docs, columns, places })
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u32 {
        self.places.count()
    }

    /// Bytes of a block in the attributes section, and their CRC32C; `None` beyond the last.
    pub(crate) fn place(&self, block: u32) -> Option<(Range<u64>, u32)> {
        self.places.at(block)
    }

    /// Whether a block is what is said of that number.
    pub(crate) fn fits(&self, number: u32, block: &Block) -> bool {
        let after = self.columns.partition_point(|head| head.start() <= number);
        let Some(head) = after.checked_sub(1).map(|at| &self.columns[at]) else { return false };
        let Some(at) = number.checked_sub(head.first).map(|at| at as usize) else {
            return block.bitmap().is_some_and(|docs| docs.len() == u64::from(head.present));
        };
        if at >= head.is_bitmap.len() {
            return false;
        }
        let said = (head.terms.at(at), head.entries.at(at));
        match block.bitmap() {
            Some(docs) => head.is_bitmap[at] == 1 && docs.len() == u64::from(said.1),
            None => {
                let class = head.separators.at(at as u32).class();
                head.is_bitmap[at] == 0 && block.sizes() == Some((said.0, said.1, class))
            }
        }
    }

    pub(super) fn column(&self, key: &str) -> Option<&Head> {
        let index = self.columns.binary_search_by(|column| (*column.key).cmp(key)).ok()?;
        Some(&self.columns[index])
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        let columns = self.columns.iter().map(|head| size_of::<Head>() + head.key.len());
        self.places.extra_weight() + columns.sum::<usize>()
    }
}

impl Head {
    fn open(mut body: Body, next: &mut u32) -> Result<Self, Corrupt> {
        let [key, flags, present, blocks] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        let (count, key) = (blocks as usize, body.take(key as usize)?);
        let key = std::str::from_utf8(&key).map_err(|_| body.corrupt("key is not UTF-8"))?;
        let is_bitmap = body.take(count)?;
        let (terms, entries) = (body.u32s(count)?, body.u32s(count)?);
        let separators = Dictionary::open(count, &mut body)?;
        body.end()?;
        body.check(is_bitmap.iter().all(|form| *form <= 1), "form of a block")?;
        body.check(present <= body.docs, "documents with a key")?;
        let presence = (flags & HAS_PRESENCE != 0).then_some(*next);
        let first = *next + u32::from(presence.is_some());
        let end = first.checked_add(blocks).ok_or(body.corrupt("number of blocks"))?;
        body.check(presence.is_some() || present == body.docs, "documents with a key")?;
        *next = end;
        let is_numeric = flags & IS_NUMERIC != 0;
        let key = key.into();
        Ok(Self {
            key,
            present,
            presence,
            is_numeric,
            first,
            is_bitmap,
            terms,
            entries,
            separators,
        })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    fn start(&self) -> u32 {
        self.presence.unwrap_or(self.first)
    }

    /// The blocks of terms, and what each begins with: of bitmaps the term itself.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u32, Term<'_>)> {
        (0..self.separators.len()).map(|at| (self.first + at, self.separators.at(at)))
    }

    /// (term, document) entries of all blocks.
    pub(super) fn entries(&self) -> u64 {
        self.entries.iter().map(u64::from).sum()
    }

    /// What answers a test.
    pub(super) fn lookup<'a>(&'a self, pick: Pick<'a>) -> Lookup<'a> {
        let blocks = self.blocks_with(&pick);
        let lookup = Lookup { head: self, pick, blocks, is_rest: false };
        let Pick::Side(bound, range) = lookup.pick else { return lookup };
        if !self.is_numeric || 2 * lookup.entries() <= u64::from(self.present) {
            return lookup;
        }
        // Fewer documents lie on the other side.
        let pick = Pick::Side(bound, range.other());
        let blocks = self.blocks_with(&pick);
        let other = Lookup { head: self, pick, blocks, is_rest: true };
        if other.entries() < lookup.entries() { other } else { lookup }
    }

    /// The blocks that may have a value that is picked, ascending.
    fn blocks_with(&self, pick: &Pick<'_>) -> Vec<u32> {
        let mut blocks: Vec<u32> = match pick {
            Pick::Side(bound, range) => self.blocks_beside(*bound, *range).collect(),
            Pick::Any(values) => {
                values.iter().flat_map(|value| self.blocks_around(*value)).collect()
            }
        };
        blocks.dedup();
        blocks.retain(|at| !self.is_bitmap(*at) || pick.wants(self.separators.at(*at)));
        blocks
    }

    fn blocks_around(&self, value: Term<'_>) -> Range<u32> {
        let is = |holds: fn(std::cmp::Ordering) -> bool| {
            self.separators.first_where(|term| term.compare_value(value).is_some_and(holds))
        };
        let class = self.separators.first_where(|term| term.class() >= value.class());
        let not_less = is(std::cmp::Ordering::is_ge);
        not_less.saturating_sub(1).max(class)..is(std::cmp::Ordering::is_gt)
    }

    fn blocks_beside(&self, bound: Number, range: NumberRange) -> Range<u32> {
        let numbers = self.separators.numbers();
        if bound.compare(bound).is_none() {
            return 0..0;
        }
        let equal = self.separators.equal(Term::Number(bound));
        let from = |first: u32| first.saturating_sub(1).max(numbers.start)..numbers.end;
        match range {
            NumberRange::Gt => from(equal.end),
            NumberRange::Gte => from(equal.start),
            NumberRange::Lt => numbers.start..equal.start,
            NumberRange::Lte => numbers.start..equal.end,
        }
    }

    fn is_bitmap(&self, at: u32) -> bool {
        self.is_bitmap[at as usize] == 1
    }

    /// Whether all terms of a block lie on a side, as far as can be seen from here.
    fn is_beside(&self, at: u32, bound: Number, range: NumberRange) -> bool {
        let is_wanted = |at: u32| match self.separators.at(at) {
            Term::Number(number) => range.has(number, bound),
            _ => false,
        };
        match range {
            NumberRange::Gt | NumberRange::Gte => is_wanted(at),
            NumberRange::Lt | NumberRange::Lte => {
                self.is_bitmap(at) || (at + 1 < self.separators.len() && is_wanted(at + 1))
            }
        }
    }
}

/// A test of one column, as far as it can be answered without blocks.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    head: &'a Head,
    pick: Pick<'a>,
    /// By their number in the column.
    blocks: Vec<u32>,
    /// Whether the documents that have the key but none of these values are wanted.
    is_rest: bool,
}

impl Lookup<'_> {
    /// The blocks that it needs.
    pub(super) fn parts(&self) -> impl Iterator<Item = u32> {
        let presence = self.head.presence.filter(|_| self.is_rest);
        presence.into_iter().chain(self.blocks.iter().map(|at| self.head.first + at))
    }

    fn is_whole(&self, at: u32) -> bool {
        match &self.pick {
            Pick::Side(bound, range) => self.head.is_beside(at, *bound, *range),
            Pick::Any(_) => self.head.is_bitmap(at),
        }
    }

    /// About how many entries the picked values have.
    fn entries(&self) -> u64 {
        let of = |at: &u32| {
            let place = *at as usize;
            let [terms, entries] =
                [&self.head.terms, &self.head.entries].map(|counts| u64::from(counts.at(place)));
            match &self.pick {
                _ if self.is_whole(*at) => entries,
                Pick::Side(..) => entries.div_ceil(2),
                Pick::Any(values) => {
                    let among = values.len().div_ceil(self.blocks.len()) as u64;
                    (entries * among.min(terms)).div_ceil(terms.max(1))
                }
            }
        };
        self.blocks.iter().map(of).sum()
    }

    /// About how many documents it selects.
    pub(super) fn estimate(&self) -> u64 {
        let present = u64::from(self.head.present);
        let entries = self.entries().min(present);
        if self.is_rest { present - entries } else { entries }
    }

    /// The documents; `blocks` has the parts.
    pub(super) fn select(&self, docs: u32, blocks: &dyn Blocks) -> RoaringBitmap {
        let mut union = Union::new(docs, self.entries());
        for at in &self.blocks {
            let wanted = |term: Term<'_>| self.pick.wants(term);
            let wanted: Option<&dyn Fn(Term<'_>) -> bool> =
                if self.is_whole(*at) { None } else { Some(&wanted) };
            union.add(blocks.block(self.head.first + at), wanted);
        }
        let found = union.finish();
        if self.is_rest { presence(self.head, docs, blocks) - found } else { found }
    }
}

/// The documents that have the key.
pub(super) fn presence(head: &Head, docs: u32, blocks: &dyn Blocks) -> RoaringBitmap {
    match head.presence.and_then(|number| blocks.block(number).bitmap()) {
        Some(present) => present.clone(),
        None => super::all(docs),
    }
}
