//! Collects the attributes of documents and writes their columns.

use super::postings;
use super::term::{Term, build_dictionary};
use crate::DocId;
use crate::attributes::{Attributes, Scalar};
use crate::segment::section::{SectionKind, position, start, write_pieces, write_u32s};
use std::collections::{BTreeMap, HashMap};

/// Collects attributes in document order.
#[derive(Default)]
pub(crate) struct ColumnsBuilder {
    docs: u32,
    columns: BTreeMap<Box<str>, ColumnBuilder>,
}

/// The values of one key, numbered in order of appearance.
#[derive(Default)]
struct ColumnBuilder {
    presence: Vec<DocId>,
    terms: Vec<Scalar>,
    strings: HashMap<Box<str>, u32>,
    /// Booleans and numbers by type and bits.
    others: HashMap<(u8, u64), u32>,
    /// (term, document)
    entries: Vec<(u32, DocId)>,
}

impl ColumnsBuilder {
    /// Adds the next document.
    pub(crate) fn push(&mut self, attributes: &Attributes) {
        for (key, value) in attributes.iter() {
            if !self.columns.contains_key(key) {
                self.columns.insert(key.into(), ColumnBuilder::default());
            }
            let column = self.columns.get_mut(key).expect("inserted above");
            column.push(self.docs, value.scalars());
        }
        self.docs += 1;
    }

    /// The attributes section.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = start(SectionKind::ATTRIBUTES, self.docs, [position(self.columns.len()), 0]);
        let columns: Vec<Vec<u8>> =
            self.columns.into_iter().map(|(key, column)| column.finish(&key)).collect();
        write_pieces(columns.iter().map(Vec::as_slice), &mut out);
        out
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

    fn finish(mut self, key: &str) -> Vec<u8> {
        self.sort();
        let presence = postings::write_bitmap(self.presence.iter().copied());
        let lengths = [key.len(), presence.len(), self.terms.len()].map(position);
        let mut out = Vec::new();
        write_u32s(lengths, &mut out);
        write_u32s([postings::kind_for(self.terms.len())], &mut out);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&presence);
        build_dictionary(&self.terms, &mut out);
        postings::build(self.terms.len(), &self.entries, &mut out);
        self.write_numbers(&mut out);
        out
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

    fn write_numbers(&self, out: &mut Vec<u8>) {
        let is_number = |term: u32| self.terms[term as usize].number().is_some();
        let entries = self.entries.iter().filter(|(term, _)| is_number(*term));
        let mut numbers: Vec<(DocId, u32)> = entries.map(|&(term, doc)| (doc, term)).collect();
        numbers.sort_unstable();
        write_u32s([position(numbers.len())], out);
        write_u32s(numbers.iter().map(|&(doc, _)| doc), out);
        write_u32s(numbers.iter().map(|&(_, term)| term), out);
    }
}
