//! PutVectors: the hot path of ingest.
//!
//! One pass over the body. Numbers go straight into one flat `Vec<f32>`, metadata stays where it is
//! in the body, keys and filterable attributes are the only text that is copied.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::oss::json::{Kind, Reader};
use crate::oss::metadata::{Attribute, metadata};
use crate::oss::request::IndexShape;
use crate::oss::request::fields::{key, object, optional, required_index, text};
use crate::oss::{Error, Fault, IndexName, Limits};

/// Where the name of the index usually stands.
const HEAD_BYTES: usize = 512;

/// The `indexName` of a body, found without decoding the rest.
///
/// The index decides what the rest is checked against, so it is looked up first. Clients write
/// their members in alphabetical order, so usually a few bytes are read; a body that names its
/// index last is read once more. Errors: `MalformedJson` as far as the body was read,
/// [`Fault::IndexName`].
pub fn index_name(body: &[u8]) -> Result<IndexName, Error> {
    // A name that is whole within the first bytes spares checking all of a large body for UTF-8.
    let head = body.get(..HEAD_BYTES).unwrap_or(body);
    find_index_name(head).or_else(|_| find_index_name(body))
}

fn find_index_name(body: &[u8]) -> Result<IndexName, Error> {
    let mut found = None;
    // Any error ends the reading; that of a name which is found is no error.
    let read = object(body, |name, reader| match name {
        "indexName" => {
            found = Some(required_index(text(reader)?));
            Err(Error::new(Fault::IndexName))
        }
        _ => Ok(reader.skip()?),
    });
    found.unwrap_or_else(|| Err(read.err().unwrap_or(Error::new(Fault::IndexName))))
}

/// PutVectors: a checked batch. Row `i` is `keys[i]`, `values[i * dimension..][..dimension]`,
/// `metadata[i]`, `attributes[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PutVectors<'a> {
    /// The index.
    pub index: IndexName,
    /// Unique keys.
    pub keys: Vec<Box<str>>,
    /// All rows one after the other; finite numbers.
    pub values: Vec<f32>,
    /// Metadata objects as written.
    pub metadata: Vec<Option<&'a str>>,
    /// Filterable metadata, in written order, keys unique.
    pub attributes: Vec<Vec<Attribute>>,
}

impl<'a> PutVectors<'a> {
    /// Reads the body in one pass. The first rule that is broken, in body order, gives the error.
    ///
    /// Errors: `MalformedJson`; [`Fault::IndexName`], [`Fault::VectorBatch`], [`Fault::VectorKey`],
    /// [`Fault::VectorKeyRepeated`], [`Fault::VectorData`], [`Fault::VectorDimension`],
    /// [`Fault::VectorZero`], [`Fault::Metadata`], [`Fault::MetadataKeys`],
    /// [`Fault::MetadataTooLarge`].
    pub fn decode(body: &'a [u8], shape: &IndexShape<'_>, limits: &Limits) -> Result<Self, Error> {
        let (mut index, mut rows) = (None, None);
        object(body, |name, reader| {
            match name {
                "indexName" => index = text(reader)?,
                "vectors" => {
                    rows =
                        optional(reader, |reader| Rows::read(reader, body.len(), shape, limits))?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let index = required_index(index)?;
        let rows = rows.filter(|rows| !rows.keys.is_empty()).ok_or_else(|| batch(limits))?;
        let Rows { keys, values, metadata, attributes } = rows;
        Ok(Self { index, keys, values, metadata, attributes })
    }
}

fn batch(limits: &Limits) -> Error {
    let message = format!("vectors must have 1 to {} entries.", limits.put_max);
    Error::with_message(Fault::VectorBatch, message)
}

#[cold]
fn at_row(error: Error, place: usize) -> Error {
    error.within(&format!("vectors[{place}]"))
}

struct Rows<'a> {
    keys: Vec<Box<str>>,
    values: Vec<f32>,
    metadata: Vec<Option<&'a str>>,
    attributes: Vec<Vec<Attribute>>,
}

impl<'a> Rows<'a> {
    fn read(
        reader: &mut Reader<'a>,
        body_bytes: usize,
        shape: &IndexShape<'_>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        // A component takes two bytes at least and about eight at usual precision.
        let largest = limits.put_max.saturating_mul(shape.dimension as usize);
        let mut rows = Self {
            keys: Vec::new(),
            values: Vec::with_capacity(largest.min(body_bytes / 8)),
            metadata: Vec::new(),
            attributes: Vec::new(),
        };
        let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
        let mut items = reader.items()?;
        while items.next(reader)? {
            if rows.keys.len() == limits.put_max {
                return Err(batch(limits));
            }
            let place = rows.keys.len();
            let key = rows.read_row(reader, shape, limits).map_err(|error| at_row(error, place))?;
            rows.keys.push((&*key).into());
            if !seen.insert(key) {
                return Err(at_row(Error::new(Fault::VectorKeyRepeated), place));
            }
        }
        Ok(rows)
    }

    /// Takes one row and gives its key; the rest is appended.
    fn read_row(
        &mut self,
        reader: &mut Reader<'a>,
        shape: &IndexShape<'_>,
        limits: &Limits,
    ) -> Result<Cow<'a, str>, Error> {
        let start = self.values.len();
        let (mut row_key, mut has_data, mut row_metadata) = (None, None, None);
        let mut members = reader.members()?;
        while let Some(name) = members.next(reader)? {
            match &*name {
                "key" => row_key = optional(reader, |reader| key(reader, limits))?,
                "data" => has_data = optional(reader, |reader| self.read_data(reader, shape))?,
                "metadata" => {
                    row_metadata =
                        optional(reader, |reader| metadata(reader, shape.non_filterable, limits))?;
                }
                _ => reader.skip()?,
            }
        }
        let key = row_key.ok_or(Error::new(Fault::VectorKey))?;
        if has_data != Some(true) {
            return Err(Error::new(Fault::VectorData));
        }
        shape.check_vector(&self.values[start..])?;
        let (text, attributes) = row_metadata.unzip();
        self.metadata.push(text);
        self.attributes.push(attributes.unwrap_or_default());
        Ok(key)
    }

    /// Takes the `data` object and tells whether it has numbers.
    fn read_data(
        &mut self,
        reader: &mut Reader<'a>,
        shape: &IndexShape<'_>,
    ) -> Result<bool, Error> {
        let mut found = false;
        let mut members = reader.members()?;
        while let Some(name) = members.next(reader)? {
            if name != "float32" || reader.peek()? == Kind::Null {
                reader.skip()?;
                continue;
            }
            found = true;
            reader.floats(&mut self.values, shape.dimension as usize)?;
        }
        Ok(found)
    }
}
