//! Collects the attributes of documents and writes their columns.

use super::term::Term;
use super::write::{AttributeSections, SectionWriter};
use crate::DocId;
use crate::attributes::{Attributes, Scalar};
use crate::segment::section::SectionKind;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};

/// Collects attributes in document order.
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

    /// The sections ATTRIBUTE_BLOCKS and ATTRIBUTES, for a segment of as many documents as were added.
    pub fn finish(self) -> [(SectionKind, Vec<u8>); 2] {
        self.sections().into_pairs()
    }

    pub(super) fn sections(self) -> AttributeSections {
        let mut section = SectionWriter::new(self.docs);
        for (key, mut column) in self.columns {
            column.sort();
            column.write(&key, &mut section);
        }
        section.finish()
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

    /// Writes it, once sorted.
    fn write(&self, key: &str, section: &mut SectionWriter) {
        let presence = RoaringBitmap::from_sorted_iter(self.presence.iter().copied());
        let presence = presence.expect("documents ascend");
        let mut column = section.column(self.entries.len(), &presence);
        let mut docs: Vec<DocId> = Vec::new();
        for entries in self.entries.chunk_by(|a, b| a.0 == b.0) {
            docs.clear();
            docs.extend(entries.iter().map(|(_, doc)| doc));
            column.push(Term::from(&self.terms[entries[0].0 as usize]), &docs);
        }
        column.finish(key);
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
