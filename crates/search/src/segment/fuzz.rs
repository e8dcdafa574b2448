//! Fuzz bodies of the single sections; see `crate::fuzz`. Numbers of documents come from the
//! section's own header, bounded, so that its other checks are reached.

use super::columns::{AttributesSection, Block, Blocks, Columns, Heads};
use super::key_filter::KeyFilter;
use super::key_index::KeyIndex;
use super::keys::Keys;
use super::lists::Lists;
use super::metadata::{Metadata, MetadataBlock, MetadataIndex};
use super::section::{Body, SectionKind};
use super::vectors::{Extents, open_norms, open_vectors};
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

/// The key filter section.
pub fn key_filter(bytes: &[u8]) {
    with_docs(SectionKind::KEY_FILTER, bytes, |docs, _, section| {
        if let Ok(filter) = KeyFilter::open(docs, section) {
            [0, 1, u64::MAX / 3, u64::MAX].iter().for_each(|&hash| _ = filter.may_contain(hash));
        }
    });
}

/// The metadata section of version 1, the index of later ones, and a block of metadata.
pub fn metadata(bytes: &[u8]) {
    with_docs(SectionKind::METADATA, bytes, |docs, _, section| {
        if let Ok(metadata @ Metadata::Version1(_)) = Metadata::open(docs, section) {
            (0..docs.min(500)).for_each(|doc| _ = metadata.block_with(doc, None));
        }
    });
    with_docs(SectionKind::METADATA_INDEX, bytes, |docs, _, section| {
        if let Ok(index) = MetadataIndex::open(docs, section) {
            for doc in 0..docs.min(500) {
                let block = index.block_of(doc);
                assert!(index.docs_of(block).contains(&doc));
                assert!(index.place(block).is_some_and(|(range, _)| range.start <= range.end));
            }
        }
    });
    if let Ok(block) = MetadataBlock::open(bytes) {
        (0..block.docs()).for_each(|place| _ = block.at(place));
    }
}

/// The attributes section, of version 1 whole, what leads to the blocks of later ones, and a block.
pub fn attribute_columns(bytes: &[u8]) {
    with_docs(SectionKind::ATTRIBUTES, bytes, |docs, _, section| {
        if let Ok(attributes) = AttributesSection::open(docs, section)
            && let AttributesSection::Old(heads, blocks) = &attributes
        {
            let columns = Columns { heads, blocks: &InOrder(blocks) };
            assert_eq!(columns.attributes().len(), docs as usize);
            for filter in filters() {
                assert!(columns.select(&filter).max().is_none_or(|last| last < docs));
            }
        }
    });
    with_docs(SectionKind::ATTRIBUTE_BLOCKS, bytes, |docs, _, section| {
        if let Ok(heads) = Heads::open(docs, section) {
            for filter in filters() {
                assert!(heads.parts(&filter).iter().all(|block| *block < heads.count()));
                assert!((0.0..=1.0).contains(&heads.estimate(&filter)));
            }
            assert!((0..heads.count()).all(|block| heads.place(block).is_some()));
        }
    });
    _ = Block::open(DOCS_MAX, &Bytes::copy_from_slice(bytes));
}

struct InOrder<'a>(&'a [std::sync::Arc<Block>]);

impl Blocks for InOrder<'_> {
    fn block(&self, number: u32) -> &Block {
        &self.0[number as usize]
    }
}

/// The vectors, vector extents and norms sections.
pub fn vectors(bytes: &[u8]) {
    with_docs(SectionKind::VECTORS, bytes, |docs, [rows, dimension], section| {
        if let Ok(values) = open_vectors(docs, dimension, section) {
            assert_eq!(values.as_slice().len(), rows as usize * dimension as usize);
        }
    });
    with_docs(SectionKind::VECTOR_EXTENTS, bytes, |docs, [rows, _], section| {
        for dimension in [1, 3, u32::MAX] {
            if let Ok(extents) = Extents::open(docs, dimension, section) {
                let cut = (0..extents.count()).map(|extent| extents.rows_of(extent).len());
                assert_eq!(cut.sum::<usize>(), rows as usize);
                assert!((0..extents.count()).all(|extent| extents.place(extent).is_some()));
                assert!(extents.place(extents.count()).is_none());
            }
        }
    });
    with_docs(SectionKind::NORMS, bytes, |docs, [rows, _], section| {
        if let Ok(norms) = open_norms(docs, section) {
            assert_eq!(norms.as_slice().len(), rows as usize);
        }
    });
}
