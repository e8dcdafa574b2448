//! Payloads of an index's log: one put or one delete per batch of a log slot.
//!
//! ```text
//! put     format u8 = 1 | tag u8 = 1 | fields u8 | rows u32
//!         per field: dimension u32, has_presence u8, [presence bits, ceil(rows / 8) bytes]
//!         key lengths u32 x rows, key bytes
//!         metadata lengths u32 x rows (0xFFFFFFFF: no metadata), metadata bytes
//!         attribute lengths u32 x rows, attribute bytes
//!         per field: f32 x dimension of each row that has the field
//! delete  format u8 = 1 | tag u8 = 2 | keys u32 | key lengths u32 x keys, key bytes
//! ```
//! Presence bit i is bit i mod 8 of byte i / 8; bits beyond the rows are zero. The slot around a
//! payload carries the checksum.

use bytes::Bytes;
use vb_search::{Attributes, Schema};

use crate::codec::{DecodeError, Reader, Write, length_u32};
use crate::error::Error;
use crate::requests::{PutBatch, VectorColumn};

const FORMAT: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const NO_METADATA: u32 = u32::MAX;

/// One decoded payload. Byte strings share the payload's memory.
#[derive(Clone, Debug)]
pub(crate) enum IndexEvent {
    Put(PutRows),
    Delete(Vec<Bytes>),
}

/// The rows of a put, by column.
#[derive(Clone, Debug)]
pub(crate) struct PutRows {
    pub(crate) keys: Vec<Bytes>,
    pub(crate) metadata: Vec<Option<Bytes>>,
    pub(crate) attributes: Vec<Attributes>,
    pub(crate) fields: Vec<FieldRows>,
}

/// One vector field of a put: rows of those that have it, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct FieldRows {
    pub(crate) dimension: usize,
    present: Option<Bytes>,
    /// Little-endian f32.
    pub(crate) values: Bytes,
}

impl FieldRows {
    pub(crate) fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.dimension * 4
    }
}

impl PutRows {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Checks that a batch has the shape of the schema. Values are the wire's business.
pub(crate) fn check_batch(schema: &Schema, batch: &PutBatch) -> Result<(), Error> {
    let rows = batch.keys.len();
    if batch.metadata.len() != rows || batch.attributes.len() != rows {
        return Err(Error::Invalid("columns of a batch have one entry per key"));
    }
    if batch.vectors.len() != schema.vector_fields.len() {
        return Err(Error::Invalid("a batch has one column per vector field"));
    }
    for (column, field) in batch.vectors.iter().zip(&schema.vector_fields) {
        check_column(column, field.dimension as usize, rows)?;
    }
    Ok(())
}

fn check_column(column: &VectorColumn, dimension: usize, rows: usize) -> Result<(), Error> {
    if column.values.len() != rows * dimension {
        return Err(Error::Invalid("a vector column has keys x dimension values"));
    }
    match &column.present {
        Some(present) if present.len() != rows => {
            Err(Error::Invalid("a presence column has one entry per key"))
        }
        _ => Ok(()),
    }
}

/// The payload of a put; the batch has passed [`check_batch`].
pub(crate) fn encode_put(schema: &Schema, batch: &PutBatch) -> Bytes {
    let mut out = Vec::with_capacity(put_capacity(batch));
    out.put_u8(FORMAT);
    out.put_u8(PUT);
    out.put_u8(u8::try_from(batch.vectors.len()).expect("a schema has at most 3 vector fields"));
    out.put_u32(length_u32(batch.keys.len()));
    for (column, field) in batch.vectors.iter().zip(&schema.vector_fields) {
        out.put_u32(field.dimension);
        put_presence(&mut out, column.present.as_deref());
    }
    put_byte_column(&mut out, &batch.keys);
    put_metadata(&mut out, &batch.metadata);
    put_attributes(&mut out, &batch.attributes);
    for (column, field) in batch.vectors.iter().zip(&schema.vector_fields) {
        put_values(&mut out, column, field.dimension as usize);
    }
    out.into()
}

fn put_capacity(batch: &PutBatch) -> usize {
    let keys: usize = batch.keys.iter().map(|key| key.len() + 16).sum();
    let metadata: usize = batch.metadata.iter().flatten().map(Bytes::len).sum();
    let values: usize = batch.vectors.iter().map(|column| column.values.len() * 4 + 16).sum();
    64 + keys + 2 * metadata + values
}

/// A column in which every row has the field needs no bits.
fn put_presence(out: &mut Vec<u8>, present: Option<&[bool]>) {
    let partial = present.filter(|present| !present.iter().all(|has| *has));
    out.put_u8(u8::from(partial.is_some()));
    for eight in partial.into_iter().flat_map(|present| present.chunks(8)) {
        out.push(eight.iter().rev().fold(0, |byte, has| byte << 1 | u8::from(*has)));
    }
}

fn put_byte_column(out: &mut Vec<u8>, column: &[impl AsRef<[u8]>]) {
    for bytes in column {
        out.put_u32(length_u32(bytes.as_ref().len()));
    }
    for bytes in column {
        out.extend_from_slice(bytes.as_ref());
    }
}

fn put_metadata(out: &mut Vec<u8>, column: &[Option<Bytes>]) {
    for metadata in column {
        out.put_u32(metadata.as_ref().map_or(NO_METADATA, |bytes| length_u32(bytes.len())));
    }
    for metadata in column.iter().flatten() {
        out.extend_from_slice(metadata);
    }
}

fn put_attributes(out: &mut Vec<u8>, column: &[Attributes]) {
    let lengths_at = out.len();
    out.resize(lengths_at + column.len() * 4, 0);
    for (row, attributes) in column.iter().enumerate() {
        let start = out.len();
        attributes.encode(out);
        let length = length_u32(out.len() - start);
        let at = lengths_at + row * 4;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

fn put_values(out: &mut Vec<u8>, column: &VectorColumn, dimension: usize) {
    match &column.present {
        None => put_floats(out, &column.values),
        Some(present) => {
            let rows = column.values.chunks_exact(dimension).zip(present);
            rows.filter(|(_, has)| **has).for_each(|(row, _)| put_floats(out, row));
        }
    }
}

/// Zeroes first and then copies into place: that compiles to two block moves.
fn put_floats(out: &mut Vec<u8>, values: &[f32]) {
    let start = out.len();
    out.resize(start + values.len() * 4, 0);
    let (places, _) = out[start..].as_chunks_mut::<4>();
    for (place, value) in places.iter_mut().zip(values) {
        *place = value.to_le_bytes();
    }
}

/// The payload of a delete.
pub(crate) fn encode_delete(keys: &[Box<[u8]>]) -> Bytes {
    let mut out = vec![FORMAT, DELETE];
    out.put_u32(length_u32(keys.len()));
    put_byte_column(&mut out, keys);
    out.into()
}

/// Reads a payload and checks it against the schema.
pub(crate) fn decode(schema: &Schema, payload: Bytes) -> Result<IndexEvent, DecodeError> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != FORMAT {
        return Err(reader.error("unknown log payload format"));
    }
    let event = match reader.u8()? {
        PUT => IndexEvent::Put(read_put(schema, &mut reader)?),
        DELETE => IndexEvent::Delete(read_delete(&mut reader)?),
        _ => return Err(reader.error("unknown log payload")),
    };
    reader.finish()?;
    Ok(event)
}

fn read_delete(reader: &mut Reader) -> Result<Vec<Bytes>, DecodeError> {
    let count = reader.count(4)?;
    read_byte_column(reader, count)
}

fn read_put(schema: &Schema, reader: &mut Reader) -> Result<PutRows, DecodeError> {
    if usize::from(reader.u8()?) != schema.vector_fields.len() {
        return Err(reader.error("another number of vector fields than the schema"));
    }
    let rows = reader.count(12)?;
    let mut fields = Vec::with_capacity(schema.vector_fields.len());
    for field in &schema.vector_fields {
        fields.push(read_field_head(reader, field.dimension, rows)?);
    }
    let keys = read_byte_column(reader, rows)?;
    let metadata = read_metadata(reader, rows)?;
    let attributes = read_attributes(reader, rows)?;
    for field in &mut fields {
        let present = (0..rows).filter(|row| field.has(*row)).count();
        field.values = reader.take(present * field.row_bytes())?;
    }
    Ok(PutRows { keys, metadata, attributes, fields })
}

fn read_field_head(
    reader: &mut Reader,
    dimension: u32,
    rows: usize,
) -> Result<FieldRows, DecodeError> {
    if reader.u32()? != dimension {
        return Err(reader.error("another dimension than the schema"));
    }
    let present = reader.option(|reader| reader.take(rows.div_ceil(8)))?;
    Ok(FieldRows { dimension: dimension as usize, present, values: Bytes::new() })
}

fn read_lengths(reader: &mut Reader, rows: usize) -> Result<Vec<u32>, DecodeError> {
    let bytes = reader.take(rows * 4)?;
    let (lengths, _) = bytes.as_chunks::<4>();
    Ok(lengths.iter().map(|length| u32::from_le_bytes(*length)).collect())
}

fn read_byte_column(reader: &mut Reader, rows: usize) -> Result<Vec<Bytes>, DecodeError> {
    let lengths = read_lengths(reader, rows)?;
    lengths.iter().map(|length| reader.take(*length as usize)).collect()
}

fn read_metadata(reader: &mut Reader, rows: usize) -> Result<Vec<Option<Bytes>>, DecodeError> {
    let lengths = read_lengths(reader, rows)?;
    let read = |length: &u32| match *length {
        NO_METADATA => Ok(None),
        length => reader.take(length as usize).map(Some),
    };
    lengths.iter().map(read).collect()
}

fn read_attributes(reader: &mut Reader, rows: usize) -> Result<Vec<Attributes>, DecodeError> {
    let lengths = read_lengths(reader, rows)?;
    let read = |length: &u32| {
        let at = reader.error("attributes do not decode");
        Attributes::decode(&reader.take(*length as usize)?).map_err(|_| at)
    };
    lengths.iter().map(read).collect()
}
