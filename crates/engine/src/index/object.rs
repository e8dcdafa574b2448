//! Writing segment objects, section after section, as streams.
//!
//! ```text
//! header (64 bytes) | vectors, by field | metadata | small sections: directories, keys, attributes
//! ```
//!
//! The large sections go out as they come; the small ones are in memory anyway and stand behind them,
//! so that one ranged read covers all that leads to the large ones.
//!
//! # Names
//!
//! ```text
//! 80 random bits | 48 bits: number of the newest manifest known when the object was begun
//! ```
//!
//! The lower bits are the object's *birth*. Only manifests up to [`BIRTHS`] numbers above it may name
//! the object first ([`may_name`]), so once a manifest beyond that exists no writer, however long it
//! was stalled, can bring an unnamed object back to life: collection needs no clock to be safe.

use bytes::Bytes;
use vb_commit::{ObjectWriter, Store, StoreError};
use vb_search::{SECTION_ALIGN, SectionKind, StreamedSection, checksum};

use super::body::{SectionEntry, SegmentMeta, segment_header};
use crate::paths;
use crate::records::IndexId;

/// How many manifests after its birth an object may be named for the first time.
pub(crate) const BIRTHS: u64 = 256;

const BIRTH_BITS: u32 = 48;
const BIRTH_MASK: u128 = (1 << BIRTH_BITS) - 1;

/// A name for an object that is begun when `manifest` is the newest one known.
pub(crate) fn object_name(random: u128, manifest: u64) -> u128 {
    (random & !BIRTH_MASK) | (u128::from(manifest) & BIRTH_MASK)
}

/// Whether a manifest of this number may name the object for the first time.
pub(crate) fn may_name(object: u128, manifest: u64) -> bool {
    let birth = (object & BIRTH_MASK) as u64;
    manifest <= birth.saturating_add(BIRTHS)
}

/// A segment object on its way to the store. Dropped before [`SegmentWriter::finish`] it leaves
/// nothing.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    object: ObjectWriter,
    name: u128,
    docs: u32,
    sections: Vec<SectionEntry>,
    /// Where the section under way began.
    start: u64,
}

impl SegmentWriter {
    /// Begins the object `name` of an index, for a segment of `docs` documents.
    pub(crate) async fn begin(
        store: &Store,
        id: IndexId,
        name: u128,
        docs: u32,
    ) -> Result<Self, StoreError> {
        let mut object = store.writer(&paths::segment(id, name));
        object.write(segment_header(docs).into()).await?;
        Ok(Self { object, name, docs, sections: Vec::new(), start: 0 })
    }

    /// Begins a section that comes in pieces.
    pub(crate) async fn begin_section(&mut self) -> Result<(), StoreError> {
        let written = self.object.written();
        self.start = written.next_multiple_of(SECTION_ALIGN as u64);
        let padding = usize::try_from(self.start - written).expect("less than an alignment unit");
        self.object.write(Bytes::from_static(&ZEROS[..padding])).await
    }

    /// Appends to the section under way.
    pub(crate) async fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        for piece in pieces {
            self.object.write(piece).await?;
        }
        Ok(())
    }

    /// Ends the section under way, and says where its pieces lie: a section to be written later.
    pub(crate) fn end_section(&mut self, field: u8, streamed: StreamedSection) -> SmallSection {
        let StreamedSection { kind, length, crc, directory } = streamed;
        assert_eq!(self.object.written() - self.start, length, "all of a section was appended");
        self.sections.push(SectionEntry { kind, field, offset: self.start, length, crc });
        (directory.0, field, directory.1)
    }

    /// Writes sections that are in memory.
    pub(crate) async fn small_sections(
        &mut self,
        sections: Vec<SmallSection>,
    ) -> Result<(), StoreError> {
        for (kind, field, bytes) in sections {
            self.begin_section().await?;
            let (offset, length, crc) = (self.start, bytes.len() as u64, checksum(&bytes));
            self.object.write(bytes.into()).await?;
            self.sections.push(SectionEntry { kind, field, offset, length, crc });
        }
        Ok(())
    }

    /// Completes the object: durable on return. `hashes` are those of the first and the last key.
    pub(crate) async fn finish(self, hashes: (u64, u64)) -> Result<SegmentMeta, StoreError> {
        let Self { object, name, docs, sections, .. } = self;
        let length = object.written();
        object.finish().await?;
        Ok(SegmentMeta { name, length, docs, hashes, sections })
    }
}

/// Kind, field, bytes.
pub(crate) type SmallSection = (SectionKind, u8, Vec<u8>);

/// Small sections in the order in which calls need them: what leads to others first.
pub(crate) fn in_reading_order(mut sections: Vec<SmallSection>) -> Vec<SmallSection> {
    const ORDER: [SectionKind; 13] = [
        // The largest first: what is behind them is read in one go.
        SectionKind::ROW_CODES,
        SectionKind::CODES,
        SectionKind::KEY_FILTER,
        SectionKind::LISTS,
        SectionKind::VECTOR_EXTENTS,
        SectionKind::METADATA_INDEX,
        SectionKind::KEY_BLOCKS,
        SectionKind::CENTROIDS,
        SectionKind::NORMS,
        SectionKind::KEYS,
        SectionKind::KEY_INDEX,
        SectionKind::ATTRIBUTES,
        SectionKind::ATTRIBUTE_BLOCKS,
    ];
    sections.sort_by_key(|(kind, field, _)| {
        (ORDER.iter().position(|known| known == kind).unwrap_or(ORDER.len()), *field)
    });
    sections
}

static ZEROS: [u8; SECTION_ALIGN] = [0; SECTION_ALIGN];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_which_manifests_may_name_it_first() {
        let name = object_name(u128::MAX, 7);
        assert_eq!(name & BIRTH_MASK, 7);
        assert_eq!(name >> BIRTH_BITS, u128::MAX >> BIRTH_BITS);
        assert!(may_name(name, 8) && may_name(name, 7 + BIRTHS));
        assert!(!may_name(name, 8 + BIRTHS));
    }
}
