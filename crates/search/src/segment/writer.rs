//! Sections that are written piece by piece, in memory bounded by one piece and the directory.

use super::section::SectionKind;
use bytes::Bytes;

/// A section too large for memory, written: its bytes have gone out in order.
#[derive(Debug)]
pub struct StreamedSection {
    /// What it holds.
    pub kind: SectionKind,
    /// Bytes in all.
    pub length: u64,
    /// CRC32C of all of them.
    pub crc: u32,
    /// The section that says where its pieces lie, to be stored beside it under the same field: kind
    /// and bytes.
    pub directory: (SectionKind, Vec<u8>),
}

/// Bytes of a section on their way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    ready: Vec<Bytes>,
    length: u64,
    crc: u32,
}

impl Outgoing {
    /// A section that begins with `head`.
    pub(super) fn new(head: Vec<u8>) -> Self {
        let mut outgoing = Self::default();
        outgoing.push(head);
        outgoing
    }

    /// Appends a piece and returns its CRC32C.
    pub(super) fn push(&mut self, piece: Vec<u8>) -> u32 {
        let crc = crc32c::crc32c(&piece);
        self.crc = crc32c::crc32c_combine(self.crc, crc, piece.len());
        self.length += piece.len() as u64;
        self.ready.push(piece.into());
        crc
    }

    pub(super) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready)
    }

    pub(super) fn finish(
        self,
        kind: SectionKind,
        directory: (SectionKind, Vec<u8>),
    ) -> (Vec<Bytes>, StreamedSection) {
        let Self { ready, length, crc } = self;
        (ready, StreamedSection { kind, length, crc, directory })
    }
}
