//! From rows to sections.

use super::columns::AttributesBuilder;
use super::keys::KeysBuilder;
use super::lists::ListBuilder;
use super::metadata::MetadataBuilder;
use super::section::SectionKind;
use super::vectors::{NormsBuilder, VectorsBuilder};
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
    keys: KeysBuilder,
    metadata: MetadataBuilder,
    columns: AttributesBuilder,
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
    list: ListBuilder,
    vectors: VectorsBuilder,
    /// For cosine.
    norms: Option<NormsBuilder>,
}

impl SegmentBuilder {
    /// An empty segment of this schema.
    pub fn new(schema: &Schema, kernels: Kernels) -> Self {
        let fields = schema.vector_fields.iter().map(|field| FieldBuilder {
            list: ListBuilder::default(),
            vectors: VectorsBuilder::new(field.dimension),
            norms: (field.metric == Metric::Cosine).then(NormsBuilder::default),
        });
        Self {
            kernels,
            keys: KeysBuilder::default(),
            metadata: MetadataBuilder::default(),
            columns: AttributesBuilder::default(),
            fields: fields.collect(),
        }
    }

    /// Adds a record and returns its document: 0, 1, 2 and so on.
    ///
    /// # Panics
    /// If records do not come in strictly ascending order of `(key_hash(key), key)`, if the vectors
    /// are not as the schema says, beyond 2^30 records, or if a section other than vectors would reach 4 GiB.
    pub fn push(&mut self, row: RowRef<'_>) -> DocId {
        assert_eq!(row.vectors.len(), self.fields.len(), "one vector per field");
        let doc = self.keys.push(key_hash(row.key), row.key);
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
        self.keys.docs()
    }

    /// The sections of all records added: what is read of them piece by piece first, then what leads to
    /// the pieces, then the rest.
    pub fn finish(self) -> BuiltSegment {
        let docs = self.docs();
        let mut sections = Vec::new();
        for (number, field) in (0..).zip(self.fields) {
            field.finish(docs, number, &mut sections);
        }
        let metadata = self.metadata.finish();
        sections.extend(metadata.map(|(kind, bytes)| (kind, 0, bytes)));
        sections.extend(self.keys.finish());
        sections.extend(self.columns.finish().map(|(kind, bytes)| (kind, 0, bytes)));
        sections.sort_by_key(|(kind, ..)| place_in_object(*kind));
        BuiltSegment { sections, docs }
    }
}

/// Where a section stands in the object: what is needed together lies side by side.
fn place_in_object(kind: SectionKind) -> u8 {
    match kind {
        SectionKind::VECTORS => 0,
        SectionKind::METADATA => 1,
        SectionKind::KEY_FILTER => 2,
        SectionKind::LISTS => 3,
        SectionKind::VECTOR_EXTENTS => 4,
        SectionKind::METADATA_INDEX => 5,
        SectionKind::NORMS => 6,
        SectionKind::KEYS => 7,
        SectionKind::KEY_INDEX => 8,
        SectionKind::KEY_BLOCKS | SectionKind::ATTRIBUTE_BLOCKS => 5,
        _ => 9,
    }
}

impl FieldBuilder {
    fn push(&mut self, doc: DocId, vector: &[f32], kernels: Kernels) {
        self.list.push(doc);
        self.vectors.push(vector);
        if let Some(norms) = &mut self.norms {
            norms.push(row_norm(kernels, vector));
        }
    }

    fn finish(self, docs: u32, number: u8, sections: &mut Vec<(SectionKind, u8, Vec<u8>)>) {
        let vectors = self.vectors.finish(docs);
        sections.extend(vectors.map(|(kind, bytes)| (kind, number, bytes)));
        sections.push((SectionKind::LISTS, number, self.list.finish(docs)));
        let norms = self.norms.map(|norms| norms.finish(docs));
        sections.extend(norms.map(|bytes| (SectionKind::NORMS, number, bytes)));
    }
}
