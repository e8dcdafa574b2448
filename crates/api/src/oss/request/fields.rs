//! Members that occur in several bodies.

use std::borrow::Cow;

use crate::oss::json::Reader;
use crate::oss::{Error, Fault, IndexName, Limits};

/// Takes a value unless it is `null`, which is the same as absent.
pub(super) fn optional<'a, T, E: Into<Error>>(
    reader: &mut Reader<'a>,
    take: impl FnOnce(&mut Reader<'a>) -> Result<T, E>,
) -> Result<Option<T>, Error> {
    if reader.null()? { Ok(None) } else { take(reader).map(Some).map_err(Into::into) }
}

/// Reads a body that is one object: `take` gets the name of each member and takes its value.
///
/// The texts of errors name the member, those of malformed JSON also the byte.
pub(super) fn object<'a>(
    body: &'a [u8],
    mut take: impl FnMut(&str, &mut Reader<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    whole(body, |reader| {
        let mut members = reader.members()?;
        while let Some(name) = members.next(reader)? {
            take(&name, reader).map_err(|error| error.within(&name))?;
        }
        Ok(())
    })
}

/// Reads a body that is one value.
pub(super) fn whole<'a, T>(
    body: &'a [u8],
    take: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<T, Error> {
    if body.is_empty() {
        let text = "The body is empty; a JSON object is expected.";
        return Err(Error::with_message(Fault::JsonMalformed, text));
    }
    let mut reader = Reader::new(body).map_err(|fault| {
        let valid = std::str::from_utf8(body).map_or_else(|e| e.valid_up_to(), str::len);
        Error::new(fault).near(valid)
    })?;
    let taken = take(&mut reader).map_err(|error| error.near(reader.position()))?;
    reader.end().map_err(|fault| Error::new(fault).near(reader.position()))?;
    Ok(taken)
}

/// A string member.
pub(super) fn text<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Error> {
    optional(reader, Reader::string)
}

/// A boolean member; absent is false.
pub(super) fn flag(reader: &mut Reader<'_>) -> Result<bool, Error> {
    Ok(optional(reader, Reader::boolean)?.unwrap_or(false))
}

/// An integer member. A number that is no integer is out of range and gives `fault`; `5.0` is 5.
pub(super) fn integer(reader: &mut Reader<'_>, fault: Fault) -> Result<Option<i64>, Error> {
    let Some(number) = optional(reader, Reader::number)? else { return Ok(None) };
    let from_float = || {
        let float = number.to_f64();
        let exact = float.fract() == 0.0 && float.abs() < 9e15;
        #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
        exact.then_some(float as i64)
    };
    number.as_integer().or_else(from_float).map(Some).ok_or(Error::new(fault))
}

/// The required `indexName`.
pub(super) fn required_index(name: Option<Cow<'_, str>>) -> Result<IndexName, Error> {
    IndexName::parse(&name.ok_or(Error::new(Fault::IndexName))?)
}

/// One vector key.
pub(super) fn key<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Cow<'a, str>, Error> {
    let key = reader.string()?;
    // Characters are at most four bytes each, so most keys need no counting.
    let fits = key.len() <= limits.key_chars_max || key.chars().count() <= limits.key_chars_max;
    if key.is_empty() || !fits { Err(Error::new(Fault::VectorKey)) } else { Ok(key) }
}

/// Page size: absent and 0 stand for the default.
pub(super) fn max_results(asked: Option<i64>, default: usize, max: usize) -> Result<usize, Error> {
    match asked.map(usize::try_from) {
        None | Some(Ok(0)) => Ok(default),
        Some(Ok(count)) if count <= max => Ok(count),
        _ => {
            let message = format!("maxResults must be between 0 and {max}.");
            Err(Error::with_message(Fault::MaxResults, message))
        }
    }
}

/// A token member: absent and empty stand for the first page.
pub(super) fn token(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<String>, Error> {
    match text(reader)? {
        Some(token) if token.len() > limits.token_bytes_max => Err(Error::new(Fault::NextToken)),
        token => Ok(token.filter(|token| !token.is_empty()).map(Cow::into_owned)),
    }
}
