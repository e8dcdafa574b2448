//! Metadata bytes as written, compressed in blocks.
//!
//! ```text
//! metadata:        header (counts: 0, 0) | blocks
//!   block:         u32 documents | u32 raw length | stored bytes
//! metadata index:  header (counts: blocks, 0)
//!                  u32 first document x blocks | u32 length x blocks | u32 crc32c x blocks
//!
//! version 1 of metadata, which has no index beside it:
//!                  header (counts: blocks, 0)
//!                  u32 first document x blocks | u32 raw length x blocks | u32 end offset x blocks
//!                  stored bytes of each block
//! ```
//!
//! Stored bytes are one LZ4 block, or plain where compression would not shrink them (stored length = raw
//! length). Unpacked they hold the block's documents one after another:
//!
//! ```text
//! u32 (length + 1, or 0 for a document without metadata) x documents | metadata bytes
//! ```
//!
//! Blocks aim at 8 KiB: reading one document costs some microseconds. A block can be read and
//! checked alone. In version 1 blocks are unpacked when asked for, so damage inside one shows then.

use super::section::{Body, Pieces, Places, SectionKind, U32s, start, write_u32s};
use super::writer::{Outgoing, StreamedSection};
use crate::DocId;
use crate::decode::{Corrupt, Input};
use bytes::Bytes;
use std::ops::Range;

const BLOCK_BYTES: usize = 8 << 10;

/// LZ4 cannot expand more than this: a match length grows by 255 per byte.
const EXPANSION_MAX: usize = 255;

/// Collects metadata in document order: the sections METADATA and METADATA_INDEX.
#[derive(Debug, Default)]
pub(crate) struct MetadataBuilder {
    pushed: u32,
    firsts: Vec<u32>,
    lengths: Vec<u32>,
    crcs: Vec<u32>,
    block: OpenBlock,
    out: Outgoing,
}

/// The block that takes documents.
#[derive(Debug, Default)]
struct OpenBlock {
    codes: Vec<u8>,
    bytes: Vec<u8>,
}

impl MetadataBuilder {
    /// Adds the next document.
    pub(crate) fn push(&mut self, metadata: Option<&[u8]>) {
        if self.block.codes.is_empty() {
            self.firsts.push(self.pushed);
        }
        self.pushed += 1;
        self.block.push(metadata);
        if self.block.codes.len() + self.block.bytes.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let block = std::mem::take(&mut self.block).pack();
        self.lengths.push(length(block.len()));
        self.crcs.push(self.out.push(block));
    }

    /// Closes the last block; returns what has gone out, and the index.
    fn close(mut self) -> (Outgoing, Vec<u8>) {
        if !self.block.codes.is_empty() {
            self.close_block();
        }
        let counts = [self.firsts.len() as u32, 0];
        let mut index = start(SectionKind::METADATA_INDEX, self.pushed, counts);
        write_u32s(self.firsts, &mut index);
        write_u32s(self.lengths, &mut index);
        write_u32s(self.crcs, &mut index);
        (self.out, index)
    }

    /// Both sections.
    pub(crate) fn finish(self) -> [(SectionKind, Vec<u8>); 2] {
        let mut section = start(SectionKind::METADATA, self.pushed, [0; 2]);
        let (mut out, index) = self.close();
        let blocks = out.take();
        section.reserve_exact(blocks.iter().map(Bytes::len).sum());
        blocks.iter().for_each(|block| section.extend_from_slice(block));
        [(SectionKind::METADATA_INDEX, index), (SectionKind::METADATA, section)]
    }
}

/// Writes metadata in document order, block by block.
#[derive(Debug)]
pub struct MetadataWriter {
    docs: u32,
    blocks: MetadataBuilder,
}

impl MetadataWriter {
    /// For a segment of `docs` documents.
    pub fn new(docs: u32) -> Self {
        let out = Outgoing::new(start(SectionKind::METADATA, docs, [0; 2]));
        Self { docs, blocks: MetadataBuilder { out, ..MetadataBuilder::default() } }
    }

    /// Adds the next document.
    ///
    /// # Panics
    /// If its metadata would reach 4 GiB.
    pub fn push(&mut self, metadata: Option<&[u8]>) {
        self.blocks.push(metadata);
    }

    /// The bytes of the section that are finished and were not taken yet, in order.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.blocks.out.take()
    }

    /// Closes the section: its last bytes, and what is known of all of them.
    ///
    /// # Panics
    /// If not as many documents came as were announced.
    pub fn finish(self) -> (Vec<Bytes>, StreamedSection) {
        assert_eq!(self.blocks.pushed, self.docs, "as many documents as announced");
        let (out, index) = self.blocks.close();
        out.finish(SectionKind::METADATA, (SectionKind::METADATA_INDEX, index))
    }
}

impl OpenBlock {
    fn push(&mut self, metadata: Option<&[u8]>) {
        let code = metadata.map_or(0, |bytes| length(bytes.len() + 1));
        write_u32s([code], &mut self.codes);
        self.bytes.extend_from_slice(metadata.unwrap_or_default());
    }

    /// The bytes of the closed block.
    fn pack(mut self) -> Vec<u8> {
        let docs = length(self.codes.len() / 4);
        self.codes.append(&mut self.bytes);
        let raw = self.codes;
        let packed = lz4_flex::block::compress(&raw);
        let stored = if packed.len() < raw.len() { &packed } else { &raw };
        let mut block = Vec::with_capacity(8 + stored.len());
        write_u32s([docs, length(raw.len())], &mut block);
        block.extend_from_slice(stored);
        block
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("metadata is below 4 GiB")
}

/// An unpacked block.
#[derive(Clone, Debug)]
pub(crate) struct MetadataBlock {
    /// Invariant: starts with `docs` codes, whose lengths add up to the rest.
    raw: Bytes,
    docs: usize,
}

impl MetadataBlock {
    /// Reads a block as it is stored.
    pub(crate) fn open(stored: &[u8]) -> Result<Self, Corrupt> {
        let mut input = Input::new("metadata block", stored);
        let (docs, raw_length) = (input.u32()? as usize, input.u32()? as usize);
        Self::unpack(&stored[8..], raw_length, docs)
    }

    fn unpack(stored: &[u8], raw_length: usize, docs: usize) -> Result<Self, Corrupt> {
        let block = Self { raw: unpack(stored, raw_length)?, docs };
        if block.is_whole() { Ok(block) } else { Err(corrupt("lengths of a block")) }
    }

    fn is_whole(&self) -> bool {
        let Some(table) = self.docs.checked_mul(4).filter(|&table| table <= self.raw.len()) else {
            return false;
        };
        let total: u64 = self.codes().map(|code| u64::from(code.saturating_sub(1))).sum();
        total == (self.raw.len() - table) as u64
    }

    fn codes(&self) -> impl Iterator<Item = u32> + Clone {
        self.raw[..4 * self.docs].as_chunks().0.iter().map(|code| u32::from_le_bytes(*code))
    }

    pub(crate) fn docs(&self) -> usize {
        self.docs
    }

    pub(crate) fn weight(&self) -> usize {
        self.raw.len()
    }

    /// The metadata of the document at `place` in the block.
    ///
    /// # Panics
    /// If the block has no such place.
    pub(crate) fn at(&self, place: usize) -> Option<Bytes> {
        let code = self.codes().nth(place).expect("a document of the block");
        let before = self.codes().take(place).map(|code| code.saturating_sub(1) as usize);
        let start = 4 * self.docs + before.sum::<usize>();
        code.checked_sub(1).map(|length| self.raw.slice(start..start + length as usize))
    }
}

fn unpack(stored: &[u8], raw_length: usize) -> Result<Bytes, Corrupt> {
    if stored.len() == raw_length {
        return Ok(Bytes::copy_from_slice(stored));
    }
    if raw_length / EXPANSION_MAX > stored.len() {
        return Err(corrupt("raw length of a block"));
    }
    let mut raw = vec![0; raw_length];
    match lz4_flex::block::decompress_into(stored, &mut raw) {
        Ok(written) if written == raw_length => Ok(raw.into()),
        _ => Err(corrupt("compressed block")),
    }
}

/// Which documents stand in which block.
#[derive(Debug)]
struct BlockDocs {
    docs: u32,
    /// Invariant: ascending from 0, each below `docs`; none only if there are no documents.
    firsts: U32s,
}

impl BlockDocs {
    fn open(docs: u32, firsts: U32s) -> Result<Self, Corrupt> {
        let starts =
            firsts.iter().next().is_none_or(|first| first == 0) && (docs > 0) == (firsts.len() > 0);
        let inside = firsts.iter().next_back().is_none_or(|last| last < docs);
        let ascends = firsts.iter().is_sorted_by(|a, b| a < b);
        if starts && inside && ascends {
            Ok(Self { docs, firsts })
        } else {
            Err(corrupt("documents of the blocks"))
        }
    }

    /// # Panics
    /// If `doc` is not below the number of documents.
    fn block_of(&self, doc: DocId) -> usize {
        assert!(doc < self.docs, "a document of the segment");
        let (mut low, mut high) = (0, self.firsts.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *(if self.firsts.at(middle) <= doc { &mut low } else { &mut high }) = middle;
        }
        low
    }

    fn docs_of(&self, block: usize) -> Range<DocId> {
        let next = block + 1;
        let end = if next < self.firsts.len() { self.firsts.at(next) } else { self.docs };
        self.firsts.at(block)..end
    }
}

/// Reader of a metadata index section.
#[derive(Debug)]
pub(crate) struct MetadataIndex {
    docs: BlockDocs,
    /// Of the blocks, in the metadata section.
    places: Places,
}

impl MetadataIndex {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::METADATA_INDEX, docs, section)?;
        let count = body.counts[0] as usize;
        let docs = BlockDocs::open(docs, body.u32s(count)?)?;
        let places = Places::open(count, &mut body)?;
        body.end()?;
        Ok(Self { docs, places })
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        self.places.extra_weight()
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u32 {
        self.places.count()
    }

    /// The block of a document.
    ///
    /// # Panics
    /// If `doc` is not below the number of documents.
    pub(crate) fn block_of(&self, doc: DocId) -> u32 {
        self.docs.block_of(doc) as u32
    }

    /// The documents of a block; none beyond the last.
    pub(crate) fn docs_of(&self, block: u32) -> Range<DocId> {
        if block < self.places.count() { self.docs.docs_of(block as usize) } else { 0..0 }
    }

    /// Bytes of a block in the metadata section, and their CRC32C; `None` beyond the last.
    pub(crate) fn place(&self, block: u32) -> Option<(Range<u64>, u32)> {
        self.places.at(block)
    }
}

/// A whole metadata section.
#[derive(Debug)]
pub(crate) enum Metadata {
    /// It says itself where its blocks lie.
    Version1(OldMetadata),
    /// An index beside it does.
    Indexed(Bytes),
}

impl Metadata {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let body = Body::open_for(SectionKind::METADATA, docs, section)?;
        if body.version == 1 {
            Ok(Self::Version1(OldMetadata::open(body)?))
        } else {
            Ok(Self::Indexed(section.clone()))
        }
    }

    /// The block of a document, unpacked, and the document's place in it.
    ///
    /// # Panics
    /// If `doc` is not below the number of documents.
    pub(crate) fn block_with(
        &self,
        doc: DocId,
        index: Option<&MetadataIndex>,
    ) -> Result<(MetadataBlock, Range<DocId>), Corrupt> {
        match self {
            Self::Version1(old) => old.block_with(doc),
            Self::Indexed(section) => {
                index.ok_or(corrupt("without its index"))?.block_in(section, doc)
            }
        }
    }
}

impl MetadataIndex {
    fn block_in(
        &self,
        section: &[u8],
        doc: DocId,
    ) -> Result<(MetadataBlock, Range<DocId>), Corrupt> {
        let number = self.block_of(doc);
        let (range, _) = self.place(number).expect("a block of the index");
        let stored = section.get(range.start as usize..range.end as usize);
        let block = MetadataBlock::open(stored.ok_or(corrupt("ends too early"))?)?;
        let docs = self.docs_of(number);
        if block.docs() == docs.len() {
            Ok((block, docs))
        } else {
            Err(corrupt("documents of a block"))
        }
    }
}

/// Reader of a metadata section of version 1.
#[derive(Debug)]
pub(crate) struct OldMetadata {
    docs: BlockDocs,
    raw_lengths: U32s,
    blocks: Pieces,
}

impl OldMetadata {
    fn open(mut body: Body) -> Result<Self, Corrupt> {
        let count = body.counts[0] as usize;
        let firsts = body.u32s(count)?;
        let raw_lengths = body.u32s(count)?;
        let blocks = body.pieces(count)?;
        body.end()?;
        Ok(Self { docs: BlockDocs::open(body.docs, firsts)?, raw_lengths, blocks })
    }

    fn block_with(&self, doc: DocId) -> Result<(MetadataBlock, Range<DocId>), Corrupt> {
        let number = self.docs.block_of(doc);
        let docs = self.docs.docs_of(number);
        let raw_length = self.raw_lengths.at(number) as usize;
        Ok((MetadataBlock::unpack(self.blocks.at(number), raw_length, docs.len())?, docs))
    }
}

fn corrupt(what: &'static str) -> Corrupt {
    Corrupt { part: SectionKind::METADATA.name(), what }
}

#[cfg(test)]
mod tests {
    use super::{Metadata, MetadataBlock, MetadataIndex, MetadataWriter};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn document() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop_oneof![
            1 => Just(None),
            1 => Just(Some(Vec::new())),
            4 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Some),
            4 => (1..200usize).prop_map(|n| Some(br#"{"title":"a"}"#.repeat(n))),
            1 => (0..40_000usize).prop_map(|n| Some(vec![b'x'; n])),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_document_comes_back(
            documents in prop::collection::vec(document(), 0..120),
            takes in any::<bool>(),
        ) {
            let docs = documents.len() as u32;
            let mut writer = MetadataWriter::new(docs);
            let mut section = Vec::new();
            for document in &documents {
                writer.push(document.as_deref());
                if takes {
                    section.extend(writer.take());
                }
            }
            let (rest, written) = writer.finish();
            section.extend(rest);
            let section = Bytes::from(section.concat());
            prop_assert_eq!(written.length, section.len() as u64);
            prop_assert_eq!(written.crc, crate::checksum(&section));
            let index = MetadataIndex::open(docs, &written.directory.1.into()).expect("valid");
            let whole = Metadata::open(docs, &section).expect("valid");
            for (doc, document) in (0..).zip(&documents) {
                let (block, range) = whole.block_with(doc, Some(&index)).expect("valid");
                let place = (doc - range.start) as usize;
                prop_assert_eq!(block.at(place), document.clone().map(Bytes::from));
                let (bytes, crc) = index.place(index.block_of(doc)).expect("a block");
                let stored = &section[bytes.start as usize..bytes.end as usize];
                prop_assert_eq!(crate::checksum(stored), crc);
                let alone = MetadataBlock::open(stored).expect("valid");
                prop_assert_eq!(alone.at(place), document.clone().map(Bytes::from));
            }
        }
    }

    #[test]
    fn an_impossible_raw_length_allocates_nothing() {
        let mut writer = MetadataWriter::new(1);
        writer.push(Some(&[b'a'; 4000]));
        let (chunks, _) = writer.finish();
        let mut block = chunks[1].to_vec();
        assert!(MetadataBlock::open(&block).is_ok());
        block[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(MetadataBlock::open(&block).is_err());
    }
}
