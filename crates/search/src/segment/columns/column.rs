//! One opened column.

use super::NumberRange;
use super::postings::{DocBits, Postings, bitmap_weight, read_bitmap};
use super::term::{Dictionary, Term};
use crate::DocId;
use crate::attributes::{Number, Scalar};
use crate::decode::Corrupt;
use crate::segment::section::{Body, U32s};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Range;

/// Taking one entry of a run, or the bitmap of one term, costs as much as comparing this many
/// entries of the numeric column, at least.
const UNION_COST: usize = 4;

/// The values of one key.
#[derive(Debug)]
pub(super) struct Column {
    key: Box<str>,
    presence: RoaringBitmap,
    dictionary: Dictionary,
    postings: Postings,
    numbers: Numbers,
}

/// Every number of every document, ascending by document, then term.
#[derive(Debug)]
struct Numbers {
    docs: U32s,
    terms: U32s,
}

impl Column {
    pub(super) fn open(mut body: Body) -> Result<Self, Corrupt> {
        let [key, presence, terms, kind] =
            [body.u32()?, body.u32()?, body.u32()?, body.u32()?].map(|n| n as usize);
        let key = body.take(key)?;
        let key = std::str::from_utf8(&key).map_err(|_| body.corrupt("key is not UTF-8"))?;
        let presence = read_bitmap(&body.take(presence)?, body.docs)
            .ok_or(body.corrupt("bitmap of presence"))?;
        let dictionary = Dictionary::open(terms, &mut body)?;
        let postings = Postings::open(kind as u32, terms, &mut body)?;
        let numbers = Numbers::open(dictionary.numbers(), &mut body)?;
        body.end()?;
        Ok(Self { key: key.into(), presence, dictionary, postings, numbers })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The documents that have the key.
    pub(super) fn presence(&self) -> &RoaringBitmap {
        &self.presence
    }

    /// How many distinct values there are.
    pub(super) fn distinct_values(&self) -> u32 {
        self.dictionary.len()
    }

    /// A distinct value, in dictionary order.
    pub(super) fn term(&self, term: u32) -> Term<'_> {
        self.dictionary.at(term)
    }

    /// Visits the documents that have a value, ascending.
    pub(super) fn for_each_doc(&self, term: u32, visit: impl FnMut(DocId)) {
        self.postings.for_each_doc(term, visit);
    }

    /// Bytes of memory beside the section's own.
    pub(super) fn extra_weight(&self) -> usize {
        let decoded = bitmap_weight(&self.presence) + self.postings.extra_weight();
        size_of::<Self>() + self.key.len() + decoded
    }

    /// The documents with a value equal to one of `values`.
    pub(super) fn equal_any(&self, values: &[Scalar]) -> RoaringBitmap {
        let terms = values.iter().map(|value| self.dictionary.equal(Term::from(value)));
        let mut terms: Vec<Range<u32>> = terms.filter(|range| !range.is_empty()).collect();
        // Two ranges are the same or apart. A value asked for a thousand times is read once.
        terms.sort_unstable_by_key(|range| range.start);
        terms.dedup();
        self.postings.union(&terms)
    }

    /// The documents with a number on one side of `bound`.
    pub(super) fn ranged(&self, bound: Number, range: NumberRange) -> RoaringBitmap {
        let terms = self.dictionary.ranged(bound, range);
        if self.postings.cost(&terms) * UNION_COST < self.numbers.docs.len() {
            self.postings.union(&[terms])
        } else {
            self.numbers.with_term_in(&terms)
        }
    }

    /// The values of each document that has the key, by document and term.
    pub(super) fn values_by_document(&self) -> BTreeMap<DocId, Vec<Scalar>> {
        let mut values: BTreeMap<DocId, Vec<Scalar>> =
            self.presence.iter().map(|doc| (doc, Vec::new())).collect();
        for term in 0..self.dictionary.len() {
            let scalar = Scalar::from(self.dictionary.at(term));
            self.postings.for_each_doc(term, |doc| {
                values.entry(doc).or_default().push(scalar.clone());
            });
        }
        values
    }
}

impl Numbers {
    fn open(valid: Range<u32>, body: &mut Body) -> Result<Self, Corrupt> {
        let entries = body.u32()? as usize;
        let (docs, terms) = (body.u32s(entries)?, body.u32s(entries)?);
        let inside = docs.iter().next_back().is_none_or(|last| last < body.docs)
            && terms.iter().all(|term| valid.contains(&term));
        let ascends = docs.iter().zip(terms.iter()).is_sorted_by(|a, b| a < b);
        body.check(inside && ascends, "numbers")?;
        Ok(Self { docs, terms })
    }

    fn with_term_in(&self, wanted: &Range<u32>) -> RoaringBitmap {
        let docs = self.docs.iter().next_back().map_or(0, |last| last + 1);
        let mut bits = DocBits::new(docs);
        for (doc, term) in self.docs.iter().zip(self.terms.iter()) {
            bits.set(doc, wanted.contains(&term));
        }
        bits.into()
    }
}
