//! Fuzz bodies of the single sections; see `crate::fuzz`. Numbers of documents come from the
//! section's own header, bounded, so that its other checks are reached.

use super::columns::Columns;
use super::key_index::KeyIndex;
use super::keys::Keys;
use super::lists::Lists;
use super::metadata::{Metadata, MetadataCursor};
use super::section::{Body, SectionKind};
use super::vectors::{open_norms, open_vectors};
use crate::fuzz::{DOCS_MAX, filters};
use bytes::Bytes;

fn with_docs(kind: SectionKind, bytes: &[u8], read: impl FnOnce(u32, [u32; 2], &Bytes)) {
    let section = Bytes::copy_from_slice(bytes);
    if let Ok(Body { docs: docs @ ..=DOCS_MAX, counts, .. }) = Body::open(kind, &section) {
        read(docs, counts, &section);
    }
}

/// The keys section.
pub fn keys(bytes: &[u8]) {
    with_docs(SectionKind::KEYS, bytes, |docs, _, section| {
        if let Ok(keys) = Keys::open(docs, section) {
            (0..docs).for_each(|doc| assert!(keys.at(doc).len() <= section.len()));
        }
    });
}

/// The key index section.
pub fn key_index(bytes: &[u8]) {
    with_docs(SectionKind::KEY_INDEX, bytes, |docs, _, section| {
        if let Ok(index) = KeyIndex::open(docs, section) {
            for rank in 0..docs {
                assert!(index.doc_at(rank) < docs);
                assert!(index.rank_of_hash(index.hash_at(rank)) <= rank);
            }
        }
    });
}

/// The posting lists section.
pub fn lists(bytes: &[u8]) {
    with_docs(SectionKind::LISTS, bytes, |docs, _, section| {
        if let Ok(lists) = Lists::open(docs, section) {
            let mut ids = Vec::new();
            for piece in lists.pieces(0..lists.rows()) {
                piece.read(&mut ids);
                let rows = ids.iter().map(|&doc| lists.row_of(doc));
                assert!(rows.eq(piece.rows.clone().map(Some)));
            }
        }
    });
}

/// The metadata section.
pub fn metadata(bytes: &[u8]) {
    with_docs(SectionKind::METADATA, bytes, |docs, _, section| {
        if let Ok(metadata) = Metadata::open(docs, section) {
            let mut cursor = MetadataCursor::new(&metadata);
            (0..docs.min(500)).for_each(|doc| assert_eq!(metadata.at(doc), cursor.get(doc)));
        }
    });
}

/// The attributes section.
pub fn attribute_columns(bytes: &[u8]) {
    with_docs(SectionKind::ATTRIBUTES, bytes, |docs, _, section| {
        if let Ok(columns) = Columns::open(docs, section) {
            assert_eq!(columns.attributes().len(), docs as usize);
            for filter in filters() {
                assert!(columns.select(&filter).max().is_none_or(|last| last < docs));
            }
        }
    });
}

/// The vectors and norms sections.
pub fn vectors(bytes: &[u8]) {
    with_docs(SectionKind::VECTORS, bytes, |docs, [rows, dimension], section| {
        if let Ok(values) = open_vectors(docs, rows as usize, dimension, section) {
            assert_eq!(values.as_slice().len(), rows as usize * dimension as usize);
        }
    });
    with_docs(SectionKind::NORMS, bytes, |docs, [rows, _], section| {
        if let Ok(norms) = open_norms(docs, rows as usize, section) {
            assert_eq!(norms.as_slice().len(), rows as usize);
        }
    });
}
