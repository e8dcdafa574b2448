//! The body of an index's manifest: which segments there are and what is deleted in them.
//!
//! ```text
//! format u8 = 1
//! schema: u32 length, bytes            as created, for readers that have no catalog at hand
//! counters: live u64 | docs u64 | deleted u64 | puts u64 | deletes u64
//! segments: u32 count, oldest first, each
//!   name u128 | length u64 | docs u32 | first_hash u64 | last_hash u64
//!   sections: u32 count, each  kind u16 | field u8 | offset u64 | length u64 | crc32c u32
//!   deleted:  tag u8   0 none
//!                      1 inline: u32 length, portable roaring bytes
//!                      2 object: name u128 | length u64 | crc32c u32
//! ```
//!
//! Invariants, checked when a body is decoded and again when its parts are opened:
//! - sections lie inside their object, start at multiples of 64 and do not overlap;
//! - `docs` is the sum of the segments' documents, and `live = docs - deleted`;
//! - `deleted` is the number of bits in all deletion bitmaps.

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_search::{SECTION_ALIGN, Schema, SectionKind, SectionPlace};

use crate::codec::{DecodeError, Reader, Write, length_u32};

const FORMAT: u8 = 1;
/// Larger deletion bitmaps become objects of their own.
pub(crate) const BITMAP_INLINE_MAX: usize = 64 << 10;

/// The decoded body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) schema: Schema,
    pub(crate) counters: Counters,
    pub(crate) segments: Vec<SegmentEntry>,
}

/// What proves that a fold lost and doubled nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Live documents in the segments.
    pub(crate) live: u64,
    /// Documents in the segments.
    pub(crate) docs: u64,
    /// Deleted ones among them.
    pub(crate) deleted: u64,
    /// Records ever put and folded.
    pub(crate) puts: u64,
    /// Keys ever named by deletes and folded.
    pub(crate) deletes: u64,
}

/// One segment of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SegmentEntry {
    pub(crate) meta: SegmentMeta,
    pub(crate) deleted: DeletedBitmap,
}

/// What never changes about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    /// Random name of the object.
    pub(crate) name: u128,
    /// Length of the object in bytes.
    pub(crate) length: u64,
    /// Documents, deleted ones too.
    pub(crate) docs: u32,
    /// Smallest and largest key hash.
    pub(crate) hashes: (u64, u64),
    pub(crate) sections: Vec<SectionEntry>,
}

/// Where a section lies in its segment object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionEntry {
    pub(crate) kind: SectionKind,
    pub(crate) field: u8,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

/// The folded deletions of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DeletedBitmap {
    None,
    Inline(Bytes),
    Object(BitmapObject),
}

/// A deletion bitmap that is an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitmapObject {
    pub(crate) name: u128,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

impl Body {
    /// The body of an index that has no records yet.
    pub(crate) fn empty(schema: Schema) -> Self {
        Self { schema, counters: Counters::default(), segments: Vec::new() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        let mut schema = Vec::new();
        self.schema.encode(&mut schema);
        out.put_block(&schema);
        self.counters.encode(&mut out);
        out.put_list(&self.segments, |out, entry| entry.encode(out));
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(reader.error("unknown manifest body format"));
        }
        let schema = reader.block()?;
        let schema =
            Schema::decode(&schema).map_err(|_| reader.error("the schema does not decode"))?;
        let counters = Counters::decode(&mut reader)?;
        let segments = reader.list(49, SegmentEntry::decode)?;
        reader.finish()?;
        let body = Self { schema, counters, segments };
        body.check().map_err(|reason| reader.error(reason))?;
        Ok(body)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.segments.iter().any(SegmentEntry::has_oversized_bitmap) {
            return Err("a deletion bitmap longer than any of its segment");
        }
        let docs: u64 = self.segments.iter().map(|entry| u64::from(entry.meta.docs)).sum();
        if docs != self.counters.docs {
            return Err("the document counter disagrees with the segments");
        }
        if self.counters.live.checked_add(self.counters.deleted) != Some(docs) {
            return Err("live and deleted documents do not add up");
        }
        self.segments.iter().try_for_each(|entry| entry.meta.check())
    }
}

impl Counters {
    fn encode(self, out: &mut Vec<u8>) {
        for counter in [self.live, self.docs, self.deleted, self.puts, self.deletes] {
            out.put_u64(counter);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            live: reader.u64()?,
            docs: reader.u64()?,
            deleted: reader.u64()?,
            puts: reader.u64()?,
            deletes: reader.u64()?,
        })
    }
}

impl SegmentEntry {
    /// Per 65,536 documents a bitmap takes 8 KiB and a few numbers. Nobody should make room for more.
    fn has_oversized_bitmap(&self) -> bool {
        let containers = u64::from(self.meta.docs).div_ceil(1 << 16);
        match &self.deleted {
            DeletedBitmap::Object(object) => object.length > 64 + containers * (8192 + 64),
            DeletedBitmap::None | DeletedBitmap::Inline(_) => false,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let meta = &self.meta;
        out.put_u128(meta.name);
        out.put_u64(meta.length);
        out.put_u32(meta.docs);
        out.put_u64(meta.hashes.0);
        out.put_u64(meta.hashes.1);
        out.put_list(&meta.sections, |out, section| section.encode(out));
        match &self.deleted {
            DeletedBitmap::None => out.put_u8(0),
            DeletedBitmap::Inline(bytes) => {
                out.put_u8(1);
                out.put_block(bytes);
            }
            DeletedBitmap::Object(object) => {
                out.put_u8(2);
                out.put_u128(object.name);
                out.put_u64(object.length);
                out.put_u32(object.crc);
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let meta = SegmentMeta {
            name: reader.u128()?,
            length: reader.u64()?,
            docs: reader.u32()?,
            hashes: (reader.u64()?, reader.u64()?),
            sections: reader.list(23, SectionEntry::decode)?,
        };
        let deleted = match reader.u8()? {
            0 => DeletedBitmap::None,
            1 => DeletedBitmap::Inline(reader.block()?),
            2 => DeletedBitmap::Object(BitmapObject {
                name: reader.u128()?,
                length: reader.u64()?,
                crc: reader.u32()?,
            }),
            _ => return Err(reader.error("unknown kind of deletion bitmap")),
        };
        Ok(Self { meta, deleted })
    }
}

impl SectionEntry {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_u16(self.kind.0);
        out.put_u8(self.field);
        out.put_u64(self.offset);
        out.put_u64(self.length);
        out.put_u32(self.crc);
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: SectionKind(reader.u16()?),
            field: reader.u8()?,
            offset: reader.u64()?,
            length: reader.u64()?,
            crc: reader.u32()?,
        })
    }
}

impl SegmentMeta {
    /// The table of sections, as [`vb_search::Segment::of_parts`] takes it.
    pub(crate) fn places(&self) -> Vec<SectionPlace> {
        let place = |section: &SectionEntry| SectionPlace {
            kind: section.kind,
            field: section.field,
            range: section.offset..section.offset + section.length,
            crc: section.crc,
        };
        self.sections.iter().map(place).collect()
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.docs == 0 {
            return Err("a segment without documents");
        }
        if self.hashes.0 > self.hashes.1 {
            return Err("a segment's hash range is reversed");
        }
        let mut end = 0;
        for section in &self.sections {
            if !section.offset.is_multiple_of(SECTION_ALIGN as u64) || section.offset < end {
                return Err("a section overlaps another or is not aligned");
            }
            end = section.offset.checked_add(section.length).ok_or("a section has no end")?;
        }
        if end > self.length {
            return Err("a section reaches beyond its object");
        }
        Ok(())
    }
}

/// Portable roaring bytes; empty when no bit is set.
pub(crate) fn encode_bitmap(bitmap: &RoaringBitmap) -> Vec<u8> {
    if bitmap.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("writing to memory does not fail");
    bytes
}

/// Reads a deletion bitmap of a segment with `docs` documents.
pub(crate) fn decode_bitmap(bytes: &[u8], docs: u32) -> Result<RoaringBitmap, DecodeError> {
    let mut rest = bytes;
    let bitmap = RoaringBitmap::deserialize_from(&mut rest)
        .map_err(|_| DecodeError { offset: 0, reason: "the deletion bitmap does not decode" })?;
    if !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        return Err(DecodeError { offset, reason: "bytes after the deletion bitmap" });
    }
    match bitmap.max() {
        Some(last) if last >= docs => {
            Err(DecodeError { offset: 0, reason: "a deleted document that does not exist" })
        }
        _ => Ok(bitmap),
    }
}

/// Size of the header of a segment object: one alignment unit.
pub(crate) const HEADER_BYTES: usize = SECTION_ALIGN;

/// The header of a segment object: `"vbsegmnt" | format u32 = 1 | docs u32 | zeros to 64 bytes`.
/// It is there for whoever finds the object alone; the engine reads only what manifests name.
pub(crate) fn segment_header(docs: u32) -> Vec<u8> {
    let mut header = b"vbsegmnt".to_vec();
    header.put_u32(1);
    header.put_u32(docs);
    header.resize(HEADER_BYTES, 0);
    debug_assert_eq!(length_u32(header.len()) as usize, HEADER_BYTES);
    header
}
