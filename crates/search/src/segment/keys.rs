//! Key bytes by document.
//!
//! ```text
//! header (counts: 0, 0) | u32 end offset x docs | key bytes
//! ```

use super::section::{Body, Pieces, SectionKind, position, start, write_u32s};
use super::{DOCS_MAX, key_filter, key_index};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;

/// Collects the keys of a segment, and with them its sections KEYS, KEY_INDEX and KEY_FILTER.
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
        let docs = self.docs();
        let filter = key_filter::build(&self.hashes);
        let index = key_index::build(&self.hashes);
        let mut keys = start(SectionKind::KEYS, docs, [0; 2]);
        keys.reserve_exact(4 * self.ends.len() + self.bytes.len());
        write_u32s(self.ends, &mut keys);
        keys.extend_from_slice(&self.bytes);
        vec![
            (SectionKind::KEY_FILTER, 0, filter),
            (SectionKind::KEYS, 0, keys),
            (SectionKind::KEY_INDEX, 0, index),
        ]
    }
}

/// Reader of a keys section.
#[derive(Debug)]
pub(crate) struct Keys(Pieces);

impl Keys {
    pub(crate) fn open(docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::KEYS, docs, section)?;
        let pieces = body.pieces(docs as usize)?;
        body.end()?;
        Ok(Self(pieces))
    }

    /// # Panics
    /// If `doc` is not below the number of documents.
    pub(crate) fn at(&self, doc: DocId) -> &[u8] {
        self.0.at(doc as usize)
    }
}
