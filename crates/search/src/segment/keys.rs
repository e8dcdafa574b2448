//! Key bytes by document.
//!
//! ```text
//! keys:        header (counts: documents per block, 0) | blocks
//!   block:     u32 documents | u32 end offset x documents | key bytes
//! key blocks:  header (counts: blocks, documents per block) | u32 length x blocks | u32 crc32c x blocks
//!
//! version 1 of keys, without key blocks beside it:
//!              header (counts: 0, 0) | u32 end offset x docs | key bytes
//! ```
//!
//! Every block but the last has as many documents as the header says. A query that finds a few
//! records in a large segment reads the blocks with their keys, not all keys.

use super::section::{Body, Pieces, Places, SectionKind, position, start, write_u32s};
use super::{DOCS_MAX, key_filter, key_index};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;
use std::ops::Range;

/// Documents per block: some kilobytes of keys.
const BLOCK_DOCS: usize = 128;

/// Collects the keys of a segment, and with them its sections KEYS, KEY_BLOCKS, KEY_INDEX and
/// KEY_FILTER.
#[derive(Debug, Default)]
pub struct KeysBuilder {
    /// By document, ascending.
    hashes: Vec<u64>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl KeysBuilder {
    /// Adds the key of the next document, whose [`crate::key_hash()`] is `hash`, and returns that
    /// document: 0, 1, 2 and so on.
    ///
    /// # Panics
    /// If keys do not come in strictly ascending order of `(hash, key)`, beyond 2^30 keys, or beyond
    /// 4 GiB.
    pub fn push(&mut self, hash: u64, key: &[u8]) -> DocId {
        let doc = self.docs();
        assert!(doc < DOCS_MAX, "a segment holds at most 2^30 documents");
        if let Some(&last) = self.hashes.last() {
            let ascends = (last, self.key(doc - 1)) < (hash, key);
            assert!(ascends, "records come in (hash, key) order");
        }
        self.hashes.push(hash);
        self.bytes.extend_from_slice(key);
        self.ends.push(position(self.bytes.len()));
        doc
    }

    /// The number of keys added.
    pub fn docs(&self) -> u32 {
        self.hashes.len() as u32
    }

    fn key(&self, doc: DocId) -> &[u8] {
        let start = doc.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        &self.bytes[start as usize..self.ends[doc as usize] as usize]
    }

    /// The sections, with field 0.
    pub fn finish(self) -> Vec<(SectionKind, u8, Vec<u8>)> {
        let filter = key_filter::build(&self.hashes);
        let index = key_index::build(&self.hashes);
        let (keys, blocks) = self.blocks();
        vec![
            (SectionKind::KEY_FILTER, 0, filter),
            (SectionKind::KEY_BLOCKS, 0, blocks),
            (SectionKind::KEYS, 0, keys),
            (SectionKind::KEY_INDEX, 0, index),
        ]
    }

    /// The sections KEYS and KEY_BLOCKS.
    fn blocks(&self) -> (Vec<u8>, Vec<u8>) {
        let docs = self.docs();
        let mut keys = start(SectionKind::KEYS, docs, [BLOCK_DOCS as u32, 0]);
        keys.reserve_exact(4 * self.ends.len() + self.bytes.len() + self.ends.len() / 16);
        let (mut lengths, mut crcs) = (Vec::new(), Vec::new());
        let mut first = 0;
        for ends in self.ends.chunks(BLOCK_DOCS) {
            let before = keys.len();
            write_u32s([ends.len() as u32], &mut keys);
            write_u32s(ends.iter().map(|end| end - first), &mut keys);
            let end = ends[ends.len() - 1];
            keys.extend_from_slice(&self.bytes[first as usize..end as usize]);
            lengths.push(position(keys.len() - before));
            crcs.push(crc32c::crc32c(&keys[before..]));
            first = end;
        }
        let counts = [position(lengths.len()), BLOCK_DOCS as u32];
        let mut blocks = start(SectionKind::KEY_BLOCKS, docs, counts);
        write_u32s(lengths, &mut blocks);
        write_u32s(crcs, &mut blocks);
        (keys, blocks)
    }
}

/// Reader of a keys section.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Documents of every block but the last; not 0.
    per_block: usize,
    /// Invariant: the documents of all blocks are those of the segment.
    blocks: Vec<KeyBlock>,
    is_cut: bool,
}

impl Keys {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEYS, docs, section)?;
        let docs = docs as usize;
        if body.version == 1 {
            let block = KeyBlock(body.pieces(docs)?);
            body.end()?;
            return Ok(Self { per_block: docs.max(1), blocks: vec![block], is_cut: false });
        }
        let per_block = body.counts[0] as usize;
        body.check(per_block > 0, "blocks without documents")?;
        let mut blocks = Vec::new();
        let mut left = docs;
        while left > 0 {
            let block = KeyBlock::read(&mut body)?;
            body.check(block.docs() == left.min(per_block), "documents of a block")?;
            left -= block.docs();
            blocks.push(block);
        }
        body.end()?;
        Ok(Self { per_block, blocks, is_cut: true })
    }

    /// Whether a directory leads to its blocks.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// # Panics
    /// If `doc` is not below the number of documents.
    pub(crate) fn at(&self, doc: DocId) -> &[u8] {
        let doc = doc as usize;
        self.blocks[doc / self.per_block].at(doc % self.per_block)
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        size_of_val(&self.blocks[..])
    }
}

/// The keys of some consecutive documents.
#[derive(Debug)]
pub(crate) struct KeyBlock(Pieces);

impl KeyBlock {
    /// Reads a block as it is stored.
    pub(crate) fn open(stored: Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::of_part("key block", stored);
        let block = Self::read(&mut body)?;
        body.end()?;
        Ok(block)
    }

    fn read(body: &mut Body) -> Result<Self, Corrupt> {
        let docs = body.u32()? as usize;
        Ok(Self(body.pieces(docs)?))
    }

    pub(crate) fn docs(&self) -> usize {
        self.0.len()
    }

    /// # Panics
    /// If the block has no such place.
    pub(crate) fn at(&self, place: usize) -> &[u8] {
        self.0.at(place)
    }
}

/// Reader of a key blocks section: where each block of keys lies.
#[derive(Debug)]
pub(crate) struct KeyDirectory {
    docs: u32,
    /// Invariant: not 0.
    per_block: u32,
    /// In the keys section.
    places: Places,
}

impl KeyDirectory {
    /// How many blocks there are.
    pub(crate) fn count(&self) -> u32 {
        self.places.count()
    }

    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEY_BLOCKS, docs, section)?;
        let [blocks, per_block] = body.counts;
        body.check(per_block > 0, "blocks without documents")?;
        body.check(blocks == docs.div_ceil(per_block), "number of blocks")?;
        let places = Places::open(blocks as usize, &mut body)?;
        body.end()?;
        Ok(Self { docs, per_block, places })
    }

    /// The block with the key of a document.
    pub(crate) fn block_of(&self, doc: DocId) -> u32 {
        doc / self.per_block
    }

    /// The documents of a block; none beyond the last.
    pub(crate) fn docs_of(&self, block: u32) -> Range<DocId> {
        let start = block.saturating_mul(self.per_block).min(self.docs);
        start..start.saturating_add(self.per_block).min(self.docs)
    }

    /// Bytes of a block in the keys section, and their CRC32C; `None` beyond the last.
    pub(crate) fn place(&self, block: u32) -> Option<(Range<u64>, u32)> {
        self.places.at(block)
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        self.places.extra_weight()
    }
}
