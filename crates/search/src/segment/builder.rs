//! From rows to sections.

use super::columns::ColumnsBuilder;
use super::metadata::MetadataBuilder;
use super::section::SectionKind;
use super::{DOCS_MAX, key_index, keys, lists, vectors};
use crate::DocId;
use crate::attributes::Attributes;
use crate::key_hash::key_hash;
use crate::scan::row_norm;
use crate::schema::{Metric, Schema};
use vb_kernel::Kernels;

/// One record to store.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> {
    /// Opaque bytes.
    pub key: &'a [u8],
    /// One entry per vector field of the schema, of its dimension.
    pub vectors: &'a [Option<&'a [f32]>],
    /// Opaque bytes, given back as they are.
    pub metadata: Option<&'a [u8]>,
    /// What filters see of the metadata.
    pub attributes: &'a Attributes,
}

/// Collects the rows of one segment.
pub struct SegmentBuilder {
    kernels: Kernels,
    keys: Vec<Box<[u8]>>,
    /// By document, ascending.
    index: Vec<(u64, DocId)>,
    metadata: MetadataBuilder,
    columns: ColumnsBuilder,
    fields: Vec<FieldBuilder>,
}

/// A finished segment: its sections in memory.
#[derive(Debug)]
pub struct BuiltSegment {
    /// Kind, vector field (0 for sections of the whole segment), bytes. Store each at a multiple of
    /// [`super::SECTION_ALIGN`].
    pub sections: Vec<(SectionKind, u8, Vec<u8>)>,
    /// The number of documents.
    pub docs: u32,
}

struct FieldBuilder {
    dimension: u32,
    metric: Metric,
    docs: Vec<DocId>,
    values: Vec<f32>,
    norms: Vec<f32>,
}

impl SegmentBuilder {
    /// An empty segment of this schema.
    pub fn new(schema: &Schema, kernels: Kernels) -> Self {
        let fields = schema.vector_fields.iter().map(|field| FieldBuilder {
            dimension: field.dimension,
            metric: field.metric,
            docs: Vec::new(),
            values: Vec::new(),
            norms: Vec::new(),
        });
        Self {
            kernels,
            keys: Vec::new(),
            index: Vec::new(),
            metadata: MetadataBuilder::default(),
            columns: ColumnsBuilder::default(),
            fields: fields.collect(),
        }
    }

    /// Adds a record and returns its document: 0, 1, 2 and so on.
    ///
    /// # Panics
    /// If records do not come in strictly ascending order of `(key_hash(key), key)`, if the vectors
    /// are not as the schema says, beyond 2^30 records, or if a section other than vectors would reach 4 GiB.
    pub fn push(&mut self, row: RowRef<'_>) -> DocId {
        let doc = self.docs();
        assert!(doc < DOCS_MAX, "a segment holds at most 2^30 documents");
        let hash = key_hash(row.key);
        if let (Some(&(last_hash, _)), Some(last_key)) = (self.index.last(), self.keys.last()) {
            let ascends = (last_hash, &**last_key) < (hash, row.key);
            assert!(ascends, "records come in (hash, key) order");
        }
        assert_eq!(row.vectors.len(), self.fields.len(), "one vector per field");
        self.index.push((hash, doc));
        self.keys.push(row.key.into());
        self.metadata.push(row.metadata);
        self.columns.push(row.attributes);
        for (field, vector) in self.fields.iter_mut().zip(row.vectors) {
            if let Some(vector) = vector {
                field.push(doc, vector, self.kernels);
            }
        }
        doc
    }

    /// The number of documents added.
    pub fn docs(&self) -> u32 {
        self.keys.len() as u32
    }

    /// The sections of all records added.
    pub fn finish(self) -> BuiltSegment {
        let docs = self.docs();
        let mut sections = vec![
            (SectionKind::KEYS, 0, keys::build(&self.keys)),
            (SectionKind::KEY_INDEX, 0, key_index::build(&self.index)),
            (SectionKind::METADATA, 0, self.metadata.finish()),
            (SectionKind::ATTRIBUTES, 0, self.columns.finish()),
        ];
        for (number, field) in (0..).zip(self.fields) {
            field.finish(docs, number, &mut sections);
        }
        BuiltSegment { sections, docs }
    }
}

impl FieldBuilder {
    fn push(&mut self, doc: DocId, vector: &[f32], kernels: Kernels) {
        assert_eq!(vector.len(), self.dimension as usize, "a vector of the field's dimension");
        self.docs.push(doc);
        self.values.extend_from_slice(vector);
        if self.metric == Metric::Cosine {
            self.norms.push(row_norm(kernels, vector));
        }
    }

    fn finish(self, docs: u32, number: u8, sections: &mut Vec<(SectionKind, u8, Vec<u8>)>) {
        let values = vectors::build_vectors(docs, self.dimension, &self.values);
        drop(self.values);
        sections.push((SectionKind::LISTS, number, lists::build(docs, &[self.docs])));
        sections.push((SectionKind::VECTORS, number, values));
        if self.metric == Metric::Cosine {
            sections.push((SectionKind::NORMS, number, vectors::build_norms(docs, &self.norms)));
        }
    }
}
