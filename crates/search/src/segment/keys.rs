//! Key bytes by document.
//!
//! ```text
//! header (counts: 0, 0) | u32 end offset x docs | key bytes
//! ```

use super::section::{Body, Pieces, SectionKind, start, write_pieces};
use crate::DocId;
use crate::decode::Corrupt;
use bytes::Bytes;

/// The keys section of `keys`, in document order.
pub(crate) fn build(keys: &[Box<[u8]>]) -> Vec<u8> {
    let docs = u32::try_from(keys.len()).expect("document ids fit 32 bits");
    let mut out = start(SectionKind::KEYS, docs, [0; 2]);
    write_pieces(keys.iter().map(|key| &**key), &mut out);
    out
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
