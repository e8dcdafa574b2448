//! Metadata bytes as written, compressed in blocks.
//!
//! ```text
//! header (counts: blocks, 0)
//! u32 first document x blocks | u32 raw length x blocks | u32 end offset x blocks | blocks
//! ```
//!
//! A block is one LZ4 block, or plain bytes where compression would not shrink them (stored length =
//! raw length). Unpacked it holds its documents one after another:
//!
//! ```text
//! u32 (length + 1, or 0 for a document without metadata) x documents | metadata bytes
//! ```
//!
//! Blocks aim at 8 KiB: reading one document costs a few microseconds. They are unpacked when asked
//! for, so damage inside a block shows then.

use super::section::{Body, Pieces, SectionKind, U32s, start, write_pieces, write_u32s};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;
use std::ops::Range;

const BLOCK_BYTES: usize = 8 << 10;

/// LZ4 cannot expand more than this: a match length grows by 255 per byte.
const EXPANSION_MAX: usize = 255;

/// Collects metadata in document order.
#[derive(Default)]
pub(crate) struct MetadataBuilder {
    docs: u32,
    firsts: Vec<u32>,
    raw_lengths: Vec<u32>,
    blocks: Vec<Vec<u8>>,
    /// The open block.
    lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl MetadataBuilder {
    /// Adds the next document.
    pub(crate) fn push(&mut self, metadata: Option<&[u8]>) {
        if self.lengths.is_empty() {
            self.firsts.push(self.docs);
        }
        self.docs += 1;
        let length = metadata.map_or(0, |bytes| bytes.len() + 1);
        write_u32s([u32::try_from(length).expect("metadata is below 4 GiB")], &mut self.lengths);
        self.bytes.extend_from_slice(metadata.unwrap_or_default());
        if self.lengths.len() + self.bytes.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let raw = [std::mem::take(&mut self.lengths), std::mem::take(&mut self.bytes)].concat();
        self.raw_lengths.push(u32::try_from(raw.len()).expect("metadata is below 4 GiB"));
        let packed = lz4_flex::block::compress(&raw);
        self.blocks.push(if packed.len() < raw.len() { packed } else { raw });
    }

    /// The metadata section.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.lengths.is_empty() {
            self.close_block();
        }
        let mut out = start(SectionKind::METADATA, self.docs, [self.firsts.len() as u32, 0]);
        write_u32s(self.firsts, &mut out);
        write_u32s(self.raw_lengths, &mut out);
        write_pieces(self.blocks.iter().map(Vec::as_slice), &mut out);
        out
    }
}

/// Reader of a metadata section.
#[derive(Debug)]
pub(crate) struct Metadata {
    docs: u32,
    /// Invariant: ascending from 0, each below `docs`.
    firsts: U32s,
    raw_lengths: U32s,
    blocks: Pieces,
}

impl Metadata {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::METADATA, docs, section)?;
        let count = body.counts[0] as usize;
        let firsts = body.u32s(count)?;
        let raw_lengths = body.u32s(count)?;
        let blocks = body.pieces(count)?;
        body.end()?;
        let starts =
            firsts.iter().next().is_none_or(|first| first == 0) && (docs > 0) == (count > 0);
        let inside = firsts.iter().next_back().is_none_or(|last| last < docs);
        let ascends = firsts.iter().is_sorted_by(|a, b| a < b);
        body.check(starts && inside && ascends, "documents of the blocks")?;
        Ok(Self { docs, firsts, raw_lengths, blocks })
    }

    /// # Panics
    /// If `doc` is not below the number of documents.
    pub(crate) fn at(&self, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        let block = self.block_of(doc);
        self.doc_in(block, &self.unpack(block)?, doc)
    }

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

    fn unpack(&self, block: usize) -> Result<Bytes, Corrupt> {
        let packed = self.blocks.shared(block);
        let length = self.raw_lengths.at(block) as usize;
        if packed.len() == length {
            return Ok(packed);
        }
        if length / EXPANSION_MAX > packed.len() {
            return Err(corrupt("raw length of a block"));
        }
        let mut raw = vec![0; length];
        match lz4_flex::block::decompress_into(&packed, &mut raw) {
            Ok(written) if written == length => Ok(raw.into()),
            _ => Err(corrupt("compressed block")),
        }
    }

    fn doc_in(&self, block: usize, raw: &Bytes, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        let docs = self.docs_of(block);
        let (table, bytes) =
            raw.split_at_checked(docs.len() * 4).ok_or(corrupt("lengths of a block"))?;
        let lengths = table.as_chunks().0.iter().map(|length| u32::from_le_bytes(*length));
        let place = (doc - docs.start) as usize;
        let before = lengths.clone().take(place).map(|length| length.saturating_sub(1) as usize);
        let start = before.sum::<usize>();
        let Some(length) = lengths.clone().nth(place).and_then(|length| length.checked_sub(1))
        else {
            return Ok(None);
        };
        let range = start..start + length as usize;
        let found = bytes.get(range).ok_or(corrupt("length of a document"))?;
        Ok(Some(raw.slice_ref(found)))
    }
}

fn corrupt(what: &'static str) -> Corrupt {
    Corrupt { part: SectionKind::METADATA.name(), what }
}

/// Reads metadata of many documents and keeps the block last unpacked, which neighbours share.
pub struct MetadataCursor<'a> {
    metadata: &'a Metadata,
    /// Block number and unpacked bytes.
    last: Option<(usize, Bytes)>,
}

impl<'a> MetadataCursor<'a> {
    pub(crate) fn new(metadata: &'a Metadata) -> Self {
        Self { metadata, last: None }
    }

    /// As [`crate::Segment::metadata`].
    pub fn get(&mut self, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        let block = self.metadata.block_of(doc);
        let raw = match self.last.take() {
            Some((last, raw)) if last == block => raw,
            _ => self.metadata.unpack(block)?,
        };
        let found = self.metadata.doc_in(block, &raw, doc);
        self.last = Some((block, raw));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Metadata, MetadataBuilder, MetadataCursor};
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
        fn every_document_comes_back(documents in prop::collection::vec(document(), 0..120)) {
            let mut builder = MetadataBuilder::default();
            documents.iter().for_each(|document| builder.push(document.as_deref()));
            let section = Bytes::from(builder.finish());
            let read = Metadata::open(documents.len() as u32, &section).expect("valid");
            let mut cursor = MetadataCursor::new(&read);
            for (doc, document) in documents.iter().enumerate() {
                let expected = document.as_deref();
                let alone = read.at(doc as u32).expect("valid");
                let in_turn = cursor.get(doc as u32).expect("valid");
                prop_assert_eq!(alone.as_deref(), expected);
                prop_assert_eq!(in_turn.as_deref(), expected);
            }
        }
    }

    #[test]
    fn an_impossible_raw_length_allocates_nothing() {
        let mut builder = MetadataBuilder::default();
        builder.push(Some(&[b'a'; 4000]));
        let mut section = builder.finish();
        section[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let read = Metadata::open(1, &Bytes::from(section)).expect("the table is valid");
        assert!(read.at(0).is_err());
    }
}
