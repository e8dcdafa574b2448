//! The float32 rows of one vector field and, for cosine, their norms.
//!
//! ```text
//! vectors:  header (counts: rows, dimension) | 48 zero bytes | f32 x dimension x rows, row by row
//! norms:    header (counts: rows, 0)         | 48 zero bytes | f32 x rows
//! ```
//!
//! Values are exactly those written, bit for bit. They start 64 bytes into their section, so they
//! are aligned where the section is. Rows are in the order of the field's posting lists.
//! Values are not inspected when opened: a NaN from damaged bytes stays inside its own row, and
//! ranks last in every scan.

use super::section::{Body, Floats, SectionKind, start, write_floats};
use crate::decode::Corrupt;
use bytes::Bytes;

const PADDING: usize = 48;

/// The vectors section of row-major `values`.
pub(crate) fn build_vectors(docs: u32, dimension: u32, values: &[f32]) -> Vec<u8> {
    let rows = (values.len() / dimension as usize) as u32;
    build(SectionKind::VECTORS, docs, [rows, dimension], values)
}

/// The norms section of one norm per row.
pub(crate) fn build_norms(docs: u32, norms: &[f32]) -> Vec<u8> {
    build(SectionKind::NORMS, docs, [norms.len() as u32, 0], norms)
}

fn build(kind: SectionKind, docs: u32, counts: [u32; 2], values: &[f32]) -> Vec<u8> {
    let mut out = start(kind, docs, counts);
    out.reserve_exact(PADDING + size_of_val(values));
    out.resize(out.len() + PADDING, 0);
    write_floats(values, &mut out);
    out
}

/// The values of a vectors section with this many rows and dimensions.
pub(crate) fn open_vectors(
    docs: u32,
    rows: usize,
    dimension: u32,
    section: &Bytes,
) -> Result<Floats, Corrupt> {
    let body = Body::open_for(SectionKind::VECTORS, docs, section)?;
    body.check(body.counts[1] == dimension, "dimension")?;
    open(body, rows, dimension as usize)
}

/// The values of a norms section with this many rows.
pub(crate) fn open_norms(docs: u32, rows: usize, section: &Bytes) -> Result<Floats, Corrupt> {
    open(Body::open_for(SectionKind::NORMS, docs, section)?, rows, 1)
}

fn open(mut body: Body, rows: usize, width: usize) -> Result<Floats, Corrupt> {
    body.check(body.counts[0] as usize == rows, "number of rows")?;
    body.take(PADDING)?;
    let count = rows.checked_mul(width).ok_or(body.corrupt("size"))?;
    let values = body.floats(count)?;
    body.end()?;
    Ok(values)
}
