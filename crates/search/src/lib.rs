//! Nearest and matching records in bytes already in memory.
//!
//! The pieces, from the record up: a [`Schema`] says which vectors records have; [`Attributes`] are
//! the filterable part of a record's metadata, and a [`Filter`] asks for some of them. Records are
//! written once into a segment ([`SegmentBuilder`]) and read in place ([`Segment`]), which turns a
//! filter into the exact bitmap of its documents. [`scan_rows`] finds the nearest rows of a
//! segment, or of any row-major slice, into a [`TopK`].
//!
//! Everything is a function of its arguments: no I/O, clock, randomness or thread of its own.
//! Decoders take any bytes: they answer [`Corrupt`] or something that holds together, in memory
//! proportional to the bytes given, and never panic.

pub mod ann;
mod attributes;
mod decode;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod key_hash;
mod pages;
mod scan;
mod schema;
mod segment;
#[cfg(test)]
mod testing;

pub use attributes::{Attributes, Number, Scalar, Value};
pub use decode::Corrupt;
pub use filter::{Filter, RowFilter, Test};
pub use key_hash::key_hash;
pub use scan::{
    Candidate, Docs, KeyOrder, ListRange, Mask, Place, PreparedQuery, Rows, TopK, rank_row,
    row_norm, scan_rows,
};
pub use schema::{Metric, Schema, VECTOR_FIELDS_MAX, VectorField};
pub use segment::{
    AttributeTable, AttributesBuilder, BuiltSegment, CodesSource, KeysBuilder, ListBuilder,
    MergeInput, MetadataCursor, MetadataWriter, NormsBuilder, Part, PartId, PieceCounts, RowRef,
    SECTION_ALIGN, SectionKind, SectionPlace, Segment, SegmentBuilder, StoredSection,
    StreamedSection, VectorsWriter, aligned, checksum, cluster_sections, merge_attributes,
};

/// The number of a document in its segment, from 0.
pub type DocId = u32;
