//! What all sections share: kinds, the header, and arrays of numbers read in place.
//!
//! ```text
//! every section:   u16 kind | u16 version | u32 docs | u32 count a | u32 count b | body
//! ```
//!
//! The counts are the section's own. Arrays in a body follow one another without padding and are read
//! at any alignment; only vectors and norms promise one.

use crate::decode::{Corrupt, Input};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What a section of a segment holds. Numbers are stored and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionKind(pub u16);

impl SectionKind {
    /// Key bytes by document.
    pub const KEYS: Self = Self(1);
    /// Documents in `(hash, key)` order; in old segments the key filter too.
    pub const KEY_INDEX: Self = Self(2);
    /// Metadata bytes as written, compressed in blocks.
    pub const METADATA: Self = Self(3);
    /// One column per filterable key.
    pub const ATTRIBUTES: Self = Self(4);
    /// The float32 rows of one vector field.
    pub const VECTORS: Self = Self(5);
    /// The norms of the rows of one cosine field.
    pub const NORMS: Self = Self(6);
    /// The posting lists of one vector field: which document each row belongs to.
    pub const LISTS: Self = Self(7);
    /// The cluster tree of one vector field: leads to its lists of codes.
    pub const CENTROIDS: Self = Self(8);
    /// The 1-bit codes of one vector field, in the lists of its clusters.
    pub const CODES: Self = Self(9);
    /// Reserved: a text index.
    pub const TEXT: Self = Self(10);
    /// How the rows of one vector field are cut into extents, and the extents' checksums.
    pub const VECTOR_EXTENTS: Self = Self(11);
    /// Where the blocks of metadata lie, and their checksums.
    pub const METADATA_INDEX: Self = Self(12);
    /// Filter over key hashes.
    pub const KEY_FILTER: Self = Self(13);
    /// The 8-bit codes of one vector field, row by row.
    pub const ROW_CODES: Self = Self(14);
    /// Where the blocks of keys lie, and their checksums.
    pub const KEY_BLOCKS: Self = Self(15);

    /// What leads to the blocks of attributes, and their checksums.
    pub const ATTRIBUTE_BLOCKS: Self = Self(16);

    /// For errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KEYS => "keys section",
            Self::KEY_INDEX => "key index section",
            Self::METADATA => "metadata section",
            Self::ATTRIBUTES => "attributes section",
            Self::VECTORS => "vectors section",
            Self::NORMS => "norms section",
            Self::LISTS => "lists section",
            Self::VECTOR_EXTENTS => "vector extents section",
            Self::METADATA_INDEX => "metadata index section",
            Self::KEY_FILTER => "key filter section",
            Self::CENTROIDS => "centroids section",
            Self::CODES => "codes section",
            Self::ROW_CODES => "row codes section",
            Self::KEY_BLOCKS => "key blocks section",
            Self::ATTRIBUTE_BLOCKS => "attribute blocks section",
            _ => "section",
        }
    }
}

/// Sections start at multiples of this many bytes of the stored object, so that their numbers are
/// aligned wherever the object's start is.
pub const SECTION_ALIGN: usize = 64;

/// The CRC32C of a section, which the table of sections keeps.
pub fn checksum(section: &[u8]) -> u32 {
    crc32c::crc32c(section)
}

/// Length of a section's header.
pub(crate) const HEADER_BYTES: usize = 16;

/// The newest layout of a kind. Older ones, from 1, are still read.
fn newest_version(kind: SectionKind) -> u16 {
    match kind {
        SectionKind::KEYS
        | SectionKind::KEY_INDEX
        | SectionKind::METADATA
        | SectionKind::ATTRIBUTES => 2,
        _ => 1,
    }
}

/// Starts the bytes of a section, in the newest layout of its kind, with its header.
pub(crate) fn start(kind: SectionKind, docs: u32, counts: [u32; 2]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&kind.0.to_le_bytes());
    out.extend_from_slice(&newest_version(kind).to_le_bytes());
    write_u32s([docs, counts[0], counts[1]], &mut out);
    out
}

pub(crate) fn write_u32s(values: impl IntoIterator<Item = u32>, out: &mut Vec<u8>) {
    values.into_iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

pub(crate) fn write_u64s(values: impl IntoIterator<Item = u64>, out: &mut Vec<u8>) {
    values.into_iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

pub(crate) fn write_floats(values: &[f32], out: &mut Vec<u8>) {
    if cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(values));
    } else {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

/// A position in 32 bits, for offsets inside a section.
///
/// # Panics
/// Beyond 4 GiB: whoever plans segments keeps each section but the vectors below that.
pub(crate) fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a section other than vectors is below 4 GiB")
}

/// The body of a section whose header was checked, read front to back without copying.
pub(crate) struct Body {
    pub(crate) version: u16,
    pub(crate) docs: u32,
    pub(crate) counts: [u32; 2],
    part: &'static str,
    rest: Bytes,
}

impl Body {
    /// Checks the header: this kind, a known version.
    pub(crate) fn open(kind: SectionKind, section: &Bytes) -> Result<Self, Corrupt> {
        let mut input = Input::new(kind.name(), section);
        if input.u16()? != kind.0 {
            return Err(input.corrupt("kind"));
        }
        let version = input.u16()?;
        if !(1..=newest_version(kind)).contains(&version) {
            return Err(input.corrupt("version"));
        }
        let (docs, counts) = (input.u32()?, [input.u32()?, input.u32()?]);
        let rest = section.slice(HEADER_BYTES..);
        Ok(Self { version, docs, counts, part: kind.name(), rest })
    }

    /// As `open`, for a section of a segment of `docs` documents.
    pub(crate) fn open_for(kind: SectionKind, docs: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let body = Self::open(kind, section)?;
        if body.docs == docs { Ok(body) } else { Err(body.corrupt("number of documents")) }
    }

    /// The bytes of a part without a header.
    pub(crate) fn of_part(part: &'static str, bytes: Bytes) -> Self {
        Self { version: 0, docs: 0, counts: [0; 2], part, rest: bytes }
    }

    /// A body inside a body.
    pub(crate) fn nested(&self, rest: Bytes) -> Self {
        Self { version: self.version, docs: self.docs, counts: [0; 2], part: self.part, rest }
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt { part: self.part, what }
    }

    /// `Ok` if `valid`.
    pub(crate) fn check(&self, valid: bool, what: &'static str) -> Result<(), Corrupt> {
        if valid { Ok(()) } else { Err(self.corrupt(what)) }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes, Corrupt> {
        self.check(count <= self.rest.len(), "ends too early")?;
        Ok(self.rest.split_to(count))
    }

    /// `count` items of `size` bytes.
    fn take_items(&mut self, count: usize, size: usize) -> Result<Bytes, Corrupt> {
        let bytes = count.checked_mul(size).ok_or(self.corrupt("ends too early"))?;
        self.take(bytes)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(self.u32s(1)?.at(0))
    }

    pub(crate) fn u32s(&mut self, count: usize) -> Result<U32s, Corrupt> {
        Ok(U32s(self.take_items(count, 4)?))
    }

    pub(crate) fn u64s(&mut self, count: usize) -> Result<U64s, Corrupt> {
        Ok(U64s(self.take_items(count, 8)?))
    }

    pub(crate) fn floats(&mut self, count: usize) -> Result<Floats, Corrupt> {
        Ok(Floats::new(self.take_items(count, 4)?))
    }

    /// Ascending end offsets of `count` pieces, then the pieces' bytes up to the last end.
    pub(crate) fn pieces(&mut self, count: usize) -> Result<Pieces, Corrupt> {
        let ends = self.u32s(count)?;
        self.check(ends.iter().is_sorted(), "offsets are not ascending")?;
        let length = if count == 0 { 0 } else { ends.at(count - 1) };
        Ok(Pieces { ends, bytes: self.take(length as usize)? })
    }

    /// Checks that everything was read.
    pub(crate) fn end(&self) -> Result<(), Corrupt> {
        self.check(self.rest.is_empty(), "bytes left over")
    }
}

/// Little-endian u32s in place, at any alignment.
#[derive(Clone, Debug)]
pub(crate) struct U32s(Bytes);

impl U32s {
    pub(crate) fn len(&self) -> usize {
        self.0.len() / 4
    }

    fn chunks(&self) -> &[[u8; 4]] {
        self.0.as_chunks().0
    }

    /// # Panics
    /// If `index` is out of range.
    pub(crate) fn at(&self, index: usize) -> u32 {
        u32::from_le_bytes(self.chunks()[index])
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
        self.chunks().iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The values at `range`.
    ///
    /// # Panics
    /// If the range is out of bounds.
    pub(crate) fn range(
        &self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
        self.chunks()[range].iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// Little-endian u64s in place, at any alignment.
#[derive(Clone, Debug)]
pub(crate) struct U64s(Bytes);

impl U64s {
    fn chunks(&self) -> &[[u8; 8]] {
        self.0.as_chunks().0
    }

    /// # Panics
    /// If `index` is out of range.
    pub(crate) fn at(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.chunks()[index])
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u64> {
        self.chunks().iter().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// Byte strings one after another.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    /// Invariant: ascending; the last is the length of `bytes`.
    ends: U32s,
    bytes: Bytes,
}

impl Pieces {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends.at(index - 1) };
        start as usize..self.ends.at(index) as usize
    }

    /// # Panics
    /// If `index` is out of range.
    pub(crate) fn at(&self, index: usize) -> &[u8] {
        &self.bytes[self.range(index)]
    }

    /// As `at`, sharing the section's memory.
    pub(crate) fn shared(&self, index: usize) -> Bytes {
        self.bytes.slice(self.range(index))
    }
}

/// Where the blocks of a section lie, and their checksums: `u32 length x blocks | u32 crc32c x blocks`, for blocks that
/// follow the header of their section one after another.
#[derive(Debug)]
pub(crate) struct Places {
    /// Where each block starts in its section, and where the last ends.
    starts: Vec<u64>,
    crcs: U32s,
}

impl Places {
    pub(crate) fn open(blocks: usize, body: &mut Body) -> Result<Self, Corrupt> {
        let (lengths, crcs) = (body.u32s(blocks)?, body.u32s(blocks)?);
        let mut starts = vec![HEADER_BYTES as u64];
        let mut end = HEADER_BYTES as u64;
        starts.extend(lengths.iter().map(|length| {
            end += u64::from(length);
            end
        }));
        Ok(Self { starts, crcs })
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u32 {
        self.crcs.len() as u32
    }

    /// Bytes of a block in its section, and their CRC32C; `None` beyond the last.
    pub(crate) fn at(&self, block: u32) -> Option<(Range<u64>, u32)> {
        let at = block as usize;
        let range = *self.starts.get(at)?..*self.starts.get(at + 1)?;
        Some((range, self.crcs.at(at)))
    }

    /// Bytes of memory beside the section's own.
    pub(crate) fn extra_weight(&self) -> usize {
        size_of_val(&self.starts[..])
    }
}

/// Writes what [`Body::pieces`] reads.
pub(crate) fn write_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
    let mut end = 0;
    for piece in pieces.clone() {
        end += piece.len();
        out.extend_from_slice(&position(end).to_le_bytes());
    }
    pieces.for_each(|piece| out.extend_from_slice(piece));
}

/// A copy of `bytes` that starts at a multiple of [`SECTION_ALIGN`] in memory, and holds on to
/// nothing else. Large ones are in huge pages where the system has them.
pub fn aligned(bytes: &[u8]) -> Bytes {
    if let Some(copy) = crate::pages::huge(bytes) {
        return copy;
    }
    let mut copy: Vec<u8> = Vec::with_capacity(bytes.len() + SECTION_ALIGN);
    let padding = copy.as_ptr().addr().next_multiple_of(SECTION_ALIGN) - copy.as_ptr().addr();
    copy.resize(padding, 0);
    copy.extend_from_slice(bytes);
    Bytes::from(copy).slice(padding..)
}

/// float32 values: in place when memory allows, copied otherwise.
#[derive(Clone, Debug)]
pub(crate) enum Floats {
    /// Invariant: little-endian host, aligned to 4 bytes, whole values.
    Shared(Bytes),
    Copied(Arc<[f32]>),
}

impl Floats {
    /// Whole values, without a copy where they are aligned.
    ///
    /// # Panics
    /// In debug builds, if the last value is not whole.
    pub(crate) fn new(bytes: Bytes) -> Self {
        debug_assert!(bytes.len().is_multiple_of(4), "whole values");
        let in_place =
            cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, f32>(&bytes).is_ok();
        if in_place {
            return Floats::Shared(bytes);
        }
        let chunks = bytes.as_chunks().0.iter();
        Floats::Copied(chunks.map(|chunk| f32::from_le_bytes(*chunk)).collect())
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Floats::Shared(bytes) => bytemuck::cast_slice(bytes),
            Floats::Copied(values) => values,
        }
    }
}
