//! Cluster indexes of segments that are being written.
//!
//! A flush builds one from its vectors as they go out; a merge makes one of those of its inputs, if
//! the largest of them has most of the vectors, or builds it like a flush. Either way the work is done by the builders' threads.

use std::sync::Arc;

use vb_search::ann::{Builder, Built, Params};
use vb_search::{Part, PartId, SectionKind, cluster_sections};

use super::object::SmallSection;
use crate::fetch::Origin;

/// A builder for a field with so many vectors; `None`: there are none.
pub(super) fn builder(origin: &Origin, field: usize, rows: usize) -> Option<Collector> {
    (rows > 0).then(|| Collector {
        builder: Builder::new(params(origin, field), origin.context.kernels),
        waiting: Vec::new(),
    })
}

/// What the indexes of a field are built for.
pub(super) fn params(origin: &Origin, field: usize) -> Params {
    let field = &origin.schema.vector_fields[field];
    Params::new(field.metric, field.dimension as usize)
}

/// Vectors on their way into an index.
#[derive(Debug)]
pub(super) struct Collector {
    builder: Builder,
    /// Encoded together: one by one they would not keep the threads busy.
    waiting: Vec<f32>,
}

impl Collector {
    pub(super) fn push(&mut self, vector: &[f32]) {
        self.waiting.extend_from_slice(vector);
    }

    /// Encodes what was pushed.
    pub(super) fn encode(&mut self) {
        self.builder.push(&self.waiting);
        self.waiting.clear();
    }

    fn finish(mut self) -> Built {
        self.encode();
        self.builder.finish()
    }
}

/// The sections of an index.
pub(super) async fn finish(
    origin: &Origin,
    field: usize,
    docs: u32,
    collector: Collector,
) -> Vec<SmallSection> {
    let work = move || sections(field, docs, &collector.finish());
    origin.context.builders.run(work).await
}

/// The sections of a built index.
pub(super) fn sections(field: usize, docs: u32, built: &Built) -> Vec<SmallSection> {
    let field = u8::try_from(field).expect("a schema has few fields");
    cluster_sections(docs, built).map(|(kind, bytes)| (kind, field, bytes)).into()
}

/// Keeps what queries of a new segment by clusters need first in memory, as far as there is room. Gives
/// the sections back.
pub(super) async fn keep(
    origin: &Origin,
    object: u128,
    docs: u32,
    small: Vec<SmallSection>,
) -> Vec<SmallSection> {
    let context = Arc::clone(&origin.context);
    let schema = Arc::clone(&origin.schema);
    let work = move || {
        if small.iter().any(|(kind, ..)| *kind == SectionKind::CENTROIDS) {
            for (kind, field, bytes) in small.iter().filter(|(kind, ..)| KEPT.contains(kind)) {
                let part = Part::open(&schema, docs, PartId::Section(*kind, *field), bytes);
                // What we wrote opens; if it did not, a reader would say so.
                part.into_iter().for_each(|part| context.cache.keep(object, part));
            }
        }
        small
    };
    origin.context.builders.run(work).await
}

const KEPT: [SectionKind; 7] = [
    SectionKind::CENTROIDS,
    SectionKind::CODES,
    SectionKind::ROW_CODES,
    SectionKind::LISTS,
    SectionKind::VECTOR_EXTENTS,
    SectionKind::METADATA_INDEX,
    SectionKind::KEY_BLOCKS,
];
