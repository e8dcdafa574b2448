//! The float32 rows of one vector field and, for cosine, their norms.
//!
//! ```text
//! vectors:  header (counts: rows, dimension)       | 48 zero bytes | f32 x dimension x rows, row by row
//! extents:  header (counts: rows, rows per extent) | u32 crc32c x extents
//! norms:    header (counts: rows, 0)               | 48 zero bytes | f32 x rows
//! ```
//!
//! Values are exactly those written, bit for bit. They start 64 bytes into their section, so they
//! are aligned where the section is. Rows are in the order of the field's posting lists. Every
//! extent but the last has the same number of rows; its checksum is that of its values, so that it
//! can be read alone.
//! Values are not inspected when opened: a NaN from damaged bytes stays inside its own row, and
//! ranks last in every scan.

use super::section::{Body, Floats, SectionKind, U32s, start, write_floats, write_u32s};
use super::writer::{Outgoing, StreamedSection};
use crate::decode::Corrupt;
use bytes::Bytes;
use std::ops::Range;

/// Where values start in their section.
pub(super) const VALUES: usize = 64;
pub(super) const PADDING: usize = 48;

/// Bytes of an extent that is being written, about: small enough that a query may read some dozens of
/// them for a vector each, large enough that scanning one costs far more than finding it.
const EXTENT_BYTES: usize = 8 << 10;

fn rows_per_extent(dimension: u32) -> usize {
    (EXTENT_BYTES / 4 / dimension as usize).max(1)
}

/// Collects the rows of one field: its sections VECTORS and VECTOR_EXTENTS.
#[derive(Debug)]
pub(crate) struct VectorsBuilder {
    dimension: u32,
    rows: u32,
    /// The section, its header still zero.
    section: Vec<u8>,
}

impl VectorsBuilder {
    pub(crate) fn new(dimension: u32) -> Self {
        Self { dimension, rows: 0, section: vec![0; VALUES] }
    }

    pub(crate) fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.dimension as usize, "a vector of the field's dimension");
        write_floats(row, &mut self.section);
        self.rows += 1;
    }

    /// Both sections, for a segment of `docs` documents.
    pub(crate) fn finish(mut self, docs: u32) -> [(SectionKind, Vec<u8>); 2] {
        let head = head(SectionKind::VECTORS, docs, [self.rows, self.dimension]);
        self.section[..VALUES].copy_from_slice(&head);
        let rows = rows_per_extent(self.dimension);
        let extents = self.section[VALUES..].chunks(4 * self.dimension as usize * rows);
        let directory = build_extents(docs, self.rows, rows, extents.map(crc32c::crc32c));
        [(SectionKind::VECTOR_EXTENTS, directory), (SectionKind::VECTORS, self.section)]
    }
}

/// Writes the vectors of one field, extent by extent.
#[derive(Debug)]
pub struct VectorsWriter {
    docs: u32,
    rows: u32,
    pushed: u32,
    dimension: u32,
    /// The open extent.
    extent: Vec<u8>,
    extent_bytes: usize,
    crcs: Vec<u32>,
    out: Outgoing,
}

impl VectorsWriter {
    /// For `rows` vectors in a segment of `docs` documents.
    pub fn new(docs: u32, rows: u32, dimension: u32) -> Self {
        let head = head(SectionKind::VECTORS, docs, [rows, dimension]);
        let extent_bytes = 4 * dimension as usize * rows_per_extent(dimension);
        Self {
            docs,
            rows,
            pushed: 0,
            dimension,
            extent: Vec::with_capacity(extent_bytes),
            extent_bytes,
            crcs: Vec::new(),
            out: Outgoing::new(head),
        }
    }

    /// Adds the next rows, one after another.
    ///
    /// # Panics
    /// If the last row is not whole.
    pub fn push(&mut self, rows: &[f32]) {
        let width = self.dimension as usize;
        assert!(rows.len().is_multiple_of(width), "vectors of the field's dimension");
        for row in rows.chunks_exact(width) {
            write_floats(row, &mut self.extent);
            self.pushed += 1;
            if self.extent.len() == self.extent_bytes {
                self.close_extent();
            }
        }
    }

    fn close_extent(&mut self) {
        let next = Vec::with_capacity(self.extent_bytes);
        let crc = self.out.push(std::mem::replace(&mut self.extent, next));
        self.crcs.push(crc);
    }

    /// The bytes of the section that are finished and were not taken yet, in order.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.out.take()
    }

    /// Closes the section: its last bytes, and what is known of all of them.
    ///
    /// # Panics
    /// If not as many rows came as were announced.
    pub fn finish(mut self) -> (Vec<Bytes>, StreamedSection) {
        assert_eq!(self.pushed, self.rows, "as many rows as announced");
        if !self.extent.is_empty() {
            self.close_extent();
        }
        let rows = rows_per_extent(self.dimension);
        let directory = build_extents(self.docs, self.rows, rows, self.crcs.into_iter());
        self.out.finish(SectionKind::VECTORS, (SectionKind::VECTOR_EXTENTS, directory))
    }
}

/// Collects the norms of the rows of one cosine field: its NORMS section.
#[derive(Debug, Default)]
pub struct NormsBuilder(Vec<f32>);

impl NormsBuilder {
    /// Adds the norm of the next row, from [`crate::Segment::norm`] or [`crate::row_norm`].
    pub fn push(&mut self, norm: f32) {
        self.0.push(norm);
    }

    /// The section, for a segment of `docs` documents.
    pub fn finish(self, docs: u32) -> Vec<u8> {
        let mut out = head(SectionKind::NORMS, docs, [self.0.len() as u32, 0]);
        out.reserve_exact(size_of_val(&self.0[..]));
        write_floats(&self.0, &mut out);
        out
    }
}

/// Header and padding.
pub(super) fn head(kind: SectionKind, docs: u32, counts: [u32; 2]) -> Vec<u8> {
    let mut out = start(kind, docs, counts);
    out.resize(VALUES, 0);
    out
}

fn build_extents(
    docs: u32,
    rows: u32,
    per_extent: usize,
    crcs: impl Iterator<Item = u32>,
) -> Vec<u8> {
    let per_extent = u32::try_from(per_extent).expect("an extent is small");
    let mut out = start(SectionKind::VECTOR_EXTENTS, docs, [rows, per_extent]);
    write_u32s(crcs, &mut out);
    out
}

/// The values of a vectors section with this dimension.
pub(crate) fn open_vectors(docs: u32, dimension: u32, section: &Bytes) -> Result<Floats, Corrupt> {
    let body = Body::open_for(SectionKind::VECTORS, docs, section)?;
    body.check(body.counts[1] == dimension, "dimension")?;
    open(body, dimension as usize)
}

/// The values of a norms section.
pub(crate) fn open_norms(docs: u32, section: &Bytes) -> Result<Floats, Corrupt> {
    open(Body::open_for(SectionKind::NORMS, docs, section)?, 1)
}

fn open(mut body: Body, width: usize) -> Result<Floats, Corrupt> {
    let rows = body.counts[0] as usize;
    body.check(rows <= body.docs as usize, "more rows than documents")?;
    body.take(PADDING)?;
    let count = rows.checked_mul(width).ok_or(body.corrupt("size"))?;
    let values = body.floats(count)?;
    body.end()?;
    Ok(values)
}

/// Reader of a vector extents section.
#[derive(Debug)]
pub(crate) struct Extents {
    rows: usize,
    /// Invariant: not 0.
    per_extent: usize,
    /// Invariant: `rows * row_bytes` fits 64 bits.
    row_bytes: u64,
    /// One per extent.
    crcs: U32s,
}

impl Extents {
    pub(crate) fn open(docs: u32, dimension: u32, section: &Bytes) -> Result<Self, Corrupt> {
        let mut body = Body::open_for(SectionKind::VECTOR_EXTENTS, docs, section)?;
        let [rows, per_extent] = body.counts.map(|count| count as usize);
        body.check(rows <= docs as usize, "more rows than documents")?;
        body.check(per_extent > 0, "extents without rows")?;
        let row_bytes = 4 * u64::from(dimension);
        body.check((rows as u64).checked_mul(row_bytes).is_some(), "size")?;
        let crcs = body.u32s(rows.div_ceil(per_extent))?;
        body.end()?;
        Ok(Self { rows, per_extent, row_bytes, crcs })
    }

    /// How many rows there are in all.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn count(&self) -> u32 {
        self.crcs.len() as u32
    }

    /// The extent of a row.
    pub(crate) fn of_row(&self, row: usize) -> u32 {
        (row / self.per_extent) as u32
    }

    /// The rows of an extent; none beyond the last.
    pub(crate) fn rows_of(&self, extent: u32) -> Range<usize> {
        let start = (extent as usize).saturating_mul(self.per_extent).min(self.rows);
        start..start.saturating_add(self.per_extent).min(self.rows)
    }

    /// Bytes of the extent in the vectors section, and their CRC32C; `None` beyond the last.
    pub(crate) fn place(&self, extent: u32) -> Option<(Range<u64>, u32)> {
        let rows = self.rows_of(extent);
        let at = |row: usize| (row as u64 * self.row_bytes).checked_add(VALUES as u64);
        let range = at(rows.start)?..at(rows.end)?;
        (extent < self.count()).then(|| (range, self.crcs.at(extent as usize)))
    }
}
