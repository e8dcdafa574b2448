//! Collects the attributes of documents and writes their columns.

use super::postings;
use super::term::{Term, build_dictionary};
use crate::DocId;
use crate::attributes::{Attributes, Scalar};
use crate::segment::section::{SectionKind, position, start, write_u32s};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};

/// Collects attributes in document order: the ATTRIBUTES section.
#[derive(Debug, Default)]
pub struct AttributesBuilder {
    docs: u32,
    columns: BTreeMap<Box<str>, ColumnBuilder>,
}

/// The values of one key, numbered in order of appearance.
#[derive(Debug, Default)]
struct ColumnBuilder {
    presence: Vec<DocId>,
    terms: Vec<Scalar>,
    strings: HashMap<Box<str>, u32>,
    /// Booleans and numbers by type and bits.
    others: HashMap<(u8, u64), u32>,
    /// (term, document)
    entries: Vec<(u32, DocId)>,
}

impl AttributesBuilder {
    /// Adds the next document.
    pub fn push(&mut self, attributes: &Attributes) {
        for (key, value) in attributes.iter() {
            if !self.columns.contains_key(key) {
                self.columns.insert(key.into(), ColumnBuilder::default());
            }
            let column = self.columns.get_mut(key).expect("inserted above");
            column.push(self.docs, value.scalars());
        }
        self.docs += 1;
    }

    /// The section, for a segment of as many documents as were added.
    pub fn finish(self) -> Vec<u8> {
        let mut section = SectionWriter::default();
        for (key, mut column) in self.columns {
            column.sort();
            section.push(&key, &column.parts());
        }
        section.finish(self.docs)
    }
}

/// Writes columns one after another, which come ascending by key.
#[derive(Default)]
pub(super) struct SectionWriter {
    ends: Vec<u32>,
    columns: Vec<u8>,
}

impl SectionWriter {
    pub(super) fn push(&mut self, key: &str, column: &ColumnParts<'_>) {
        column.write(key, &mut self.columns);
        self.ends.push(position(self.columns.len()));
    }

    /// The section, for a segment of `docs` documents.
    pub(super) fn finish(self, docs: u32) -> Vec<u8> {
        let mut out = start(SectionKind::ATTRIBUTES, docs, [position(self.ends.len()), 0]);
        out.reserve_exact(4 * self.ends.len() + self.columns.len());
        write_u32s(self.ends, &mut out);
        out.extend_from_slice(&self.columns);
        out
    }
}

/// One column, ready to be written.
pub(super) struct ColumnParts<'a> {
    /// Ascending.
    pub(super) presence: RoaringBitmap,
    /// In dictionary order.
    pub(super) terms: Vec<Term<'a>>,
    /// (term, document), ascending; each term has one at least.
    pub(super) entries: &'a [(u32, DocId)],
}

impl ColumnParts<'_> {
    fn write(&self, key: &str, out: &mut Vec<u8>) {
        let presence = postings::bitmap_bytes(&self.presence);
        let lengths = [key.len(), presence.len(), self.terms.len()].map(position);
        write_u32s(lengths, out);
        write_u32s([postings::kind_for(self.terms.len())], out);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&presence);
        build_dictionary(&self.terms, out);
        postings::build(self.terms.len(), self.entries, out);
        self.write_numbers(out);
    }

    fn write_numbers(&self, out: &mut Vec<u8>) {
        let is_number = |term: u32| matches!(self.terms[term as usize], Term::Number(_));
        let entries = self.entries.iter().filter(|(term, _)| is_number(*term));
        let mut numbers: Vec<(DocId, u32)> = entries.map(|&(term, doc)| (doc, term)).collect();
        numbers.sort_unstable();
        write_u32s([position(numbers.len())], out);
        write_u32s(numbers.iter().map(|&(doc, _)| doc), out);
        write_u32s(numbers.iter().map(|&(_, term)| term), out);
    }
}

impl ColumnBuilder {
    fn push(&mut self, doc: DocId, scalars: &[Scalar]) {
        self.presence.push(doc);
        for scalar in scalars {
            let term = self.term(scalar);
            self.entries.push((term, doc));
        }
    }

    fn term(&mut self, scalar: &Scalar) -> u32 {
        let next = self.terms.len() as u32;
        let known = match scalar {
            Scalar::String(text) => self.strings.get(text).copied(),
            Scalar::Integer(value) => Some(*self.others.entry((1, *value as u64)).or_insert(next)),
            Scalar::Float(value) => Some(*self.others.entry((2, value.to_bits())).or_insert(next)),
            Scalar::Bool(value) => Some(*self.others.entry((0, u64::from(*value))).or_insert(next)),
        };
        let term = known.unwrap_or(next);
        if term == next {
            self.terms.push(scalar.clone());
            if let Scalar::String(text) = scalar {
                self.strings.insert(text.clone(), next);
            }
        }
        term
    }

    /// What is to be written, once sorted.
    fn parts(&self) -> ColumnParts<'_> {
        let presence = RoaringBitmap::from_sorted_iter(self.presence.iter().copied());
        ColumnParts {
            presence: presence.expect("documents ascend"),
            terms: self.terms.iter().map(Term::from).collect(),
            entries: &self.entries,
        }
    }

    /// Renumbers the terms in dictionary order, and sorts the entries.
    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.terms.len() as u32).collect();
        let term = |index: u32| Term::from(&self.terms[index as usize]);
        order.sort_unstable_by(|&a, &b| term(a).order(term(b)));
        let mut places = vec![0; order.len()];
        for (place, &index) in order.iter().enumerate() {
            places[index as usize] = place as u32;
        }
        self.terms = order.iter().map(|&index| self.terms[index as usize].clone()).collect();
        self.entries.iter_mut().for_each(|(term, _)| *term = places[*term as usize]);
        self.entries.sort_unstable();
        self.entries.dedup();
    }
}
