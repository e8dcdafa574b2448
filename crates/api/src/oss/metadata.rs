//! Metadata of a vector: the JSON as written, and its filterable members as typed attributes.
//!
//! Every top level member not declared non-filterable is filterable: a string, a number, a
//! boolean, or an array of those. A number written without fraction and exponent that fits into
//! an `i64` is an integer; every other number is a float. A non-filterable member may be any JSON.
//!
//! Sizes are those of compact JSON with unescaped characters, so that the client's spelling does
//! not count; the text as written may be up to six times as long.

use crate::oss::json::{Kind, NumberText, Reader, string_len};
use crate::oss::{Error, Fault, Limits};

/// `\u00XX` for one character is the longest needless spelling that a serialiser produces.
const SPELLING_FACTOR: usize = 6;

/// One scalar of an attribute or of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text.
    String(Box<str>),
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A single scalar.
    One(Scalar),
    /// An array, in written order, possibly empty.
    Many(Vec<Scalar>),
}

/// One filterable metadata member.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The member's name, not empty.
    pub key: Box<str>,
    /// Its value.
    pub value: Value,
}

/// Takes a scalar; `fault` for anything else.
pub(crate) fn scalar(reader: &mut Reader<'_>, fault: Fault) -> Result<Scalar, Error> {
    match reader.peek()? {
        Kind::String => Ok(Scalar::String(reader.string()?.into())),
        Kind::Bool => Ok(Scalar::Bool(reader.boolean()?)),
        Kind::Number => number(reader.number()?).ok_or(Error::new(fault)),
        Kind::Null | Kind::Array | Kind::Object => {
            let text = "null, an array or an object stands where a string, a number or a boolean is expected.";
            Err(Error::with_message(fault, text))
        }
    }
}

/// The typed number; `None` beyond the range of `f64`.
fn number(text: NumberText<'_>) -> Option<Scalar> {
    let float = || Some(text.to_f64()).filter(|float| float.is_finite()).map(Scalar::Float);
    text.as_integer().map(Scalar::Integer).or_else(float)
}

/// Takes a metadata object: its text as written and its filterable members.
///
/// Errors: [`Fault::Metadata`] (no object, an empty name, a value of a wrong type),
/// [`Fault::MetadataKeys`], [`Fault::MetadataTooLarge`].
pub(crate) fn metadata<'a>(
    reader: &mut Reader<'a>,
    non_filterable: &[Box<str>],
    limits: &Limits,
) -> Result<(&'a str, Vec<Attribute>), Error> {
    if reader.peek()? != Kind::Object {
        return Err(Error::with_message(Fault::Metadata, "metadata must be a JSON object."));
    }
    let start = reader.mark();
    let mut attributes = Vec::new();
    // The braces of the filterable part, with each member its comma but for the last.
    let mut filterable_bytes = 1;
    let mut members = reader.members()?;
    while let Some(name) = members.next(reader)? {
        if name.is_empty() {
            return Err(Error::with_message(Fault::Metadata, "A metadata key is empty."));
        }
        if non_filterable.iter().any(|key| **key == *name) {
            reader.skip()?;
            continue;
        }
        if attributes.len() == limits.filterable_keys_max {
            let text = format!(
                "A vector may have {} filterable metadata keys; declare others in \
                 nonFilterableMetadataKeys of the index.",
                limits.filterable_keys_max
            );
            return Err(Error::with_message(Fault::MetadataKeys, text));
        }
        let before = reader.mark();
        let value = attribute_value(reader, limits)
            .map_err(|error| error.within(&format!("metadata.{name}")))?;
        filterable_bytes += string_len(&name) + 1 + reader.since(before).1 + 1;
        attributes.push(Attribute { key: name.into(), value });
    }
    let (raw, compact) = reader.since(start);
    let too_large = compact > limits.metadata_bytes_max
        || raw.len() > limits.metadata_bytes_max * SPELLING_FACTOR
        || filterable_bytes.max(2) > limits.filterable_bytes_max;
    if too_large { Err(metadata_too_large(limits)) } else { Ok((raw, attributes)) }
}

fn metadata_too_large(limits: &Limits) -> Error {
    let text = format!(
        "The metadata of a vector may have {} bytes, {} of them filterable.",
        limits.metadata_bytes_max, limits.filterable_bytes_max
    );
    Error::with_message(Fault::MetadataTooLarge, text)
}

fn attribute_value(reader: &mut Reader<'_>, limits: &Limits) -> Result<Value, Error> {
    if reader.peek()? != Kind::Array {
        return scalar(reader, Fault::Metadata).map(Value::One);
    }
    let mut values = Vec::new();
    let mut items = reader.items()?;
    while items.next(reader)? {
        // An item takes two bytes at least; refusing here keeps hostile arrays small in memory.
        if values.len() * 2 > limits.filterable_bytes_max {
            return Err(metadata_too_large(limits));
        }
        values.push(scalar(reader, Fault::Metadata)?);
    }
    Ok(Value::Many(values))
}
